//! The OpenTelemetry Collector, built from Debian's packages of its source: its core has OTLP in and out, and what prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::cmd::{Cmd, say};
use crate::debian::Suite;
use crate::{only_one, paths};

/// Only there are all parts of it new enough to fit together.
const SUITE: Suite = Suite::unstable("sid");
const SOURCE: &str = "golang-opentelemetry-collector-dev";
/// The release's own Go, whichever that is.
const GO: &str = "golang-go";
/// Its parts, put together.
const MAIN: &str = include_str!("collector.go");

/// The program, built if it is missing: that takes five minutes or more on two processors, and 350 MB of packages.
pub(crate) fn ensure() -> Result<PathBuf> {
    let program = program()?;
    if program.is_file() {
        return Ok(program);
    }
    let _mine = only_one::wait("otel-collector")?;
    if program.is_file() {
        return Ok(program);
    }
    say(
        "building the OpenTelemetry Collector from Debian's packages, once: this takes five minutes or more",
    );
    let start = Instant::now();
    let directory = paths::tool("otel-collector")?;
    let work = directory.join("building");
    let tree = fetched(&directory, &work)?;
    let built = build(&work, &tree)?;
    fs::rename(&built, &program).with_context(|| format!("cannot make {}", program.display()))?;
    for rest in [work, directory.join("apt")] {
        fs::remove_dir_all(&rest).with_context(|| format!("cannot remove {}", rest.display()))?;
    }
    say(format!(
        "built the Collector in {} s",
        start.elapsed().as_secs()
    ));
    Ok(program)
}

/// Whether it is here.
pub(crate) fn is_built() -> bool {
    program().is_ok_and(|program| program.is_file())
}

fn program() -> Result<PathBuf> {
    Ok(paths::tool("otel-collector")?.join("otelcol"))
}

/// Everything it is made of, unpacked. Kept after a failure: the next attempt goes on from there.
fn fetched(directory: &Path, work: &Path) -> Result<PathBuf> {
    let tree = work.join("tree");
    let complete = work.join("fetched");
    if complete.is_file() {
        return Ok(tree);
    }
    SUITE.update(directory)?;
    let needed = SUITE.needed_by(directory, &[GO, SOURCE])?;
    let packages: BTreeSet<String> = needed.into_iter().filter(|name| is_used(name)).collect();
    SUITE.unpack(directory, packages, &work.join("packages"), &tree)?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(tree)
}

/// Libraries in Go, and Go itself (`golang-1.27-go`); the programs some of them ask for beside are of no use here.
fn is_used(package: &str) -> bool {
    package.strip_prefix("golang-").is_some_and(|name| {
        name.ends_with("-dev") || name.starts_with(|first: char| first.is_ascii_digit())
    })
}

/// Where Go is among what was unpacked.
fn go_root(tree: &Path) -> Result<PathBuf> {
    let place = tree.join("usr/lib");
    let found = fs::read_dir(&place)
        .with_context(|| format!("cannot read {}", place.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("bin/go").is_file());
    found.context("there is no Go among the packages")
}

fn build(work: &Path, tree: &Path) -> Result<PathBuf> {
    let go_path = work.join("gopath");
    let source = go_path.join("src/otelcol");
    fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    fs::write(source.join("main.go"), MAIN)?;
    let go_root = go_root(tree)?;
    let paths = std::env::join_paths([go_path, tree.join("usr/share/gocode")])?;
    let out = work.join("otelcol");
    Cmd::new(go_root.join("bin/go"))
        .dir(&source)
        .env("GOROOT", &go_root)
        .env("GOPATH", paths)
        .env("GOCACHE", work.join("cache"))
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .args(["build", "-ldflags", "-s -w", "-o"])
        .arg(&out)
        .arg(".")
        .run()?;
    ensure!(out.is_file(), "Go made no {}", out.display());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_and_go_are_fetched() {
        for used in [
            "golang-google-grpc-dev",
            "golang-1.27-go",
            "golang-1.27-src",
        ] {
            assert!(is_used(used), "{used}");
        }
        for other in [
            "protobuf-compiler",
            "golang-golang-x-tools",
            GO,
            "zlib1g-dev",
        ] {
            assert!(!is_used(other), "{other}");
        }
    }
}
