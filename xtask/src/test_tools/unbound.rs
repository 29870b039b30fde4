//! A resolver: the one on this machine, or the one out of Debian's package. That package is unpacked and not installed,
//! because installing it starts a server on port 53, now and whenever the machine starts, and may make it the machine's own.

use std::env::consts::ARCH;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::{Cmd, quoted, say, which};
use crate::{only_one, paths, setup};

pub(super) fn ensure() -> Result<PathBuf> {
    if let Some(unbound) = which("unbound") {
        return Ok(unbound);
    }
    let dir = paths::tool("unbound")?;
    let unbound = dir.join("unbound");
    // Libraries that were on this machine may have gone since.
    let starts = || Cmd::new(&unbound).arg("-V").succeeds();
    if starts() {
        return Ok(unbound);
    }
    let _mine = only_one::wait("unbound")?;
    if starts() {
        return Ok(unbound);
    }
    if which("apt-get").is_none() {
        bail!("unbound is missing; install it with: dnf install unbound");
    }
    say("fetching unbound, once");
    if dir.is_dir() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let (packages, tree) = (dir.join("packages"), dir.join("unpacked"));
    fetch(&packages, &tree)?;
    fs::write(&unbound, script(&tree))
        .and_then(|()| fs::set_permissions(&unbound, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", unbound.display()))?;
    ensure!(starts(), "{} does not start here", unbound.display());
    Ok(unbound)
}

/// Unpacks the package, and of those it depends on all that are not on this machine.
fn fetch(packages: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(packages)
        .with_context(|| format!("cannot create {}", packages.display()))?;
    setup::apt_get(&["update"])?;
    let plan = Cmd::new("apt-get")
        .args(["install", "--simulate", "--no-install-recommends"])
        .arg("unbound")
        .output()?;
    Cmd::new("apt-get")
        .dir(packages)
        .args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
        .args(installed_by(&plan))
        .run()?;
    for entry in fs::read_dir(packages)? {
        Cmd::new("dpkg-deb")
            .arg("--extract")
            .arg(entry?.path())
            .arg(tree)
            .run_quietly()?;
    }
    fs::remove_dir_all(packages).with_context(|| format!("cannot remove {}", packages.display()))
}

/// The packages that apt-get would install, of what it says when it only simulates that.
fn installed_by(plan: &str) -> impl Iterator<Item = &str> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
}

/// Starts what was unpacked, with the libraries that are beside it.
fn script(tree: &Path) -> String {
    let shown = |place: &str| quoted(&tree.join(place).to_string_lossy());
    let libraries = ["usr/lib", "lib"].map(|place| shown(&format!("{place}/{ARCH}-linux-gnu")));
    format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        libraries.join(":"),
        shown("usr/sbin/unbound")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_installed_is_fetched() {
        let plan = "Reading package lists...\n\
                    The following NEW packages will be installed:\n  libfew1 unbound\n\
                    Inst libfew1 [1.0] (1.1 Debian:12.1/stable [amd64])\n\
                    Inst unbound (1.17.1 Debian:12.1/stable [amd64])\n\
                    Conf unbound (1.17.1 Debian:12.1/stable [amd64])\n";
        assert!(installed_by(plan).eq(["libfew1", "unbound"]));
    }

    #[test]
    fn libraries_are_looked_for_beside_it() {
        let text = script(Path::new("/a b"));
        let [first, second] =
            ["usr/lib", "lib"].map(|place| format!("'/a b/{place}/{ARCH}-linux-gnu'"));
        assert_eq!(
            text,
            format!(
                "#!/bin/sh\nLD_LIBRARY_PATH={first}:{second} exec '/a b/usr/sbin/unbound' \"$@\"\n"
            )
        );
    }
}
