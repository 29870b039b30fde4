//! How much was exported of whom.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Signal;

/// Services told apart, of each signal. What others export is counted together.
const MOST: usize = 4_096;

/// Whose telemetry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exporter {
    /// `k8s.namespace.name`; empty where there is none.
    pub namespace: Arc<str>,
    /// `service.name`.
    pub service: Arc<str>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Of the protobuf messages, resource included, before compression.
    pub bytes: u64,
    /// Metrics (not data points), spans or log records.
    pub items: u64,
}

/// What receivers accepted, by service and signal.
#[derive(Debug, Default)]
pub struct Volumes(Mutex<Table>);

type Table = HashMap<(Signal, Option<Exporter>), Volume>;

impl Volumes {
    /// Counts what was accepted of one service.
    pub fn add(&self, signal: Signal, whose: Exporter, volume: Volume) {
        let mut table = self.table();
        let mut key = (signal, Some(whose));
        if table.len() >= MOST * Signal::ALL.len() && !table.contains_key(&key) {
            key.1 = None;
        }
        let counted = table.entry(key).or_default();
        counted.bytes = counted.bytes.saturating_add(volume.bytes);
        counted.items = counted.items.saturating_add(volume.items);
    }

    /// All there is, in no order; `None` stands for services that were not told apart.
    pub fn read(&self) -> Vec<(Signal, Option<Exporter>, Volume)> {
        let table = self.table();
        let each = table.iter();
        each.map(|((signal, whose), volume)| (*signal, whose.clone(), *volume))
            .collect()
    }

    /// Whoever panicked while holding it had nothing half done.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_beyond_the_most_are_counted_together() {
        let volumes = Volumes::default();
        let whose = |number: usize| Exporter {
            namespace: "shop".into(),
            service: number.to_string().into(),
        };
        let one = Volume {
            bytes: 10,
            items: 1,
        };
        let most = MOST * Signal::ALL.len();
        for number in 0..most + 5 {
            volumes.add(Signal::Traces, whose(number), one);
        }
        volumes.add(Signal::Traces, whose(0), one);
        let read = volumes.read();
        assert_eq!(read.len(), most + 1);
        let of = |whose: Option<Exporter>| {
            let found = read.iter().find(|(_, found, _)| *found == whose);
            found.map(|(_, _, volume)| *volume)
        };
        assert_eq!(
            of(None),
            Some(Volume {
                bytes: 50,
                items: 5
            })
        );
        assert_eq!(
            of(Some(whose(0))),
            Some(Volume {
                bytes: 20,
                items: 2
            })
        );
    }
}
