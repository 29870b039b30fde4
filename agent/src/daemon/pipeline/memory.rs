//! The memory budget, and what the parts of the agent take of it.

use std::fs;

use crate::config::budget::Component;
use crate::self_telemetry::MemoryShare;

/// The memory budget and its parts, bytes.
#[derive(Clone, Debug)]
pub struct Budget {
    /// `memory_budget`.
    pub total: u64,
    /// The most that each part takes.
    pub shares: [(Component, u64); Component::ALL.len()],
}

/// How much there is of what takes memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) connections: usize,
    pub(super) processes: usize,
    pub(super) cgroups: usize,
    pub(super) pods: usize,
    pub(super) owners: usize,
    pub(super) cluster: usize,
    /// Bytes.
    pub(super) series: usize,
    pub(super) spans: usize,
    pub(super) logs: usize,
}

impl Budget {
    /// What each part may take and takes, and all of it together: of that, the pages of the process that are in memory.
    pub(super) fn shares(&self, held: &Held) -> Vec<MemoryShare> {
        let total = MemoryShare {
            component: "total",
            budget: self.total,
            usage: resident(),
        };
        let part = |(component, budget): &(Component, u64)| MemoryShare {
            component: component.as_str(),
            budget: *budget,
            usage: Some(match held.amount(*component) {
                Some(amount) => amount as u64,
                None => *budget,
            }),
        };
        let parts = self.shares.iter().map(part);
        [total].into_iter().chain(parts).collect()
    }
}

impl Held {
    /// Bytes, about; `None` for what has its full size from the start.
    fn amount(&self, component: Component) -> Option<usize> {
        let entries = match component {
            Component::Rings | Component::KernelMaps => return None,
            Component::Connections => self.connections,
            Component::Processes => self.processes,
            Component::Cgroups => self.cgroups,
            Component::Pods => self.pods,
            Component::Owners => self.owners,
            Component::Cluster => self.cluster,
            Component::Series => return Some(self.series),
            Component::Spans => self.spans,
            Component::Logs => self.logs,
        };
        Some(entries.saturating_mul(usize::try_from(component.entry()).unwrap_or(usize::MAX)))
    }
}

/// The process's pages in memory, bytes.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn parts_say_what_they_hold() {
        let sizes = Config::default().sizes();
        let budget = Budget {
            total: 128 << 20,
            shares: Component::ALL.map(|component| (component, sizes.at_most(component))),
        };
        let held = Held {
            processes: 10,
            series: 12_345,
            spans: 7,
            ..Held::default()
        };
        let shares = budget.shares(&held);
        let of = |name: &str| {
            let share = shares.iter().find(|share| share.component == name);
            share.and_then(|share| share.usage)
        };
        assert_eq!(of("processes"), Some(10 * 256));
        assert_eq!(of("series"), Some(12_345));
        assert_eq!(of("spans"), Some(7));
        assert_eq!(of("rings"), Some(2 * sizes.rings().bytes()));
        assert!(of("total").is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(shares.len(), 1 + Component::ALL.len());
    }
}
