//! Others' programs that take in telemetry, so that what the agent exports is also read by those who will read it.

mod collector;
mod test;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::say;
use crate::debian::Suite;
use crate::{only_one, paths, setup, test_tools};

pub(crate) use self::collector::{ensure as collector, is_built as collector_is_here};
pub(crate) use self::test::{run as test, tell_of_collector};

/// A program out of a package of its own.
#[derive(Debug)]
struct Packaged {
    /// What program and package are called.
    name: &'static str,
    suite: Suite,
    /// Where it is kept.
    place: &'static str,
}

const PACKAGED: [(&str, Packaged); 2] = [
    (
        "WELLHEAD_TEST_VICTORIA_METRICS",
        Packaged {
            name: "victoria-metrics",
            // The first release whose VictoriaMetrics takes OTLP.
            suite: Suite::stable("trixie"),
            place: "victoria-metrics-trixie",
        },
    ),
    (
        "WELLHEAD_TEST_PROMETHEUS",
        Packaged {
            name: "prometheus",
            // Only there it is a Prometheus 3, which asks for more formats than those before.
            suite: Suite::unstable("sid"),
            place: "prometheus-sid",
        },
    ),
];

/// A collector written in Rust, as a program in a package for Python.
const ROTEL: [&str; 1] = ["rotel==0.0.1a15"];

/// Programs that are here.
#[derive(Debug)]
pub(crate) struct Receivers {
    /// The variables tests find them by, and where they are.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
}

/// Finds them, and installs what is missing. The Collector takes minutes to build, so it is among them only where it has been
/// built.
pub(crate) fn ensure() -> Result<Receivers> {
    let mut variables = vec![("WELLHEAD_TEST_ROTEL", rotel()?)];
    for (variable, program) in &PACKAGED {
        variables.push((variable, program.ensure()?));
    }
    if collector_is_here() {
        variables.push(("WELLHEAD_TEST_COLLECTOR", collector()?));
    }
    Ok(Receivers { variables })
}

/// Where there is something in the way, that is said, and is no error.
pub(crate) fn ensure_if_possible() -> Result<()> {
    match obstacle() {
        None => ensure().map(drop),
        Some(obstacle) => {
            say(format!("no receivers for tests to be had here: {obstacle}"));
            Ok(())
        }
    }
}

fn rotel() -> Result<PathBuf> {
    setup::python()?;
    let python = test_tools::python(&ROTEL)?;
    let venv = python.parent().and_then(Path::parent).context("a place")?;
    let libraries = venv.join("lib");
    let found = fs::read_dir(&libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/rotel/rotel-agent")))
        .find(|program| program.is_file());
    found.with_context(|| format!("there is no rotel in {}", venv.display()))
}

impl Packaged {
    fn ensure(&self) -> Result<PathBuf> {
        let program = self.program()?;
        if program.is_file() {
            return Ok(program);
        }
        let _mine = only_one::wait(self.name)?;
        if program.is_file() {
            return Ok(program);
        }
        say(format!("fetching {}, once", self.name));
        let directory = paths::tool(self.place)?;
        let (work, tree) = (directory.join("packages"), directory.join("unpacked"));
        self.suite.update(&directory)?;
        self.suite.unpack(&directory, [self.name], &work, &tree)?;
        // Of all that is in the package only this.
        let found = tree.join("usr/bin").join(self.name);
        fs::rename(&found, &program)
            .with_context(|| format!("cannot make {}", program.display()))?;
        for rest in [work, tree, directory.join("apt")] {
            fs::remove_dir_all(&rest)
                .with_context(|| format!("cannot remove {}", rest.display()))?;
        }
        Ok(program)
    }

    fn program(&self) -> Result<PathBuf> {
        Ok(paths::tool(self.place)?.join(self.name))
    }

    fn is_here(&self) -> bool {
        self.program().is_ok_and(|program| program.is_file())
    }
}

/// Why they cannot be had on this machine.
fn obstacle() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("the programs are for Linux on x86-64".to_owned());
    }
    let mut missing = PACKAGED.iter().filter(|(_, program)| !program.is_here());
    missing.find_map(|(_, program)| {
        let asked = paths::tool(program.place).and_then(|place| program.suite.update(&place));
        asked.err().map(|error| format!("{error:#}"))
    })
}
