//! Puts the kernel programs' object file where the agent embeds it from, and names the revision.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJECT_VARIABLE: &str = "WELLHEAD_EBPF_OBJECT";
const REVISION_VARIABLE: &str = "WELLHEAD_REVISION";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(sentence) = embed_object() {
        println!("cargo::error={sentence}");
    }
    println!("cargo::rustc-env={REVISION_VARIABLE}={}", revision());
}

/// Copies the object to `OUT_DIR/wellhead-ebpf.o`.
fn embed_object() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => workspace()?.join("target/ebpf/wellhead-ebpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    if !object.is_file() {
        return Err(format!(
            "the eBPF object {} is missing: run `cargo xtask build-ebpf` first, or `cargo xtask run`, \
             which builds everything and starts the agent",
            object.display()
        ));
    }
    let embedded = variable("OUT_DIR")?.join("wellhead-ebpf.o");
    fs::copy(&object, &embedded).map(drop).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            object.display(),
            embedded.display()
        )
    })
}

/// The commit this is built from. Only release builds ask git: otherwise every commit would rebuild
/// the agent for developers, who know what they run.
fn revision() -> String {
    println!("cargo::rerun-if-env-changed={REVISION_VARIABLE}");
    if let Ok(revision) = env::var(REVISION_VARIABLE) {
        return revision;
    }
    let from_git = (env::var("PROFILE").as_deref() == Ok("release"))
        .then(git_revision)
        .flatten();
    from_git.unwrap_or_else(|| "unknown".to_owned())
}

fn git_revision() -> Option<String> {
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    // The log of HEAD grows with every commit and checkout, whatever branch or worktree it is.
    for name in ["logs/HEAD", "HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).is_file() {
            println!("cargo::rerun-if-changed={file}");
            break;
        }
    }
    Some(revision)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn workspace() -> Result<PathBuf, String> {
    let package = variable("CARGO_MANIFEST_DIR")?;
    package
        .parent()
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} has no parent directory", package.display()))
}

fn variable(name: &str) -> Result<PathBuf, String> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo did not set {name}"))
}
