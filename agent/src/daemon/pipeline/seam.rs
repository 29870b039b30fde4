//! The moment an upgrade turns the switch from old programs to new ones: an event that happens just then may be told by
//! both, first by the one and then by the other.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::counters::RecordKind;
use crate::events::{Body, Connection, Event};
use crate::kernel::Switched;

/// In nanoseconds, how far one program may be behind the other, which run one after the other on one processor: an
/// interrupt may come between them. Nobody does the same thing twice so fast.
const APART: u64 = 200_000;

/// After so many nanoseconds nothing of the switch is still to be read.
const OVER: u64 = 60_000_000_000;

/// Tellings that are remembered. Beyond that one may be counted twice, as if the processor had stopped for long while it
/// turned the switch.
const MOST: usize = 8_192;

/// Recognises events that were told twice.
#[derive(Debug, Default)]
pub(super) struct Seam {
    /// `None` without an upgrade, and when it is long over.
    switched: Option<Switched>,
    /// When what was told that may be told again.
    told: HashMap<(RecordKind, u64), u64>,
}

impl Seam {
    pub(super) fn new(switched: Option<Switched>) -> Self {
        Self {
            switched,
            told: HashMap::new(),
        }
    }

    /// Whether the event was told before.
    pub(super) fn repeats(&mut self, event: &Event<'_>) -> bool {
        let Some(switched) = self.switched else {
            return false;
        };
        let at = event.boot_ns;
        if at > switched.after.saturating_add(OVER) {
            *self = Self::default();
            return false;
        }
        // The old programs ask whether they are to work before they take the time.
        let last_old = switched.after.saturating_add(APART);
        let first_old = switched.before.saturating_sub(APART);
        if at < first_old || at >= last_old.saturating_add(APART) {
            return false;
        }
        let Some(subject) = subject(event) else {
            return false;
        };
        let told = (event.kind(), subject);
        let is_second = at >= switched.before
            && self.told.get(&told).is_some_and(|first| {
                at.checked_sub(*first)
                    .is_some_and(|between| between < APART)
            });
        if is_second {
            // Nobody tells it a third time.
            self.told.remove(&told);
        } else if at <= last_old && self.told.len() < MOST {
            self.told.insert(told, at);
        }
        is_second
    }
}

/// What both tellings have in common, and no other event of the kind so soon.
fn subject(event: &Event<'_>) -> Option<u64> {
    Some(match &event.body {
        Body::Fork(fork) => hash(fork.child.pid),
        // A shell that becomes what it was told to run executes twice in a row.
        Body::Exec(exec) => hash((exec.process.pid, exec.file_name)),
        Body::Exit(exit) => hash(exit.process.pid),
        Body::Freed(freed) => hash(freed.process.pid),
        Body::OomKill(kill) => hash(kill.pid),
        Body::TcpOpen(connection) | Body::TcpReset(connection) => of_connection(connection),
        Body::TcpClose(end) | Body::TcpConnectFailed(end) => of_connection(&end.connection),
        Body::TcpListen(listener) => hash((listener.socket_id, listener.local)),
        // Told by iterators, which only the new agent runs, or not counted.
        Body::TcpSnapshot(_)
        | Body::TcpListener(_)
        | Body::TcpAttempt(_)
        | Body::Dns(_)
        | Body::Found(_)
        | Body::CgroupMade(_)
        | Body::CgroupRemoved(_)
        | Body::CgroupEntered(_) => return None,
    })
}

/// With its addresses: before 5.11 the next socket may have the same id.
fn of_connection(connection: &Connection) -> u64 {
    hash((connection.socket_id, connection.local, connection.remote))
}

fn hash(subject: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Exec, Fork, ProcessId};

    const SWITCHED: Switched = Switched {
        before: 1_000_000,
        after: 1_010_000,
    };

    fn event(boot_ns: u64, body: Body<'static>) -> Event<'static> {
        Event {
            boot_ns,
            cgroup_id: 1,
            body,
        }
    }

    fn fork(pid: u32, boot_ns: u64) -> Event<'static> {
        let process = |pid| ProcessId { pid, start_ns: 1 };
        let fork = Fork {
            child: process(pid),
            parent: process(1),
        };
        event(boot_ns, Body::Fork(fork))
    }

    fn exec(file_name: &'static str, boot_ns: u64) -> Event<'static> {
        let exec = Exec {
            process: ProcessId {
                pid: 7,
                start_ns: 1,
            },
            parent: ProcessId {
                pid: 1,
                start_ns: 0,
            },
            uid: 0,
            comm: b"x",
            file_name: file_name.as_bytes(),
            file_name_truncated: false,
            arguments: b"",
            arguments_truncated: false,
            ..Exec::default()
        };
        event(boot_ns, Body::Exec(exec))
    }

    /// Feeds events and expects those at `repeated` to be recognised.
    fn check(events: &[Event<'static>], repeated: &[usize]) {
        let mut seam = Seam::new(Some(SWITCHED));
        let found: Vec<usize> = (0..events.len())
            .filter(|at| seam.repeats(&events[*at]))
            .collect();
        assert_eq!(found, repeated, "{events:?}");
    }

    #[test]
    fn one_event_told_by_both_is_repeated() {
        // Just before and after, and at either edge.
        check(&[fork(7, 999_900), fork(7, 1_000_200)], &[1]);
        check(&[fork(7, 800_001), fork(7, 1_000_000)], &[1]);
        check(&[fork(7, 1_210_000), fork(7, 1_409_999)], &[1]);
        check(&[fork(7, 1_005_000), fork(7, 1_005_000)], &[1]);
        // Others of the kind may come between the two.
        check(
            &[fork(7, 999_900), fork(8, 999_950), fork(7, 1_000_200)],
            &[2],
        );
        check(
            &[exec("/bin/sh", 999_900), exec("/bin/sh", 1_000_200)],
            &[1],
        );
    }

    #[test]
    fn only_the_new_programs_tell_it_again() {
        // Both before the switch: two events.
        check(&[fork(7, 900_000), fork(7, 999_999)], &[]);
        // Both long after it.
        check(&[fork(7, 1_210_001), fork(7, 1_210_002)], &[]);
        // Too far apart.
        check(&[fork(7, 900_000), fork(7, 1_100_000)], &[]);
        check(&[fork(7, 5), fork(7, 5)], &[]);
        // A third time it is another event.
        check(
            &[fork(7, 1_000_000), fork(7, 1_000_001), fork(7, 1_000_002)],
            &[1],
        );
        // The first telling comes first.
        check(&[fork(7, 1_000_001), fork(7, 1_000_000)], &[]);
    }

    #[test]
    fn a_shell_that_becomes_what_it_runs_executes_twice() {
        check(
            &[exec("/bin/sh", 999_950), exec("/bin/true", 1_000_050)],
            &[],
        );
        // Each of them told twice.
        let twice = [
            exec("/bin/sh", 999_950),
            exec("/bin/sh", 1_000_001),
            exec("/bin/true", 1_000_005),
            exec("/bin/true", 1_000_009),
        ];
        check(&twice, &[1, 3]);
    }

    #[test]
    fn a_long_switch_is_no_reason_to_drop_what_happens_meanwhile() {
        let mut seam = Seam::new(Some(Switched {
            before: 1_000_000,
            after: 900_000_000,
        }));
        for at in [2_000_000, 2_200_000, 2_400_000, 700_000_000] {
            assert!(!seam.repeats(&fork(7, at)), "{at}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let mut seam = Seam::new(Some(SWITCHED));
        let most = u32::try_from(MOST).expect("small");
        for pid in 0..2 * most {
            assert!(!seam.repeats(&fork(pid, 1_000_000)), "{pid}");
        }
        assert_eq!(seam.told.len(), MOST);
        assert!(!seam.repeats(&fork(1, SWITCHED.after + OVER)));
        assert_eq!(seam.told.len(), MOST, "not yet");
        assert!(!seam.repeats(&fork(1, SWITCHED.after + OVER + 1)));
        assert!(seam.told.is_empty() && seam.switched.is_none());
    }

    #[test]
    fn without_an_upgrade_nothing_is_repeated() {
        let mut seam = Seam::new(None);
        assert!(!seam.repeats(&fork(7, 5)) && !seam.repeats(&fork(7, 5)));
    }
}
