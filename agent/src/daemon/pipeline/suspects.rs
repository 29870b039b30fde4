//! Connections whose socket is missing: one count of the kernel's connections does not prove that it is gone.
//!
//! The kernel goes through its table while connections come and go, and shows some of those that stay twice and some not
//! at all. An attempt is known to the programs a moment before its socket is in that table. So who is missing once may be there; who
//! is missing again, a snapshot later, is gone.

use std::collections::HashMap;
use std::time::Duration;

/// Counts in a row in which a socket has to be missing.
const COUNTS: u32 = 2;

/// What is known of where a missing connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In a network namespace that was counted: it would have been there.
    Counted,
    /// In none that a process is in, or it is not known in which. A namespace can live without a process, by what is left to
    /// be sent in it, but not for long; that is, unless somebody holds on to it by a descriptor.
    Nowhere,
    /// As before, and the news of its opening may not have been counted yet.
    Waiting,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    is_counted: bool,
    counts: u32,
    /// Boot clock.
    since_ns: u64,
}

/// Who was missing in the last count.
#[derive(Debug)]
pub(super) struct Suspects {
    by_socket: HashMap<u64, Suspect>,
    patience_ns: u64,
}

impl Suspects {
    /// `patience`: how long one has to be missing whose network namespace cannot be looked into.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            by_socket: HashMap::new(),
            patience_ns: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Nobody was missing, or nobody knows who.
    pub(super) fn forget(&mut self) {
        self.by_socket = HashMap::new();
    }

    /// Takes who was missing in a count; returns who is gone. Whoever was not missing is a suspect no more.
    pub(super) fn missing(
        &mut self,
        missing: impl Iterator<Item = (u64, Whereabouts)>,
        now_ns: u64,
    ) -> Vec<u64> {
        let before = std::mem::take(&mut self.by_socket);
        let mut gone = Vec::new();
        for (socket, whereabouts) in missing {
            let is_counted = whereabouts == Whereabouts::Counted;
            let known = before.get(&socket);
            let mut suspect = known
                .filter(|known| known.is_counted == is_counted)
                .copied()
                .unwrap_or(Suspect {
                    is_counted,
                    counts: 0,
                    since_ns: now_ns,
                });
            suspect.counts += 1;
            let waited = now_ns.saturating_sub(suspect.since_ns) >= self.patience_ns;
            let is_gone = suspect.counts >= COUNTS
                && match whereabouts {
                    Whereabouts::Counted => true,
                    Whereabouts::Nowhere => waited,
                    Whereabouts::Waiting => false,
                };
            if is_gone {
                gone.push(socket);
            } else {
                self.by_socket.insert(socket, suspect);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::Whereabouts::*;
    use super::*;

    const PATIENCE: u64 = 100;
    const NOBODY: [u64; 0] = [];

    fn suspects() -> Suspects {
        Suspects::new(Duration::from_nanos(PATIENCE))
    }

    fn count(suspects: &mut Suspects, missing: &[(u64, Whereabouts)], now: u64) -> Vec<u64> {
        suspects.missing(missing.iter().copied(), now)
    }

    #[test]
    fn who_is_missing_twice_in_a_row_is_gone() {
        let mut all = suspects();
        assert_eq!(count(&mut all, &[(1, Counted), (2, Counted)], 1), NOBODY);
        assert_eq!(count(&mut all, &[(2, Counted), (3, Counted)], 2), [2]);
        // 1 was there in between.
        assert_eq!(count(&mut all, &[(1, Counted), (3, Counted)], 3), [3]);
        all.forget();
        assert_eq!(count(&mut all, &[(1, Counted)], 4), NOBODY);
    }

    #[test]
    fn where_nobody_can_look_it_takes_longer() {
        let mut all = suspects();
        assert_eq!(count(&mut all, &[(1, Nowhere)], 10), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 50), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 10 + PATIENCE), [1]);
        // Even then once is not enough.
        let mut all = Suspects::new(Duration::ZERO);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 10), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 10), [1]);
    }

    #[test]
    fn one_that_may_wait_is_kept_as_a_suspect() {
        let mut all = suspects();
        assert_eq!(count(&mut all, &[(1, Waiting)], 10), NOBODY);
        assert_eq!(count(&mut all, &[(1, Waiting)], 10 + PATIENCE), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 11 + PATIENCE), [1]);
    }

    #[test]
    fn whoever_is_found_to_be_elsewhere_begins_anew() {
        let mut all = suspects();
        assert_eq!(count(&mut all, &[(1, Nowhere)], 10), NOBODY);
        assert_eq!(count(&mut all, &[(1, Counted)], 500), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 510), NOBODY);
        assert_eq!(count(&mut all, &[(1, Nowhere)], 520), NOBODY);
    }
}
