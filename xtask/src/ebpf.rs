//! `cargo xtask build-ebpf`: the kernel programs, as one object file that `agent/build.rs` embeds.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::cmd::{say, write_if_changed};
use crate::{paths, setup};

const TARGET: &str = "bpfel-unknown-none";

/// What a compiler warning in the kernel programs means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    Shown,
    Denied,
}

/// Builds the object, unless `WELLHEAD_EBPF_OBJECT` names one built elsewhere.
pub(crate) fn ensure(warnings: Warnings) -> Result<()> {
    if let Some(object) = env::var_os("WELLHEAD_EBPF_OBJECT") {
        say(format!(
            "using the eBPF object {}",
            Path::new(&object).display()
        ));
        return Ok(());
    }
    build(warnings)
}

/// Builds the object. Its time stamp stays as it was if its bytes do, so that the agent is not
/// rebuilt for nothing.
pub(crate) fn build(warnings: Warnings) -> Result<()> {
    let toolchain = setup::build()?;
    let linker = toolchain.linker()?;
    let linker = linker
        .to_str()
        .context("the path of bpf-linker is not UTF-8")?;
    let target_dir = target_dir()?;
    let mut cargo = toolchain
        .cargo()
        .dir(&paths::root()?)
        // Locked: the lock file is the other cargo's, this one may be of another version.
        .args(["build", "--locked", "--release"])
        .args(["--package", "wellhead-ebpf"])
        .args(["-Z", "build-std=core", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", rustflags())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Not one of the flags, because a path may contain a space.
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env_remove("CARGO_BUILD_TARGET");
    if warnings == Warnings::Denied {
        // Unlike `-D warnings` this does not count as another build of everything.
        cargo = cargo
            .args(["-Z", "warnings"])
            .env("CARGO_BUILD_WARNINGS", "deny");
    }
    cargo.run()?;

    let built = target_dir.join(TARGET).join("release/wellhead-ebpf");
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let object = object()?;
    if write_if_changed(&object, &bytes)? {
        say(format!("{}: {} bytes", object.display(), bytes.len()));
    }
    Ok(())
}

/// Where `agent/build.rs` looks for the object. Always in the checkout, also if `CARGO_TARGET_DIR`
/// names a directory that several checkouts share.
pub(crate) fn object() -> Result<PathBuf> {
    Ok(target_dir()?.join("wellhead-ebpf.o"))
}

/// Apart from user space's: the two compilers would throw away each other's work.
fn target_dir() -> Result<PathBuf> {
    Ok(paths::root()?.join("target/ebpf"))
}

/// The linker makes BTF out of debug information.
fn rustflags() -> String {
    format!("--cfg bpf_target_arch=\"{ARCH}\" -C debuginfo=2 -C link-arg=--btf")
}
