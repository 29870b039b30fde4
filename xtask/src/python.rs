//! The Python side of the tests: an OTLP receiver and an OpenMetrics parser that are not ours, so
//! that the agent is not checked by its own understanding of a protocol.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cmd::{Cmd, say};
use crate::paths;

const PACKAGES: [&str; 3] = [
    "grpcio==1.85.1",
    "opentelemetry-proto==1.45.2",
    "prometheus-client==0.26.0",
];

/// The Python interpreter that has [`PACKAGES`], installed before if need be.
pub(crate) fn ensure() -> Result<PathBuf> {
    let venv = paths::tool(&format!("python-{}", key(&PACKAGES)))?;
    let python = venv.join("bin/python");
    // Written last: an interrupted installation is done again.
    let complete = venv.join("complete");
    if complete.is_file() && python.is_file() {
        return Ok(python);
    }
    say("installing the Python packages of the tests, once");
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv)
        .run()?;
    Cmd::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(PACKAGES)
        .run()?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(python)
}

/// A directory name out of package versions: `grpcio-1.85.1-…`.
fn key(packages: &[&str]) -> String {
    packages.join("-").replace("==", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_directory() {
        assert_eq!(key(&["grpcio==1.85.1", "a-b==2"]), "grpcio-1.85.1-a-b-2");
    }
}
