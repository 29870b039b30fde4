//! The machine that something was measured on.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::test;

/// As far as numbers depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cpus: usize,
    pub(super) memory_bytes: u64,
    /// What `uname -r` says.
    pub(super) kernel: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Result<Self> {
        let read =
            |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let meminfo = read("/proc/meminfo")?;
        Self::of(&read("/proc/cpuinfo")?, &meminfo, test::release()?)
    }

    fn of(cpuinfo: &str, meminfo: &str, kernel: String) -> Result<Self> {
        let values = |wanted: &'static str| {
            cpuinfo
                .lines()
                .filter_map(|line| line.split_once(':'))
                .filter(move |(name, _)| name.trim_end() == wanted)
                .map(|(_, value)| value.trim().to_owned())
        };
        let kibibytes: u64 = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
            .context("/proc/meminfo does not tell the memory's size")?
            .parse()
            .context("the memory's size is no number")?;
        Ok(Self {
            // Some architectures do not name it.
            cpu: values("model name")
                .next()
                .unwrap_or_else(|| "unknown".to_owned()),
            cpus: values("processor").count(),
            memory_bytes: kibibytes * 1024,
            kernel,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        4014892 kB\nMemFree:          212184 kB\n";

    fn check(cpuinfo: &str, cpu: &str, cpus: usize) {
        let machine = Machine::of(cpuinfo, MEMINFO, "6.1.0".to_owned()).unwrap();
        let expected = Machine {
            cpu: cpu.to_owned(),
            cpus,
            memory_bytes: 4_014_892 * 1024,
            kernel: "6.1.0".to_owned(),
        };
        assert_eq!(machine, expected);
    }

    #[test]
    fn reads_what_the_kernel_tells() {
        let one = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.00GHz\n\n";
        check(one, "Some CPU @ 2.00GHz", 1);
        check(&format!("{one}{one}"), "Some CPU @ 2.00GHz", 2);
        check("processor\t: 0\nBogoMIPS\t: 48.00\n", "unknown", 1);
        assert!(Machine::of(one, "", String::new()).is_err());
    }

    #[test]
    fn knows_this_machine() {
        let machine = Machine::this().unwrap();
        assert!(machine.cpus > 0 && machine.memory_bytes > 0, "{machine:?}");
    }
}
