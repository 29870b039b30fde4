//! The compiler for the kernel programs. It needs `core` built for the BPF target, so the standard
//! library's source and unstable cargo flags, and a linker that reads the compiler's LLVM bitcode.
//!
//! Two are accepted: Debian's packages, which CI uses and whose versions go together, and what aya's
//! users have anyway, a rustup nightly with `rust-src` and a `bpf-linker` on `PATH`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::cmd::{Cmd, say, which};
use crate::paths;

/// LLVM of Debian's compiler; bpf-linker has to be built against the same one.
const LLVM: u32 = 22;
const BPF_LINKER_VERSION: &str = "0.13.0";

/// Debian packages of [`Toolchain::Debian`].
pub(crate) const DEBIAN_PACKAGES: [&str; 4] =
    ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev"];

/// What to do by hand where those packages do not exist.
pub(crate) const BY_HAND: &str =
    "rustup toolchain install nightly --component rust-src && cargo install bpf-linker";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const LIBRARY_SOURCE: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// A compiler that can build the kernel programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// `/usr/bin/rustc` and its source package, with a bpf-linker built for its LLVM.
    Debian,
    /// rustup's nightly, with the bpf-linker on `PATH`.
    Nightly,
}

impl Toolchain {
    /// The one to use, if any is there.
    pub(crate) fn find() -> Option<Self> {
        if debian_is_complete() {
            Some(Self::Debian)
        } else if nightly_is_complete() {
            Some(Self::Nightly)
        } else {
            None
        }
    }

    /// Its cargo, able to use unstable flags.
    pub(crate) fn cargo(self) -> Cmd {
        match self {
            Self::Debian => Cmd::new(CARGO)
                .env("RUSTC", RUSTC)
                .env("RUSTC_BOOTSTRAP", "1"),
            // rustup's `cargo` refers to itself in these.
            Self::Nightly => Cmd::new("rustup")
                .args(["run", "nightly", "cargo"])
                .env_remove("CARGO")
                .env_remove("RUSTC")
                .env_remove("RUSTUP_TOOLCHAIN"),
        }
    }

    /// Its linker, installed before if need be.
    pub(crate) fn linker(self) -> Result<PathBuf> {
        match self {
            Self::Debian => installed_linker(),
            Self::Nightly => Ok(which("bpf-linker").unwrap_or_else(|| PathBuf::from("bpf-linker"))),
        }
    }
}

fn debian_is_complete() -> bool {
    let compiler = || Cmd::new(RUSTC).arg("-vV").ask();
    Path::new(CARGO).is_file()
        && Path::new("/usr").join(LIBRARY_SOURCE).is_file()
        && llvm_prefix().join("bin/llvm-config").is_file()
        && compiler().and_then(|text| llvm_version(&text)) == Some(LLVM)
}

fn nightly_is_complete() -> bool {
    let sysroot = || {
        Cmd::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .env("RUSTUP_AUTO_INSTALL", "0")
            .ask()
    };
    which("bpf-linker").is_some()
        && which("rustup").is_some()
        && sysroot().is_some_and(|root| Path::new(&root).join(LIBRARY_SOURCE).is_file())
}

fn installed_linker() -> Result<PathBuf> {
    let dir = paths::tool(&format!("bpf-linker-{BPF_LINKER_VERSION}-llvm-{LLVM}"))?;
    let linker = dir.join("bin/bpf-linker");
    if linker.is_file() {
        return Ok(linker);
    }
    say("building bpf-linker, once: this takes a minute or two");
    Cmd::cargo()
        .args(["install", "--quiet", "--locked", "--no-default-features"])
        .args(["--features", &format!("llvm-{LLVM}")])
        .arg("--root")
        .arg(&dir)
        .arg(format!("bpf-linker@{BPF_LINKER_VERSION}"))
        .env("LLVM_PREFIX", llvm_prefix())
        .env_remove("CARGO_TARGET_DIR")
        .run()?;
    ensure!(linker.is_file(), "{} is still missing", linker.display());
    Ok(linker)
}

fn llvm_prefix() -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{LLVM}"))
}

/// The major LLVM version in the output of `rustc -vV`.
fn llvm_version(verbose: &str) -> Option<u32> {
    let version = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_version() {
        let check = |text, expected| assert_eq!(llvm_version(text), expected, "{text:?}");
        check(
            "rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n",
            Some(22),
        );
        check("rustc 1.63.0\nLLVM version: 14", Some(14));
        check("rustc 1.96.0", None);
        check("LLVM version: unknown", None);
    }

    #[test]
    fn the_llvm_package_is_the_one_looked_for() {
        assert!(DEBIAN_PACKAGES.contains(&format!("llvm-{LLVM}-dev").as_str()));
    }
}
