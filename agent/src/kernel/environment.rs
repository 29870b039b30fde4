//! Facts about this machine that decide what can be captured.

use std::{fs, path::Path};

use serde::Serialize;

use super::{Capabilities, btf::VMLINUX};

/// How cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// Version 2 only.
    Unified,
    /// Version 1 controllers with a version 2 tree beside them.
    Hybrid,
    /// Version 1 only: everything belongs to the node.
    Legacy,
    /// None mounted.
    Absent,
}

/// What `doctor` shows about the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// `uname -r`.
    pub kernel: String,
    /// Whether the kernel shows its types at `/sys/kernel/btf/vmlinux`.
    pub btf: bool,
    /// How cgroups are mounted.
    pub cgroups: CgroupMode,
    /// Whether tracefs is mounted; no feature needs it.
    pub tracefs: bool,
    /// Kernel lockdown, as `/sys/kernel/security/lockdown` marks it; empty if unknown.
    pub lockdown: String,
    /// Capabilities that every feature needs and this process lacks.
    pub missing_capabilities: Vec<String>,
}

impl Environment {
    /// Looks around.
    pub fn probe() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let needed = super::Feature::Process.capabilities();
        let missing = Capabilities::current()
            .map(|set| set.missing(needed))
            .unwrap_or_default();
        Self {
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            btf: Path::new(VMLINUX).exists(),
            cgroups: cgroup_mode(&mounts),
            tracefs: mounts
                .lines()
                .any(|line| filesystem(line) == Some("tracefs")),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .map_or(String::new(), |text| chosen(&text)),
            missing_capabilities: missing.iter().map(ToString::to_string).collect(),
        }
    }
}

fn cgroup_mode(mountinfo: &str) -> CgroupMode {
    let mounted = |kind| mountinfo.lines().any(|line| filesystem(line) == Some(kind));
    match (mounted("cgroup2"), mounted("cgroup")) {
        (true, false) => CgroupMode::Unified,
        (true, true) => CgroupMode::Hybrid,
        (false, true) => CgroupMode::Legacy,
        (false, false) => CgroupMode::Absent,
    }
}

/// The filesystem type of a line of `/proc/self/mountinfo`: the first word behind the lone hyphen (`proc(5)`).
fn filesystem(line: &str) -> Option<&str> {
    line.split_once(" - ")?.1.split(' ').next()
}

/// The value in brackets of `none [integrity] confidentiality`.
fn chosen(text: &str) -> String {
    text.split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(String::new(), |(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_cgroup_modes_apart() {
        let v1 = "31 24 0:26 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu";
        let v2 = "30 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        let check = |text: &str, mode| assert_eq!(cgroup_mode(text), mode, "{text}");
        check(v2, CgroupMode::Unified);
        check(v1, CgroupMode::Legacy);
        check(&format!("{v1}\n{v2}"), CgroupMode::Hybrid);
        check("22 1 0:20 / /proc rw - proc proc rw", CgroupMode::Absent);
        check("garbage", CgroupMode::Absent);
    }

    #[test]
    fn reads_the_chosen_lockdown() {
        assert_eq!(chosen("none [integrity] confidentiality\n"), "integrity");
        assert_eq!(chosen("none"), "");
    }
}
