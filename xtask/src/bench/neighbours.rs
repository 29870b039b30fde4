//! Programs of others that watch the same things, to measure beside the agent: those of this machine, and out of Debian's
//! packages what it lacks. Packages are unpacked and not installed, because an exporter would be started by that; bpftrace
//! alone is installed, because it needs libraries that no program finds where they are unpacked.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::{Cmd, say, which};
use crate::debian::Suite;
use crate::{only_one, paths, setup};

/// Its programs need nothing but a C library, libelf and zlib, and start on this and on later releases.
const SUITE: Suite = Suite::stable("bookworm");

struct Package {
    name: &'static str,
    /// Where it is kept: of another release it would be another directory.
    place: &'static str,
    programs: &'static [&'static str],
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "libbpf-tools",
        place: "libbpf-tools-bookworm",
        programs: &["tcplife", "execsnoop"],
    },
    Package {
        name: "prometheus-node-exporter",
        place: "prometheus-node-exporter-bookworm",
        programs: &["prometheus-node-exporter"],
    },
];

/// Where a package's programs can be.
const PLACES: [&str; 2] = ["usr/bin", "usr/sbin"];

/// The directories they are in. What cannot be had is told and left out.
pub(super) fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let mut add = |program: &str, found: Result<PathBuf>| match found {
        Ok(found) => {
            let directory = found.parent().map(Path::to_owned);
            directories.extend(directory.filter(|directory| !directories.contains(directory)));
        }
        Err(error) => say(format!(
            "LEFT OUT: nothing is compared with {program}, because it cannot be had: {error:#}"
        )),
    };
    for package in &PACKAGES {
        for program in package.programs {
            add(program, package.program(program));
        }
    }
    add("bpftrace", bpftrace());
    directories
}

fn bpftrace() -> Result<PathBuf> {
    setup::bench()?;
    which("bpftrace").context("it is still missing")
}

impl Package {
    fn program(&self, name: &str) -> Result<PathBuf> {
        if let Some(here) = which(name) {
            return Ok(here);
        }
        let tree = self.ensure()?;
        let program = PLACES.map(|place| tree.join(place).join(name));
        let program = program.into_iter().find(|program| program.is_file());
        let program = program.with_context(|| format!("it is not in {}", self.name))?;
        ensure!(
            Cmd::new(&program).arg("--version").succeeds(),
            "{} does not start here",
            program.display()
        );
        Ok(program)
    }

    /// The package, unpacked.
    fn ensure(&self) -> Result<PathBuf> {
        let directory = paths::tool(self.place)?;
        let tree = directory.join("unpacked");
        if tree.is_dir() {
            return Ok(tree);
        }
        let _mine = only_one::wait(self.place)?;
        if tree.is_dir() {
            return Ok(tree);
        }
        say(format!("fetching {}, once", self.name));
        let (work, fresh) = (directory.join("packages"), directory.join("fresh"));
        SUITE.update(&directory)?;
        SUITE.unpack(&directory, [self.name], &work, &fresh)?;
        for rest in [work, directory.join("apt")] {
            fs::remove_dir_all(&rest)
                .with_context(|| format!("cannot remove {}", rest.display()))?;
        }
        // Last, so that what was interrupted is done again.
        fs::rename(&fresh, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
        Ok(tree)
    }
}
