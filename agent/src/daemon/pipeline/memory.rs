//! The memory budget, and what the parts of the agent take of it.

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
    /// Bytes; `None` where the kernel does not say.
    pub(super) kernel_maps: Option<u64>,
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
    pub(super) fn shares(&self, held: &Held, resident: Option<u64>) -> Vec<MemoryShare> {
        let total = MemoryShare {
            component: "total",
            budget: self.total,
            usage: resident,
        };
        let part = |(component, budget): &(Component, u64)| MemoryShare {
            component: component.as_str(),
            budget: *budget,
            usage: Some(match held.amount(*component) {
                Some(amount) => amount,
                None => *budget,
            }),
        };
        let parts = self.shares.iter().map(part);
        [total].into_iter().chain(parts).collect()
    }
}

impl Held {
    /// Bytes, about; `None` for what has its full size from the start.
    fn amount(&self, component: Component) -> Option<u64> {
        let entries = match component {
            Component::Rings => return None,
            Component::KernelMaps => return self.kernel_maps,
            Component::Connections => self.connections,
            Component::Processes => self.processes,
            Component::Cgroups => self.cgroups,
            Component::Pods => self.pods,
            Component::Owners => self.owners,
            Component::Cluster => self.cluster,
            Component::Series => return Some(self.series as u64),
            Component::Spans => self.spans,
            Component::Logs => self.logs,
        };
        Some((entries as u64).saturating_mul(component.entry()))
    }
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
        let shares = budget.shares(&held, Some(1 << 25));
        let of = |name: &str| {
            let share = shares.iter().find(|share| share.component == name);
            share.and_then(|share| share.usage)
        };
        assert_eq!(of("processes"), Some(10 * 720));
        assert_eq!(of("series"), Some(12_345));
        assert_eq!(of("spans"), Some(7));
        assert_eq!(of("rings"), Some(2 * sizes.rings().bytes()));
        // Computed where the kernel does not say.
        assert_eq!(
            of("kernel_maps"),
            Some(sizes.at_most(Component::KernelMaps))
        );
        assert_eq!(of("total"), Some(1 << 25));
        assert_eq!(shares.len(), 1 + Component::ALL.len());
    }
}
