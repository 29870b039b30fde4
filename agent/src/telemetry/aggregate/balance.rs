//! Double entry: what the counters say of connections must be what the table of open ones says.

use std::collections::HashSet;

use super::flows::FlowSeries;
use crate::telemetry::store::Measurement;

/// What came and went, as it was published, and where connections come and go.
#[derive(Debug, Default)]
pub(super) struct Balance {
    opened: i64,
    closed: i64,
    /// Connections in the table that were not counted as opened, less those out of it that were not counted as closed.
    unmatched: i64,
    /// Network namespaces in which something changed since somebody asked.
    changed: Option<HashSet<u32>>,
}

impl Balance {
    /// A measurement is published.
    pub(super) fn measured(&mut self, which: FlowSeries, change: Measurement) {
        if let Measurement::Add(number) = change {
            match which {
                FlowSeries::Opened => self.opened += number,
                FlowSeries::Closed => self.closed += number,
                _ => {}
            }
        }
    }

    /// A connection was open before anybody counted that it opened.
    pub(super) fn met(&mut self) {
        self.unmatched += 1;
    }

    /// One is open and there is no room to follow it.
    pub(super) fn turned_away(&mut self) {
        self.unmatched -= 1;
    }

    /// One left the table, and its end is counted elsewhere or not at all.
    pub(super) fn vanished(&mut self) {
        self.unmatched -= 1;
    }

    /// So many ends are counted of connections that are in the table, or leave it as vanished.
    pub(super) fn ended_elsewhere(&mut self, number: i64) {
        self.unmatched += number;
    }

    /// 0, if this many are in the table.
    pub(super) fn drift(&self, active: i64) -> i64 {
        self.opened + self.unmatched - self.closed - active
    }

    /// Something changed in a network namespace.
    pub(super) fn touch(&mut self, netns: u32) {
        if let Some(changed) = &mut self.changed {
            changed.insert(netns);
        }
    }

    /// From now on it is noted where something changes.
    pub(super) fn watch(&mut self) {
        self.changed = Some(HashSet::new());
    }

    /// Where something changed since; that is not noted any longer.
    pub(super) fn take_changed(&mut self) -> HashSet<u32> {
        self.changed.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(measured: &[(FlowSeries, i64)]) -> Balance {
        let mut balance = Balance::default();
        for (which, number) in measured {
            balance.measured(*which, Measurement::Add(*number));
        }
        balance
    }

    #[test]
    fn what_is_opened_and_not_closed_is_active() {
        let balance = balance(&[
            (FlowSeries::Opened, 5),
            (FlowSeries::Closed, 2),
            (FlowSeries::BytesSent, 100),
        ]);
        assert_eq!(balance.drift(3), 0);
        assert_eq!(balance.drift(4), -1);
        assert_eq!(balance.drift(1), 2);
    }

    #[test]
    fn what_only_one_side_knows_of_is_matched() {
        let mut balance = balance(&[(FlowSeries::Opened, 5), (FlowSeries::Closed, 3)]);
        balance.met();
        balance.turned_away();
        balance.vanished();
        balance.ended_elsewhere(3);
        assert_eq!(balance.drift(4), 0);
    }

    #[test]
    fn changes_are_noted_while_somebody_watches() {
        let mut balance = Balance::default();
        balance.touch(1);
        balance.watch();
        balance.touch(2);
        assert_eq!(balance.take_changed(), HashSet::from([2]));
        balance.touch(3);
        assert_eq!(balance.take_changed(), HashSet::new());
    }
}
