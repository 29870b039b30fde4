//! `cargo xtask test kube`: brings a cluster up, runs the tests that need one, and takes it down.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::rig::{Extent, MACHINE_ADDRESS, Rig};
use super::{down, load, programs, up};
use crate::cmd::{Cmd, is_root, say, which};
use crate::ebpf::{self, Warnings};
use crate::test::can_run;
use crate::test_tools::{self, TestTools};
use crate::vm::Bless;
use crate::{cost, dist, only_one, paths, setup, test_again};

/// Names the rig's directory to the tests.
const RIG: &str = "WELLHEAD_TEST_KUBE";
/// The machine's address that pods reach.
const ADDRESS: &str = "WELLHEAD_TEST_KUBE_MACHINE";

/// What the tests use beside the rig.
struct Tools {
    helm: PathBuf,
    receiver: TestTools,
}

/// Runs the tests with this in their names. Where there can be no rig, it says so; in CI, it fails.
pub(crate) fn run(filter: &[std::ffi::OsString]) -> Result<()> {
    let obstacle = obstacle().map(|why| format!("there can be no Kubernetes here: {why}"));
    if !can_run("test kube", obstacle)? {
        return Ok(());
    }
    // The tests link the agent's library, which embeds it.
    ebpf::ensure(Warnings::Shown)?;
    // First: a cluster that waits for a compiler costs what the compiler needs.
    cargo(&paths::root()?).arg("--no-run").run()?;
    let tools = Tools {
        helm: test_tools::helm()?,
        receiver: setup::tests()?,
    };
    let (image, packed) = dist::image(&dist::default_reference())?;
    cost::image(packed.unpacked, Bless::No)?;
    // Its tests count what the one agent of the one node counts.
    let _mine = only_one::wait("test-kube")?;
    let rig = up(Extent::Cluster)?;
    let tested = load(&image).and_then(|()| test(&rig, &tools, filter));
    if tested.is_err() {
        say(format!("logs of the cluster: {}", rig.logs().display()));
    }
    let cleared = down();
    tested.and(cleared)
}

fn test(rig: &Rig, tools: &Tools, filter: &[std::ffi::OsString]) -> Result<()> {
    let root = paths::root()?;
    let tests = || {
        cargo(&root)
            .env(RIG, rig.directory())
            .env(ADDRESS, MACHINE_ADDRESS)
            .env("WELLHEAD_TEST_HELM", &tools.helm)
            .env("WELLHEAD_TEST_PYTHON", &tools.receiver.python)
    };
    test_again::run(tests, filter)
}

fn cargo(root: &Path) -> Cmd {
    Cmd::cargo()
        .dir(root)
        .args(["test", "--release", "--package", "wellhead-tests"])
        .args(["--test", "kube"])
}

/// What keeps a rig from being made on this machine.
fn obstacle() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("the programs are for Linux on x86-64".to_owned());
    }
    if !is_root() {
        let hint = if which("sudo").is_some() {
            "; use: sudo --preserve-env cargo xtask test kube"
        } else {
            ""
        };
        return Some(format!("a node runs as root only{hint}"));
    }
    if programs::are_here() {
        return None;
    }
    let asked = programs::directory().and_then(|directory| programs::SUITE.update(&directory));
    asked.err().map(|error| format!("{error:#}"))
}
