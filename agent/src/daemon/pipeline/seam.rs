//! The moment an upgrade turns the switch from old programs to new ones: an event that happens just then may be told by
//! both, first by the one and then by the other.

use std::collections::HashSet;

use crate::counters::RecordKind;
use crate::events::{Body, Event};

/// How far around the turn of the switch, in nanoseconds.
const AROUND: u64 = 200_000;

/// Recognises events that were told twice.
#[derive(Debug, Default)]
pub(super) struct Seam {
    /// Boot clock from and to which that can be; `None` without an upgrade.
    window: Option<(u64, u64)>,
    told: HashSet<(RecordKind, u64)>,
}

impl Seam {
    /// `switched` is when the switch was turned: from just before to just after.
    pub(super) fn new(switched: Option<(u64, u64)>) -> Self {
        Self {
            window: switched.map(|(from, to)| (from.saturating_sub(AROUND), to + AROUND)),
            told: HashSet::new(),
        }
    }

    /// Whether the event was told before.
    pub(super) fn repeats(&mut self, event: &Event<'_>) -> bool {
        let Some((from, to)) = self.window else {
            return false;
        };
        if !(from..=to).contains(&event.boot_ns) {
            return false;
        }
        subject(event).is_some_and(|subject| !self.told.insert((event.kind(), subject)))
    }
}

/// Whom it is about, who cannot do the same again so soon.
fn subject(event: &Event<'_>) -> Option<u64> {
    Some(match &event.body {
        Body::Fork(fork) => u64::from(fork.child.pid),
        Body::Exec(exec) => u64::from(exec.process.pid),
        Body::Exit(exit) => u64::from(exit.process.pid),
        Body::OomKill(kill) => u64::from(kill.pid),
        Body::TcpOpen(connection) => connection.socket_id,
        Body::TcpClose(end) | Body::TcpConnectFailed(end) => end.connection.socket_id,
        // Told by iterators, which only the new agent runs, or not counted.
        Body::TcpSnapshot(_)
        | Body::Found(_)
        | Body::CgroupMade(_)
        | Body::CgroupRemoved(_)
        | Body::CgroupEntered(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Fork, ProcessId};

    fn fork(pid: u32, boot_ns: u64) -> Event<'static> {
        let process = |pid| ProcessId { pid, start_ns: 1 };
        Event {
            boot_ns,
            cgroup_id: 1,
            body: Body::Fork(Fork {
                child: process(pid),
                parent: process(1),
            }),
        }
    }

    #[test]
    fn only_what_comes_twice_around_the_switch_is_repeated() {
        let mut seam = Seam::new(Some((1_000_000, 1_100_000)));
        let mut check = |pid, boot_ns, expected| {
            assert_eq!(
                seam.repeats(&fork(pid, boot_ns)),
                expected,
                "{pid} at {boot_ns}"
            );
        };
        check(7, 999_900, false);
        check(7, 1_000_200, true);
        check(8, 1_000_300, false);
        // Long before or after it is another process of that number.
        check(9, 700_000, false);
        check(9, 700_001, false);
        check(7, 1_400_000, false);
    }

    #[test]
    fn without_an_upgrade_nothing_is() {
        let mut seam = Seam::new(None);
        assert!(!seam.repeats(&fork(7, 5)) && !seam.repeats(&fork(7, 5)));
    }
}
