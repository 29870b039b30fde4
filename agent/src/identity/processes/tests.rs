//! Processes told of one after the other.

use super::*;
use crate::events::{Connection, ConnectionEnd, Role, SocketOwner, Totals};

const HOST: OwnerId = OwnerId(1);
const CONTAINER: OwnerId = OwnerId(2);

fn id(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        start_ns: u64::from(pid) * 10,
    }
}

fn table(capacity: usize) -> (ProcessTable, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (
        ProcessTable::new(capacity, 1, Arc::clone(&counters)),
        counters,
    )
}

fn execute(table: &mut ProcessTable, process: ProcessId, at: u64, owner: OwnerId, name: &str) {
    let exec = Exec {
        process,
        ..Exec::default()
    };
    let program = Program {
        name: name.into(),
        path: name.into(),
    };
    table.executed(&exec, at, owner, program, false);
}

#[test]
fn a_forked_process_runs_its_parents_program() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 5, HOST, "sh");
    table.forked(id(2), id(1), HOST);
    let child = table.exited(id(2), 0).expect("known");
    assert_eq!(child.executable.as_deref(), Some("sh"));
    assert_eq!(child.executed_ns, None);
    assert!(table.get(id(2)).is_none());
    // Its last connections may end after it.
    assert_eq!(table.by_pid(2).map(|(id, _)| id), Some(id(2)));
    assert!(table.ended(id(2)).is_some());
}

#[test]
fn lines_skip_processes_that_only_forked() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 5, HOST, "sh");
    table.forked(id(2), id(1), HOST);
    table.forked(id(3), id(2), HOST);
    execute(&mut table, id(3), 9, HOST, "ls");
    let child = table.get(id(3)).expect("known");
    assert_eq!((child.parent, child.root), (Some(id(1)), id(1)));
}

#[test]
fn a_line_starts_anew_in_a_container() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 5, HOST, "shim");
    table.forked(id(2), id(1), HOST);
    execute(&mut table, id(2), 9, CONTAINER, "app");
    table.forked(id(3), id(2), CONTAINER);
    let first = table.get(id(2)).expect("known");
    assert_eq!((first.parent, first.root), (None, id(2)));
    let second = table.get(id(3)).expect("known");
    assert_eq!((second.parent, second.root), (Some(id(2)), id(2)));
}

#[test]
fn process_ids_are_reused_and_start_times_are_not() {
    let (mut table, _) = table(8);
    let (old, new) = (
        ProcessId {
            pid: 7,
            start_ns: 1,
        },
        ProcessId {
            pid: 7,
            start_ns: 2,
        },
    );
    execute(&mut table, old, 1, HOST, "old");
    execute(&mut table, new, 2, HOST, "new");
    assert_eq!(
        table
            .exited(old, 0)
            .and_then(|old| old.executable)
            .as_deref(),
        Some("old")
    );
    let (found, process) = table.by_pid(7).expect("alive");
    assert_eq!((found, process.executable.as_deref()), (new, Some("new")));
}

#[test]
fn the_oldest_makes_room_and_is_counted() {
    let (mut table, counters) = table(2);
    for pid in 1..=3 {
        execute(&mut table, id(pid), 1, HOST, "x");
    }
    assert!(table.get(id(1)).is_none());
    assert!(table.by_pid(1).is_none());
    assert_eq!(table.len(), 2);
    assert_eq!(counters.discards(Discard::IdentityTableFull), 1);
}

#[test]
fn who_connected_is_no_process_that_began_later() {
    let (mut table, _) = table(8);
    execute(&mut table, id(7), 70, HOST, "curl");
    let check = |pid: Option<u32>, started_ns: Option<u64>, expected: Option<&str>| {
        let comm = *b"resolver\0\0\0\0\0\0\0\0";
        let connection = Connection {
            socket_id: 1,
            netns: 1,
            local: ([127, 0, 0, 1], 40_000).into(),
            remote: ([127, 0, 0, 1], 80).into(),
            role: Some(Role::Source),
            owner: pid.map(|pid| SocketOwner { pid, comm }),
            started_ns,
            established_ns: None,
            older_than_agent: false,
            unmet: false,
            open_lost: false,
            shut_down: false,
        };
        let end = ConnectionEnd {
            connection: connection.clone(),
            totals: Totals::default(),
            reported: wellhead_common::maps::Traffic::default(),
            errno: 0,
            state: None,
            lifecycle_only: false,
            initial_sequence: None,
        };
        let bodies = [
            Body::TcpOpen(connection),
            Body::TcpSnapshot(end.clone()),
            Body::TcpClose(end),
        ];
        for body in bodies {
            let event = Event {
                boot_ns: 200,
                cgroup_id: 1,
                body,
            };
            let found = table.named_by(&event).map(|(_, process)| process);
            let name = found.and_then(|process| process.executable.as_deref());
            assert_eq!(name, expected, "{pid:?} {started_ns:?} {event:?}");
        }
    };
    check(Some(7), Some(100), Some("curl"));
    check(Some(7), Some(70), Some("curl"));
    check(Some(7), Some(69), None);
    check(Some(7), None, Some("curl"));
    check(Some(8), Some(100), None);
    check(None, Some(100), None);
}

#[test]
fn ancestors_outlive_who_they_are() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 5, HOST, "sh");
    table.forked(id(2), id(1), HOST);
    execute(&mut table, id(2), 6, HOST, "daemonize");
    table.forked(id(3), id(2), HOST);
    table.exited(id(2), 0);
    table.forked(id(4), id(3), HOST);
    table.exited(id(3), 0);
    execute(&mut table, id(4), 7, HOST, "daemon");
    let line = table.get(id(4)).expect("alive").ancestors();
    let names: Vec<_> = line.iter().map(|one| one.executable.as_deref()).collect();
    assert_eq!(names, [Some("daemonize"), Some("sh")]);
}

#[test]
fn who_was_there_already_has_a_line_too() {
    let (mut table, _) = table(8);
    let mut find = |pid, parent, only_forked| {
        let found = Found {
            process: id(pid),
            parent: id(parent),
            comm: [0; 16],
            only_forked,
            real_uid: 0,
            permitted: 0b11,
        };
        table.found(&found, HOST, format!("p{pid}").into());
    };
    find(1, 0, false);
    find(2, 1, true);
    find(3, 2, false);
    let third = table.get(id(3)).expect("alive");
    assert_eq!(
        (third.parent, third.root, third.executed_ns),
        (Some(id(1)), id(1), Some(30))
    );
    assert_eq!(table.get(id(2)).expect("alive").executed_ns, None);
    // What it got with a program it has beside what it had.
    let exec = Exec {
        process: id(3),
        permitted: 0b110,
        ..Exec::default()
    };
    let program = Program {
        name: "x".into(),
        path: "/x".into(),
    };
    table.executed(&exec, 40, HOST, program, false);
    assert_eq!(table.get(id(3)).expect("alive").gained, 0b100);
}

#[test]
fn what_was_used_before_anybody_looked_is_not_told() {
    let (mut table, _) = table(8);
    let usage = |runtime_ns| Usage {
        runtime_ns,
        ..Usage::default()
    };
    let found = Found {
        process: id(1),
        parent: id(0),
        comm: [0; 16],
        only_forked: false,
        real_uid: 0,
        permitted: 0,
    };
    table.found(&found, HOST, "old".into());
    table.forked(id(2), id(1), HOST);
    let mut used = |pid, runtime| {
        let told = table.used(id(pid), &usage(runtime), 0);
        told.map(|(grown, _)| grown.user_ns)
    };
    assert_eq!((used(1, 500), used(1, 800)), (Some(0), Some(300)));
    assert_eq!((used(2, 500), used(2, 400)), (Some(500), Some(0)));
    assert_eq!(used(3, 500), None);
    table.exited(id(2), 0);
    let late = table.used(id(2), &usage(600), 0);
    assert_eq!(late.map(|(grown, _)| grown.user_ns), Some(100));
}

#[test]
fn who_gave_up_being_root_has_gained_all_it_has() {
    let check = |before: Option<(u32, u64)>, now: (u32, u64), expected| {
        let privileges = |(real_uid, permitted)| Privileges {
            real_uid,
            permitted,
        };
        assert_eq!(privileges(now).gained(before.map(privileges)), expected);
    };
    check(None, (0, 0b11), 0);
    check(Some((1000, 0)), (1000, 0b11), 0b11);
    check(Some((0, 0b11)), (1000, 0b11), 0b11);
    check(Some((0, 0b01)), (0, 0b11), 0b10);
    check(Some((1000, 0b11)), (0, 0b11), 0);
}

#[test]
fn who_is_not_there_any_more_has_gone() {
    let (mut table, _) = table(8);
    for pid in 1..=3 {
        table.forked(id(pid), id(0), HOST);
    }
    assert!(table.gone(&[id(1), id(2)]).is_empty());
    // The third began after they were looked at.
    assert_eq!(table.gone(&[id(2)]), [id(1)]);
    table.exited(id(1), 0);
    table.exited(id(2), 0);
    assert!(table.gone(&[]).is_empty());
}

#[test]
fn nobody_descends_from_what_a_runtime_prepares_with() {
    let (mut table, _) = table(8);
    let program = Program {
        name: "runc".into(),
        path: "…/runc".into(),
    };
    let prepares = |table: &mut ProcessTable, process, at| {
        let exec = Exec {
            process,
            ..Exec::default()
        };
        table.executed(&exec, at, CONTAINER, program.clone(), true);
    };
    execute(&mut table, id(1), 5, HOST, "shim");
    table.forked(id(2), id(1), HOST);
    prepares(&mut table, id(2), 6);
    assert!(!table.get(id(2)).expect("known").makes_span());
    table.forked(id(3), id(2), CONTAINER);
    table.forked(id(4), id(3), CONTAINER);
    execute(&mut table, id(4), 9, CONTAINER, "sh");
    let main = table.get(id(4)).expect("known");
    assert_eq!((main.parent, main.root), (None, id(4)));
    // Who executes itself in there is somebody.
    table.forked(id(5), id(4), CONTAINER);
    prepares(&mut table, id(5), 10);
    let child = table.get(id(5)).expect("known");
    assert_eq!((child.parent, child.executed_ns), (Some(id(4)), Some(10)));
}

#[test]
fn who_has_to_make_room_takes_its_memory_along_and_is_looked_for_later() {
    let (mut table, _) = table(2);
    execute(&mut table, id(1), 5, CONTAINER, "db");
    table.used(id(1), &Usage::default(), 4_096);
    assert!(table.take_made_room().is_none());
    assert!(!table.wants_to_look(1), "nobody had to make room");
    execute(&mut table, id(2), 6, HOST, "a");
    execute(&mut table, id(3), 7, HOST, "b");
    let left = table.take_made_room().expect("of the first");
    assert_eq!((left.owner, left.bytes), (CONTAINER, 4_096));
    assert_eq!(left.executable.as_deref(), Some("db"));
    assert!(table.take_made_room().is_none());
    assert!(!table.wants_to_look(1), "there is no room");
    table.exited(id(2), 0);
    assert!(table.wants_to_look(1));
    assert!(!table.wants_to_look(0), "all are known");
    assert!(!table.wants_to_look(1), "and nobody has made room since");
}

#[test]
fn memory_goes_with_the_name() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 5, HOST, "sh");
    table.used(id(1), &Usage::default(), 4_096);
    let exec = Exec {
        process: id(1),
        ..Exec::default()
    };
    let program = Program {
        name: "app".into(),
        path: "/app".into(),
    };
    let left = table.executed(&exec, 6, CONTAINER, program.clone(), false);
    let left = left.map(|left| {
        (
            left.owner,
            left.executable.as_deref() == Some("sh"),
            left.bytes,
        )
    });
    assert_eq!(left, Some((HOST, true, 4_096)));
    assert!(
        table
            .executed(&exec, 7, CONTAINER, program, false)
            .is_none()
    );
    let again = table.used(id(1), &Usage::default(), 8_192);
    assert_eq!(again.map(|(grown, _)| grown.resident_bytes), Some(8_192));
}

#[test]
fn who_is_moved_uses_for_whom_it_is_with() {
    let (mut table, _) = table(8);
    execute(&mut table, id(1), 50, CONTAINER, "db");
    table.used(id(1), &Usage::default(), 4_096);
    assert!(table.seen_in(id(1), CONTAINER, 60).is_none());
    // Read before it executed, and told after.
    assert!(table.seen_in(id(1), HOST, 40).is_none());
    assert_eq!(table.get(id(1)).map(Process::used_by), Some(CONTAINER));
    let left = table.seen_in(id(1), HOST, 70).expect("it had memory");
    assert_eq!((left.owner, left.bytes), (CONTAINER, 4_096));
    let moved = table.get(id(1)).expect("known");
    // It executed its program where it was before.
    assert_eq!((moved.used_by(), moved.owner), (HOST, CONTAINER));
    let owners: Vec<OwnerId> = table.owners().collect();
    assert!(owners.contains(&HOST) && owners.contains(&CONTAINER));
    execute(&mut table, id(1), 80, CONTAINER, "db");
    assert_eq!(table.get(id(1)).map(Process::used_by), Some(CONTAINER));
}
