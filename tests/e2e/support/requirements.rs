//! What a test needs of the machine. Where that is missing the test says so; in CI it fails.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Something a test needs beside the right to load programs into the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// The Python with the libraries of OpenTelemetry and Prometheus.
    Python,
    /// Prometheus' checker.
    Promtool,
    /// A program on `PATH`.
    Program(&'static str),
    /// A writable tree of cgroups, version 2.
    Cgroups,
}

/// Whether the test can run. If not, why not has been said.
pub(crate) fn ready(needs: &[Need]) -> bool {
    let missing = capture().or_else(|| needs.iter().find_map(|need| need.missing()));
    let Some(missing) = missing else { return true };
    assert!(
        env::var_os("WELLHEAD_REQUIRE_KERNEL").is_none(),
        "cannot run, and WELLHEAD_REQUIRE_KERNEL is set: {missing}"
    );
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    // Not by a macro of print: those are kept from sight while tests succeed.
    drop(writeln!(io::stderr(), "SKIPPED: {test} because {missing}"));
    false
}

/// A tool that `cargo xtask test kernel` names in the environment.
pub(crate) fn tool(variable: &str) -> PathBuf {
    env::var_os(variable).expect("asked for by a need").into()
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Python => unset("WELLHEAD_TEST_PYTHON"),
            Self::Promtool => unset("WELLHEAD_TEST_PROMTOOL"),
            Self::Program(name) => on_path(name)
                .is_none()
                .then(|| format!("there is no {name}")),
            Self::Cgroups => super::cgroup::mount()
                .is_none()
                .then(|| "no cgroup2 file system is mounted".to_owned()),
        }
    }
}

fn unset(variable: &str) -> Option<String> {
    let hint = "`cargo xtask test kernel` sets it";
    env::var_os(variable)
        .is_none()
        .then(|| format!("{variable} is not set; {hint}"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Why nothing can be captured here.
fn capture() -> Option<String> {
    const CAP_PERFMON_AND_BPF: u64 = 1 << 38 | 1 << 39;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    if capabilities.is_none_or(|set| set & CAP_PERFMON_AND_BPF != CAP_PERFMON_AND_BPF) {
        return Some("this is not root with CAP_BPF and CAP_PERFMON".to_owned());
    }
    let btf = "/sys/kernel/btf/vmlinux";
    (!Path::new(btf).exists()).then(|| format!("there is no {btf}"))
}
