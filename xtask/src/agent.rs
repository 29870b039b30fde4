//! The agent's release build, and `cargo xtask run`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cmd::Cmd;
use crate::ebpf::{self, Warnings};
use crate::paths;

/// Builds the agent as users run it, with its kernel programs.
pub(crate) fn build() -> Result<PathBuf> {
    build_and(&[])
}

/// The same, together with what the tests of it are made of: its library is then built once for both.
pub(crate) fn build_for_tests() -> Result<PathBuf> {
    build_and(&["--package", "wellhead-tests"])
}

fn build_and(more: &[&str]) -> Result<PathBuf> {
    ebpf::ensure(Warnings::Shown)?;
    Cmd::cargo()
        .dir(&paths::root()?)
        .args(["build", "--release", "--package", "wellhead"])
        .args(more)
        .args(["--lib", "--bins"])
        .run()?;
    let binary = paths::agent_binary()?;
    ensure!(binary.is_file(), "cargo did not build {}", binary.display());
    Ok(binary)
}

/// Builds and becomes the agent; returns only if that fails.
pub(crate) fn run(args: Vec<OsString>) -> Result<()> {
    let binary = build()?;
    Err(Cmd::root(binary)?.args(agent_args(args)).exec())
}

/// Flags are for the daemon unless they start with another subcommand.
fn agent_args(mut args: Vec<OsString>) -> Vec<OsString> {
    let flag = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    if args.first().is_none_or(flag) {
        args.insert(0, OsString::from("run"));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_the_default_subcommand() {
        let check = |args: &[&str], expected: &[&str]| {
            let args = args.iter().map(OsString::from).collect();
            assert_eq!(agent_args(args), expected);
        };
        check(&[], &["run"]);
        check(&["--config", "f"], &["run", "--config", "f"]);
        check(&["run", "--config", "f"], &["run", "--config", "f"]);
        check(&["doctor", "--json"], &["doctor", "--json"]);
    }
}
