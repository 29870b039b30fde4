//! What the kernel counts, as the agent's counters mirror it.

use serde::{Deserialize, Serialize};

use crate::counters::{Counters, Discard, RecordKind};

/// The discards that the kernel owns.
const OWNED: [Discard; 7] = [
    Discard::RingIdentityFull,
    Discard::RingProcessFull,
    Discard::RingNetworkFull,
    Discard::KernelMapFull,
    Discard::KernelReadFailed,
    Discard::KernelSpillFull,
    Discard::KernelRecursion,
];

/// Those that are not zero, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    lost: Vec<(String, u64)>,
    skipped: Vec<(String, u64)>,
    discards: Vec<(String, u64)>,
}

impl Counts {
    /// As they stand.
    pub fn of(counters: &Counters) -> Self {
        let kinds = || RecordKind::ALL.iter().copied();
        let lost = kinds().map(|kind| (kind.as_str(), counters.lost(kind)));
        let skipped = kinds().map(|kind| (kind.as_str(), counters.skipped(kind)));
        let discards = OWNED
            .iter()
            .map(|why| (why.reason(), counters.discards(*why)));
        Self {
            lost: named(lost),
            skipped: named(skipped),
            discards: named(discards),
        }
    }

    /// Has the counters stand there. Names that are not known any more are left out.
    pub fn set(&self, counters: &Counters) {
        let kind = |name: &str| RecordKind::ALL.iter().find(|kind| kind.as_str() == name);
        for (name, number) in &self.lost {
            if let Some(kind) = kind(name) {
                counters.set_lost(*kind, *number);
            }
        }
        for (name, number) in &self.skipped {
            if let Some(kind) = kind(name) {
                counters.set_skipped(*kind, *number);
            }
        }
        for (name, number) in &self.discards {
            if let Some(why) = OWNED.iter().find(|why| why.reason() == name) {
                counters.set_discards(*why, *number);
            }
        }
    }
}

fn named<'a>(numbers: impl Iterator<Item = (&'a str, u64)>) -> Vec<(String, u64)> {
    numbers
        .filter(|(_, number)| *number > 0)
        .map(|(name, number)| (name.to_owned(), number))
        .collect()
}
