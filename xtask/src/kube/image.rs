//! Images of the rig's own, made from one static busybox: there is no registry to get any from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::programs::remove_if_there;
use crate::cmd::Cmd;
use crate::dist::oci::{Image, Layer};

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:rig";
/// What pods of tests are made from: busybox under all its names.
pub(super) const BUSYBOX: &str = "localhost/busybox:rig";

/// Writes both images below `place`, as archives.
pub(super) fn write(busybox: &Path, place: &Path) -> Result<[PathBuf; 2]> {
    remove_if_there(place)?;
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    // Called as it is elsewhere, which is how agents know it. It waits for more of itself, which never comes.
    let mut pause = root(busybox)?;
    pause.file("/pause", 0o755, "#!/bin/tail -f\n")?;
    Ok([
        archive(place, "pause", PAUSE, pause, &["/pause"])?,
        archive(place, "busybox", BUSYBOX, root(busybox)?, &["/bin/sh"])?,
    ])
}

fn archive(
    place: &Path,
    name: &str,
    reference: &str,
    root: Layer,
    command: &[&str],
) -> Result<PathBuf> {
    let image = Image {
        reference: reference.to_owned(),
        command: command.iter().map(ToString::to_string).collect(),
        environment: vec!["PATH=/bin".to_owned()],
        layers: vec![root],
        ..Image::default()
    };
    let file = place.join(format!("{name}.tar"));
    fs::write(&file, image.pack()?.archive)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// A root file system.
fn root(busybox: &Path) -> Result<Layer> {
    let mut root = Layer::default();
    for directory in [
        "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var",
    ] {
        root.directory(&format!("/{directory}"), 0o755)?;
    }
    root.file("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")?;
    root.file("/etc/group", 0o644, "root:x:0:\n")?;
    let program =
        fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    root.file("/bin/busybox", 0o755, program)?;
    let names = Cmd::new(busybox).arg("--list").ask();
    for name in names.context("busybox does not tell its names")?.lines() {
        if name != "busybox" {
            root.symlink(&format!("/bin/{name}"), "busybox")?;
        }
    }
    Ok(root)
}
