//! The agent linked statically, so that it needs nothing of the image it runs in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::Cmd;
use crate::ebpf::{self, Warnings};
use crate::{paths, setup};

/// What libbpf is linked with besides the C library.
const LIBRARIES: [&str; 2] = ["libelf.a", "libz.a"];

/// Builds it, without symbols, into a directory.
pub(super) fn build(dir: &Path) -> Result<PathBuf> {
    setup::dist()?;
    ebpf::ensure(Warnings::Shown)?;
    let archives = archives(&dir.join("lib"))?;
    // Only the last step differs from the usual release build: everything that it links is shared with it. The standard
    // library chooses how it links the C library by this feature, in that step.
    Cmd::cargo()
        .dir(&paths::root()?)
        .args(["rustc", "--release", "--package", "wellhead"])
        .args(["--bin", "wellhead", "--"])
        .args(["-C", "target-feature=+crt-static", "-L"])
        .arg(format!("native={}", archives.display()))
        .run()?;
    let program = dir.join("wellhead");
    Cmd::new("strip")
        .args(["--strip-all", "-o"])
        .arg(&program)
        .arg(paths::agent_binary()?)
        .run()?;
    check(&program)?;
    Ok(program)
}

/// A directory with the static libraries alone: the linker takes a shared one where it finds both.
fn archives(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for library in LIBRARIES {
        let file = find(library)?;
        fs::copy(&file, dir.join(library))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(dir.to_owned())
}

/// Where the C compiler finds a library.
pub(crate) fn find(library: &str) -> Result<PathBuf> {
    let path = Cmd::new("cc")
        .arg(format!("-print-file-name={library}"))
        .ask()
        .context("cc does not say where libraries are")?;
    // What it does not know it gives back as it is.
    ensure!(Path::new(&path).is_absolute(), "{library} is missing");
    Ok(PathBuf::from(path))
}

/// It must not ask for a loader, since there is none in the image.
fn check(program: &Path) -> Result<()> {
    let headers = Cmd::new("readelf")
        .args(["--program-headers", "--wide"])
        .arg(program)
        .ask()
        .context("readelf cannot read the program")?;
    if headers.contains("INTERP") {
        bail!("{} is not linked statically", program.display());
    }
    Ok(())
}
