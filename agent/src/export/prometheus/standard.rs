//! Families that only Prometheus knows: the standard `process_*` of the agent, and its build.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::labels::text_of;
use super::lines::FamilyLines;
use super::names::{FamilyName, Kind};
use super::negotiation::Exposition;
use crate::telemetry::snapshot::PointValue;

/// One family with one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct StandardFamily {
    name: FamilyName,
    help: &'static str,
    labels: Vec<(&'static str, &'static str)>,
    value: PointValue,
}

impl StandardFamily {
    pub(super) fn name(&self) -> &FamilyName {
        &self.name
    }

    pub(super) fn help(&self) -> &'static str {
        self.help
    }

    /// Writes it.
    pub(super) fn write(&self, text: &mut String, exposition: Exposition) -> fmt::Result {
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
        let labels: Vec<_> = labels.collect();
        FamilyLines::begin(text, exposition, &self.name, self.help)?.sample(
            text,
            &text_of(&labels, exposition.names),
            &self.value,
        )
    }

    fn new(name: &str, unit: &str, kind: Kind, help: &'static str, value: PointValue) -> Self {
        Self {
            name: FamilyName::translate(name, unit, kind),
            help,
            labels: Vec::new(),
            value,
        }
    }
}

/// What was built.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: &'static str,
    /// Commit it was built from; empty if unknown.
    pub revision: &'static str,
}

/// Everything that can be read about this process now. What cannot be read is left out, never guessed.
pub fn read(build: BuildInfo) -> Vec<StandardFamily> {
    let mut families = vec![build_info(build)];
    families.extend(process(Path::new("/proc")));
    families
}

fn build_info(build: BuildInfo) -> StandardFamily {
    let labels = [("version", build.version), ("revision", build.revision)];
    StandardFamily {
        name: FamilyName {
            base: Cow::Borrowed("wellhead_build"),
            unit: None,
            kind: Kind::Info,
        },
        help: "Version and revision of the agent.",
        labels: labels
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        value: PointValue::Int(1),
    }
}

fn process(proc: &Path) -> impl Iterator<Item = StandardFamily> + use<> {
    let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds and nanoseconds of CPU time fit"
    )]
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let gauge = |name: &str, unit: &str, help, value: Option<i64>| {
        value
            .map(|value| StandardFamily::new(name, unit, Kind::Gauge, help, PointValue::Int(value)))
    };
    let cpu = StandardFamily::new(
        "process.cpu",
        "s",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
        PointValue::Float(cpu),
    );
    let start = start_time(proc).map(|start| {
        let help = "Start time of the process since unix epoch in seconds.";
        StandardFamily::new(
            "process.start_time",
            "s",
            Kind::Gauge,
            help,
            PointValue::Float(start),
        )
    });
    let families = [
        Some(cpu),
        gauge(
            "process.open_fds",
            "",
            "Number of open file descriptors.",
            open_fds(proc),
        ),
        gauge(
            "process.max_fds",
            "",
            "Maximum number of open file descriptors.",
            max_fds(),
        ),
        gauge(
            "process.virtual_memory",
            "By",
            "Virtual memory size in bytes.",
            kibibytes(&status, "VmSize:"),
        ),
        gauge(
            "process.resident_memory",
            "By",
            "Resident memory size in bytes.",
            kibibytes(&status, "VmRSS:"),
        ),
        start,
        gauge(
            "process.threads",
            "",
            "Number of OS threads in the process.",
            field(&status, "Threads:"),
        ),
    ];
    families.into_iter().flatten()
}

/// A number of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, key: &str) -> Option<i64> {
    field(status, key)?.checked_mul(1024)
}

fn open_fds(proc: &Path) -> Option<i64> {
    let entries = fs::read_dir(proc.join("self/fd")).ok()?.count();
    // One of them is the directory being read.
    i64::try_from(entries.saturating_sub(1)).ok()
}

fn max_fds() -> Option<i64> {
    getrlimit(Resource::Nofile)
        .current
        .and_then(|limit| i64::try_from(limit).ok())
}

/// Ticks per second of times in `/proc`, the same on every architecture Rust runs Linux on.
const USER_HZ: f64 = 100.0;

/// Wall time of the process' start in seconds.
fn start_time(proc: &Path) -> Option<f64> {
    let stat = fs::read_to_string(proc.join("self/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses; field 22 is the 20th after it.
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let boot = fs::read_to_string(proc.join("stat")).ok()?;
    let boot: f64 = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(boot + ticks / USER_HZ)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn everything_about_this_process_is_plausible() {
        let families = read(BuildInfo {
            version: "1.2.3",
            revision: "",
        });
        let value = |name: &str| {
            let family = families
                .iter()
                .find(|family| family.name.sample() == name)
                .unwrap();
            match family.value {
                PointValue::Float(value) => value,
                PointValue::Int(value) => f64::from(i32::try_from(value >> 10).unwrap_or(i32::MAX)),
                PointValue::Histogram(_) => f64::NAN,
            }
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!((0.0..3_600.0).contains(&value("process_cpu_seconds_total")));
        assert!((now - 3_600.0..=now + 1.0).contains(&value("process_start_time_seconds")));
        // In KiB: more than 1 MiB resident, and not more than is mapped.
        assert!(
            (1_024.0..=value("process_virtual_memory_bytes"))
                .contains(&value("process_resident_memory_bytes"))
        );
        let names: Vec<_> = families.iter().map(|family| family.name.sample()).collect();
        let rest = [
            "process_open_fds",
            "process_max_fds",
            "process_threads",
            "wellhead_build_info",
        ];
        assert!(
            rest.iter()
                .all(|name| names.iter().any(|known| known == name)),
            "{names:?}"
        );
        assert_eq!(families[0].labels, [("version", "1.2.3")]);
    }

    #[test]
    fn nothing_readable_means_nothing_told() {
        let names: Vec<_> = process(Path::new("/nonexistent"))
            .map(|family| family.name.sample())
            .collect();
        assert_eq!(names, ["process_cpu_seconds_total", "process_max_fds"]);
    }
}
