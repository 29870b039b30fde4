//! `cargo xtask test`: the unit tests, which need no privileges, and the kernel tests, which load
//! the agent's programs into the kernel of this machine or of virtual machines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::cmd::{Cmd, is_root, say, which};
use crate::ebpf::{self, Warnings};
use crate::test_tools::TestTools;
use crate::vm::{self, Bless, Kernels};
use crate::{agent, chart, cost, kube, paths, receivers, setup, test_again};

/// Which tests to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Everything that needs neither root nor a certain kernel
    Unit,
    /// The Helm chart: that it does what its documentation says, and refuses bad values
    Chart,
    /// The agent on the kernel of this machine, as root
    Kernel,
    /// The kernel tests on this and on other kernels, those in virtual machines
    Vm,
    /// What needs a Kubernetes, in one with a real node on this machine
    Kube,
    /// Receivers that are not ours, and whether all have the same numbers; needs root
    Receivers,
    /// What must not get dearer unnoticed: instructions for a record, and sizes
    Cost,
    /// Minutes of mixed load on this machine, with a look at memory and counts every ten seconds
    Soak,
    /// All of these but the soak
    All,
}

/// Packages that `cargo test --workspace` has to leave to other tasks: one needs another compiler,
/// the other needs root.
pub(crate) const UNIT_PACKAGES: [&str; 5] = [
    "--workspace",
    "--exclude",
    "wellhead-ebpf",
    "--exclude",
    "wellhead-tests",
];

/// The status of a command line that asks for what is not there.
const USAGE: u8 = 2;

/// Runs one suite, or the unit and the kernel tests if none is named.
pub(crate) fn run(
    suite: Option<Suite>,
    bless: bool,
    minutes: u32,
    filter: &[OsString],
) -> Result<ExitCode> {
    let may_filter = matches!(suite, Some(Suite::Vm | Suite::Kube | Suite::Receivers));
    if !may_filter && !filter.is_empty() {
        say("error: filters are for `test vm`, `test kube` and `test receivers`");
        return Ok(ExitCode::from(USAGE));
    }
    if !matches!(suite, Some(Suite::Vm | Suite::Cost)) && bless {
        say("error: --bless is for `test vm` and `test cost`");
        return Ok(ExitCode::from(USAGE));
    }
    let bless = if bless { Bless::Yes } else { Bless::No };
    match suite {
        None => {
            unit()?;
            kernel()?;
        }
        Some(Suite::Unit) => unit()?,
        Some(Suite::Chart) => chart::test()?,
        Some(Suite::Kernel) => kernel()?,
        Some(Suite::Vm) => vm::test(Kernels::All, filter, bless)?,
        Some(Suite::Cost) => cost::test(bless)?,
        Some(Suite::Soak) => soak(minutes)?,
        Some(Suite::Kube) => kube::test(filter)?,
        Some(Suite::Receivers) => receivers::test(filter)?,
        Some(Suite::All) => {
            unit()?;
            chart::test()?;
            kernel()?;
            cost::test(bless)?;
            receivers::test(filter)?;
            vm::test(Kernels::All, filter, bless)?;
            kube::test(filter)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a suite can run here. If something is in the way, the suite is left out, which is said, and in CI an error.
///
/// # Errors
/// It has to run.
pub(crate) fn can_run(suite: &str, obstacle: Option<String>) -> Result<bool> {
    let Some(obstacle) = obstacle else {
        return Ok(true);
    };
    if env::var_os("CI").is_some() {
        bail!("{obstacle}");
    }
    say(format!("SKIPPED: all of `{suite}`, because {obstacle}"));
    Ok(false)
}

/// Runs what needs neither root nor a certain kernel.
pub(crate) fn unit() -> Result<()> {
    ebpf::ensure(Warnings::Shown)?;
    Cmd::cargo()
        .dir(&paths::root()?)
        .arg("test")
        .args(UNIT_PACKAGES)
        .run()
}

/// Runs the agent's release build on this machine's kernel. Where that cannot work the tests say so
/// and skip themselves; in CI, they fail.
pub(crate) fn kernel() -> Result<()> {
    let tests = RealTests::prepare()?;
    test_again::run(|| tests.cargo("--test=kernel"), &[])?;
    test_again::run(|| tests.cargo("--test=e2e"), &[])
}

/// What tests of the agent on this machine's kernel need, gathered.
pub(crate) struct RealTests {
    tools: TestTools,
    binary: PathBuf,
    root: PathBuf,
    runner: Option<String>,
}

impl RealTests {
    pub(crate) fn prepare() -> Result<Self> {
        let tests = Self {
            tools: setup::tests()?,
            binary: agent::build_for_tests()?,
            root: paths::root()?,
            runner: runner()?,
        };
        mount_what_the_kernel_shows()?;
        Ok(tests)
    }

    /// The command that runs those of one target.
    pub(crate) fn cargo(&self, target: &str) -> Cmd {
        self.started_with(&["test", "--release", "--package", "wellhead-tests", target])
    }

    /// The command that runs a benchmark. Nothing is measured where the agent cannot run, so there it fails.
    pub(crate) fn bench(&self, target: &str) -> Cmd {
        self.started_with(&["bench", "--locked", "--package", "wellhead-tests"])
            .args(["--bench", target])
            .env("WELLHEAD_REQUIRE_KERNEL", "1")
    }

    fn started_with(&self, arguments: &[&str]) -> Cmd {
        let mut cargo = Cmd::cargo()
            .dir(&self.root)
            .args(arguments)
            .env("WELLHEAD_BIN", &self.binary)
            .env("WELLHEAD_TEST_PYTHON", &self.tools.python)
            .env("WELLHEAD_TEST_PROMTOOL", &self.tools.promtool)
            .env("WELLHEAD_TEST_UNBOUND", &self.tools.unbound);
        if env::var_os("CI").is_some() {
            cargo = cargo.env("WELLHEAD_REQUIRE_KERNEL", "1");
        }
        match &self.runner {
            Some(runner) => cargo.env(runner, SUDO),
            None => cargo,
        }
    }
}

/// Runs the agent's release build under mixed load for so many minutes.
fn soak(minutes: u32) -> Result<()> {
    RealTests::prepare()?
        .cargo("--test=e2e")
        .args(["--", "--ignored", "--nocapture", "--test-threads=1"])
        .env("WELLHEAD_REQUIRE_KERNEL", "1")
        .env("WELLHEAD_SOAK_MINUTES", minutes.to_string())
        .run()
}

/// Mounts what the agent reads of the kernel, where that can be done.
pub(crate) fn mount_what_the_kernel_shows() -> Result<()> {
    if is_root() || which("sudo").is_some() {
        mount("tracefs", "/sys/kernel/tracing")?;
        mount("bpf", "/sys/fs/bpf")?;
    }
    Ok(())
}

/// What `uname -r` says.
pub(crate) fn release() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    Ok(release
        .context("cannot read the kernel's release")?
        .trim()
        .to_owned())
}

/// Mounts a kernel file system at its usual place, unless it is there.
fn mount(kind: &str, place: &str) -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    if is_mounted(&mounts, kind, place) || !Path::new(place).is_dir() {
        return Ok(());
    }
    Cmd::root("mount")?.args(["-t", kind, kind, place]).run()
}

fn is_mounted(mounts: &str, kind: &str, place: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(place) && words.next() == Some(kind)
    })
}

/// How test programs become root, while cargo itself stays this user's.
const SUDO: &str = "sudo --preserve-env";

/// The variable by which cargo is told to start test programs through [`SUDO`], where that is needed and can be done.
fn runner() -> Result<Option<String>> {
    (!is_root() && which("sudo").is_some())
        .then(runner_variable)
        .transpose()
}

/// The variable by which cargo is told how to start a program that it has built for this machine.
fn runner_variable() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let verbose = Cmd::new(rustc)
        .arg("-vV")
        .ask()
        .context("`rustc -vV` failed")?;
    let host = verbose
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    Ok(runner_variable_of(host))
}

fn runner_variable_of(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_mounted() {
        let mounts = "tracefs /sys/kernel/tracing tracefs rw,nosuid 0 0\n\
                      none /sys/fs/bpf tmpfs rw 0 0\n";
        assert!(is_mounted(mounts, "tracefs", "/sys/kernel/tracing"));
        assert!(!is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "tracefs", "/sys/kernel"));
    }

    #[test]
    fn names_the_runner_as_cargo_does() {
        assert_eq!(
            runner_variable_of("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }
}
