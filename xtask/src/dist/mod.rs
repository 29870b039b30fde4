//! `cargo xtask dist`: what is given to users. The agent as one static program, in an image that holds nothing else.

mod certificates;
pub(crate) mod oci;
mod program;
mod tar;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub(crate) use certificates::bundle as authorities;
pub(crate) use program::find as find_library;

use crate::cmd::say;
use crate::vm::Bless;
use crate::{cost, paths};
use oci::{Image, Layer, Packed};

/// What the image is called unless told otherwise; the chart's default.
const REPOSITORY: &str = "ghcr.io/wellhead/wellhead";
/// Of the whole workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the program is in the image.
const PROGRAM: &str = "/usr/bin/wellhead";
/// Where TLS libraries look for authorities.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image's name and tag, instead of those the chart asks for
    #[arg(long, value_name = "NAME:TAG")]
    reference: Option<String>,
    /// Write the files of the image into this directory, instead of an archive
    #[arg(long, value_name = "DIRECTORY")]
    tree: Option<PathBuf>,
    /// Write down how large the image is, which none may exceed by much from now on
    #[arg(long, conflicts_with = "tree")]
    bless: bool,
}

/// What the chart asks for.
pub(crate) fn default_reference() -> String {
    format!("{REPOSITORY}:{VERSION}")
}

/// Builds the image, and writes it into `target/dist`; or only its files into a directory.
pub(crate) fn run(args: Args) -> Result<()> {
    let reference = args.reference.unwrap_or_else(default_reference);
    if let Some(tree) = args.tree {
        let image = contents(&reference)?;
        return image
            .layers
            .iter()
            .try_for_each(|layer| layer.write_to(&tree));
    }
    let (archive, packed) = image(&reference)?;
    say(&reference);
    say(format!("  archive    {}", archive.display()));
    say(format!("  digest     {}", packed.digest));
    say(format!("  compressed {}", mebibytes(packed.transferred)));
    say(format!("  unpacked   {}", mebibytes(packed.unpacked)));
    let bless = if args.bless { Bless::Yes } else { Bless::No };
    cost::image(packed.unpacked, bless)
}

/// Builds the image, and says which file it is in.
pub(crate) fn image(reference: &str) -> Result<(PathBuf, Packed)> {
    let packed = contents(reference)?.pack()?;
    let archive = directory()?.join(format!("wellhead-{VERSION}.oci.tar"));
    fs::write(&archive, &packed.archive)
        .with_context(|| format!("cannot write {}", archive.display()))?;
    Ok((archive, packed))
}

/// Builds the program, and says what the image is.
fn contents(reference: &str) -> Result<Image> {
    let program = program::build(&directory()?)?;
    describe(reference, &read(&program)?, &authorities()?)
}

/// Where everything goes.
fn directory() -> Result<PathBuf> {
    let dir = paths::target_dir()?.join("dist");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// The image: the program, whom it trusts, and how it finds hosts. There is no shell, no library and no user.
fn describe(reference: &str, program: &[u8], authorities: &[u8]) -> Result<Image> {
    // Whom to trust changes with Debian, the program with every commit: the layer that is the same stays below.
    let mut base = Layer::default();
    base.file(AUTHORITIES, 0o644, authorities)?;
    // Where others look.
    base.symlink("/etc/ssl/cert.pem", "certs/ca-certificates.crt")?;
    // The agent's own, where nothing is mounted.
    base.directory("/run/wellhead", 0o755)?;
    // The C library inside the program reads it, and without it guesses.
    base.file("/etc/nsswitch.conf", 0o644, "hosts: files dns\n")?;
    let mut agent = Layer::default();
    agent.file(PROGRAM, 0o755, program)?;
    let label =
        |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_owned());
    Ok(Image {
        reference: reference.to_owned(),
        entrypoint: vec![PROGRAM.to_owned()],
        command: vec!["run".to_owned()],
        environment: vec!["PATH=/usr/bin".to_owned()],
        // Files of the kernel's that it reads and writes are root's. What root may do is up to the capabilities it is given.
        user: "0:0".to_owned(),
        labels: BTreeMap::from([
            label("title", "wellhead"),
            label("version", VERSION),
            label("licenses", env!("CARGO_PKG_LICENSE")),
        ]),
        layers: vec![base, agent],
    })
}

fn mebibytes(bytes: usize) -> String {
    // Tenths, without floating point.
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_starts_the_daemon_as_root() {
        let image = describe("r/wellhead:1", b"program", b"authorities").unwrap();
        assert_eq!(image.entrypoint, ["/usr/bin/wellhead"]);
        assert_eq!(image.command, ["run"]);
        assert_eq!(image.user, "0:0");
    }

    #[test]
    fn an_image_of_the_same_program_has_the_same_digest() {
        let digest = |program: &[u8]| {
            let image = describe("r/wellhead:1", program, b"authorities").unwrap();
            image.pack().unwrap().digest
        };
        assert_eq!(digest(b"one"), digest(b"one"));
        assert_ne!(digest(b"one"), digest(b"two"));
    }

    #[test]
    fn sizes_are_rounded_down_to_tenths() {
        let check = |bytes, expected: &str| assert_eq!(mebibytes(bytes), expected);
        check(0, "0.0 MiB");
        check((1 << 20) * 5 / 2, "2.5 MiB");
        check((12 << 20) - 1, "11.9 MiB");
    }
}
