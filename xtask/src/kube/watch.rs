//! Whether the programs of a rig still run.

use std::fs;

use anyhow::{Result, bail};

use super::processes;
use super::rig::{Extent, Rig};

/// Programs of each kind of rig.
pub(super) const fn parts(extent: Extent) -> &'static [&'static str] {
    match extent {
        Extent::ControlPlane => &["etcd", "apiserver"],
        Extent::Cluster => &[
            "node",
            "etcd",
            "apiserver",
            "controller-manager",
            "scheduler",
            "containerd",
            "kubelet",
            "proxy",
        ],
    }
}

/// An error with the last words of the first that has ended.
pub(super) fn all_alive(rig: &Rig, parts: &[&str]) -> Result<()> {
    let running = processes::running(rig)?;
    for part in parts {
        if !running.iter().any(|process| process.part == *part) {
            let log = rig.log(part);
            let text = fs::read_to_string(&log).unwrap_or_default();
            bail!(
                "{part} has ended; {} ends with:\n{}",
                log.display(),
                last_lines(&text, 15)
            );
        }
    }
    Ok(())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
