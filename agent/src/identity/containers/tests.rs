//! Containers' lives, scripted.

use super::*;
use crate::identity::containers::Parent::{Elsewhere, Executed, Forked};

const SECOND: u64 = 1_000_000_000;
const OWNER: OwnerId = OwnerId(7);
const CGROUP: u64 = 100;

fn id(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        start_ns: u64::from(pid) * 10,
    }
}

fn exec(pid: u32, path: &str) -> Exec<'_> {
    Exec {
        process: id(pid),
        parent: ProcessId {
            pid: 1,
            start_ns: 0,
        },
        uid: 0,
        comm: b"x",
        file_name: path.as_bytes(),
        file_name_truncated: false,
        arguments: b"x\0init\0",
        ..Exec::default()
    }
}

struct Fixture {
    containers: Containers,
    counters: Arc<Counters>,
}

impl Fixture {
    fn new(capacity: usize) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            containers: Containers::new(capacity, Arc::clone(&counters)),
            counters,
        }
    }

    fn exec(&mut self, pid: u32, path: &str, parent: Parent, at: u64) -> Option<Started> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let exec = exec(pid, path);
        self.containers
            .executed((OWNER, at), &exec, || parent, || name.into())
    }

    fn exit(&mut self, pid: u32, status: ExitStatus, at: u64) -> Option<Ended> {
        self.containers.exited((OWNER, at), id(pid), status)
    }

    fn found(&mut self, pid: u32, parent: Parent) {
        self.containers
            .process_found(OWNER, id(pid), parent, || format!("found-{pid}").into());
    }

    /// Ends that are told after everybody was waited for.
    fn overdue(&mut self, now: u64) -> Vec<Ended> {
        let overdue = self.containers.take_overdue((now, false), |_| false);
        overdue.into_iter().map(|(_, ended)| ended).collect()
    }
}

fn ended(at: u64, pid: u32, executable: &str, ran_ns: u64, status: ExitStatus) -> Ended {
    Ended {
        at,
        status: Some(status),
        process: Some(id(pid)),
        executable: Some(executable.into()),
        ran_ns: Some(ran_ns),
        oom_kills: 0,
    }
}

#[test]
fn the_main_process_is_the_first_that_executes_a_program() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    let started = all.exec(10, "/bin/sh", Elsewhere, 80);
    assert_eq!(
        started,
        Some(Started {
            at: 80,
            process: id(10),
            executable: "sh".into(),
            made_ns: 50,
        })
    );
    // It becomes another program, has children, and somebody looks in.
    assert_eq!(all.exec(10, "/app", Elsewhere, 90), None);
    assert_eq!(all.exec(11, "/bin/ls", Executed, 95), None);
    assert_eq!(all.exec(12, "/bin/bash", Elsewhere, 99), None);
    assert_eq!(all.exit(11, ExitStatus::Code(1), 100), None);
    assert_eq!(all.exit(12, ExitStatus::Signal(9), 110), None);
    let end = all.exit(10, ExitStatus::Code(3), 180);
    assert_eq!(end, Some(ended(180, 10, "app", 100, ExitStatus::Code(3))));
    // Once.
    assert_eq!(all.exit(10, ExitStatus::Code(3), 181), None);
    assert!(all.containers.removed(OWNER, CGROUP, 200).is_empty());
    assert_eq!(all.overdue(200 + PATIENCE_NS), []);
    assert_eq!(all.containers.owners().count(), 0);
}

#[test]
fn what_a_runtime_does_in_the_cgroup_is_no_start() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    // runc executes itself, and two children of it prepare the third, which becomes the container's program.
    assert_eq!(all.exec(10, "/proc/self/fd/6", Elsewhere, 60), None);
    assert_eq!(all.exit(11, ExitStatus::Code(0), 61), None);
    assert_eq!(all.exit(10, ExitStatus::Code(0), 62), None);
    // A hook of its, before the program.
    assert_eq!(all.exec(13, "/usr/bin/hook", Forked, 65), None);
    assert_eq!(all.exit(13, ExitStatus::Code(0), 66), None);
    let started = all.exec(12, "/app", Elsewhere, 70).unwrap();
    assert_eq!((started.process, &*started.executable), (id(12), "app"));
    // `kubectl exec` takes the same way.
    assert_eq!(all.exec(20, "/proc/self/exe", Elsewhere, 80), None);
    assert_eq!(all.exec(20, "/bin/sh", Elsewhere, 81), None);
    assert_eq!(all.exit(20, ExitStatus::Code(1), 82), None);
    assert!(all.exit(12, ExitStatus::Code(0), 90).is_some());
}

#[test]
fn what_the_main_process_becomes_is_the_containers_program() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    assert_eq!(all.exec(10, "/proc/self/exe", Elsewhere, 60), None);
    assert!(all.exec(10, "/bin/sh", Elsewhere, 70).is_some());
    assert_eq!(all.exec(10, "/proc/self/exe", Elsewhere, 80), None);
    let end = all.exit(10, ExitStatus::Signal(9), 90).unwrap();
    assert_eq!(end.executable.as_deref(), Some("exe"));
}

/// While nobody read the rings it started again and again; then first all cgroups are told of.
#[test]
fn lives_that_are_told_late_are_told_each() {
    let mut all = Fixture::new(8);
    let lives = 5;
    let cgroup = |life: u64| CGROUP + life;
    for life in 0..lives {
        let at = 100 * (life + 1);
        all.containers.made(OWNER, cgroup(life), at);
        assert_eq!(all.containers.removed(OWNER, cgroup(life), at + 50), []);
    }
    for life in 0..lives {
        let at = 100 * (life + 1);
        let pid = 10 + u32::try_from(life).unwrap();
        let started = all.exec(pid, "/app", Elsewhere, at + 10).unwrap();
        assert_eq!((started.process, started.made_ns), (id(pid), at));
        let end = all.exit(pid, ExitStatus::Code(7), at + 40);
        assert_eq!(end.unwrap().ran_ns, Some(30));
    }
    assert_eq!(all.overdue(u64::MAX), []);
}

#[test]
fn of_lives_without_number_the_first_are_not_waited_for() {
    let mut all = Fixture::new(8);
    all.containers.hears_of_processes = true;
    for life in 0..3 * LIVES as u64 {
        let at = 100 * (life + 1);
        all.containers.made(OWNER, CGROUP + life, at);
        all.exec(10, "/app", Elsewhere, at + 10).unwrap();
        all.containers.removed(OWNER, CGROUP + life, at + 50);
    }
    assert_eq!(all.overdue(u64::MAX).len(), LIVES);
}

#[test]
fn a_container_whose_program_never_ran_neither_started_nor_ended() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    assert_eq!(all.exec(10, "/proc/self/exe", Elsewhere, 60), None);
    assert_eq!(all.exit(10, ExitStatus::Code(1), 70), None);
    all.containers.removed(OWNER, CGROUP, 80);
    assert_eq!(all.overdue(80 + PATIENCE_NS), []);
}

#[test]
fn the_end_of_an_older_container_is_told_by_its_oldest_process() {
    let mut all = Fixture::new(8);
    all.containers.found(OWNER, CGROUP, SECOND);
    // A session, the main process, and its child.
    all.found(30, Elsewhere);
    all.found(10, Elsewhere);
    all.found(5, Executed);
    all.found(20, Elsewhere);
    // Nobody knows what a program that starts now is.
    assert_eq!(all.exec(40, "/bin/sh", Elsewhere, 2 * SECOND), None);
    assert_eq!(all.exit(30, ExitStatus::Code(1), 3 * SECOND), None);
    assert_eq!(all.exit(40, ExitStatus::Code(1), 3 * SECOND), None);
    let end = all.exit(10, ExitStatus::Signal(15), 4 * SECOND);
    let ran = 4 * SECOND - 100;
    assert_eq!(
        end,
        Some(ended(
            4 * SECOND,
            10,
            "found-10",
            ran,
            ExitStatus::Signal(15)
        ))
    );
    all.containers.removed(OWNER, CGROUP, 5 * SECOND);
    assert_eq!(all.overdue(60 * SECOND), []);
}

#[test]
fn an_older_container_of_unknown_processes_ends_with_its_cgroup() {
    let mut all = Fixture::new(8);
    let older = |all: &mut Fixture| {
        all.containers.found(OWNER, CGROUP, SECOND);
        all.containers.found(OWNER, CGROUP + 1, SECOND);
        // A cgroup in it is not its own.
        all.containers.removed(OWNER, CGROUP + 1, 2 * SECOND);
        all.containers.removed(OWNER, CGROUP, 3 * SECOND);
    };
    older(&mut all);
    // Where nothing is told of processes, nothing is known of containers either.
    assert_eq!(all.overdue(60 * SECOND), []);

    all.exit(99, ExitStatus::Code(0), 0);
    older(&mut all);
    assert_eq!(all.overdue(3 * SECOND + PATIENCE_NS - 1), []);
    let expected = Ended {
        at: 3 * SECOND,
        status: None,
        process: None,
        executable: None,
        ran_ns: None,
        oom_kills: 0,
    };
    assert_eq!(all.overdue(3 * SECOND + PATIENCE_NS), [expected]);
}

#[test]
fn the_removal_of_a_cgroup_may_be_read_before_the_end_of_its_process() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    all.exec(10, "/app", Elsewhere, 60);
    all.containers.removed(OWNER, CGROUP, 100);
    // Records of its pod wait to be handled.
    let waits = all
        .containers
        .take_overdue((60 * SECOND, false), |owner| owner == OWNER);
    assert_eq!(waits, []);
    all.containers.oom_killed(OWNER, 85);
    let end = all.exit(10, ExitStatus::Code(0), 90).unwrap();
    assert_eq!((end.at, end.oom_kills), (90, 1));
    assert_eq!(all.overdue(61 * SECOND), []);
}

#[test]
fn where_the_main_process_was_missed_nothing_is_made_up() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    assert_eq!(all.exec(11, "/bin/ls", Executed, 60), None);
    assert_eq!(all.exec(12, "/bin/bash", Elsewhere, 70), None);
    assert_eq!(all.exit(12, ExitStatus::Code(1), 80), None);
    all.containers.removed(OWNER, CGROUP, 90);
    let [end] = &all.overdue(90 + PATIENCE_NS)[..] else {
        panic!("no end");
    };
    assert_eq!((end.at, end.status, end.process), (90, None, None));
}

#[test]
fn the_end_of_a_main_process_whose_record_is_lost_has_no_duration() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    all.exec(10, "/app", Elsewhere, 60);
    all.containers.removed(OWNER, CGROUP, 90);
    let [end] = &all.overdue(90 + PATIENCE_NS)[..] else {
        panic!("no end");
    };
    let known = (end.process, end.executable.as_deref());
    assert_eq!(known, (Some(id(10)), Some("app")));
    assert_eq!((end.status, end.ran_ns), (None, None));
}

#[test]
fn kills_for_memory_are_counted_also_after_the_end() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    all.exec(10, "/app", Elsewhere, 60);
    all.containers.oom_killed(OWNER, 70);
    let end = all.exit(10, ExitStatus::Signal(9), 80).unwrap();
    assert_eq!(end.oom_kills, 1);
    // All of the cgroup were killed (`memory.oom.group`).
    all.containers.oom_killed(OWNER, 71);
    all.containers.oom_killed(OwnerId(8), 71);
    assert_eq!(all.containers.oom_kills(OWNER, 80), 2);
    assert_eq!(all.containers.oom_kills(OwnerId(8), 80), 0);
}

#[test]
fn a_container_that_is_started_again_has_another_life() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    all.exec(10, "/app", Elsewhere, 60);
    // Under the same id, and read before the end of the first.
    all.containers.removed(OWNER, CGROUP, 100);
    all.containers.made(OWNER, CGROUP + 1, 110);
    all.containers.oom_killed(OWNER, 90);
    let first = all.exit(10, ExitStatus::Signal(9), 95).unwrap();
    assert_eq!((first.at, first.oom_kills), (95, 1));
    let second = all.exec(20, "/app", Elsewhere, 120).unwrap();
    assert_eq!((second.made_ns, second.process), (110, id(20)));
    assert_eq!(all.containers.oom_kills(OWNER, 130), 0);
    assert!(all.exit(20, ExitStatus::Code(0), 130).is_some());
    assert_eq!(all.overdue(60 * SECOND), []);
}

#[test]
fn process_ids_are_reused() {
    let mut all = Fixture::new(8);
    all.containers.made(OWNER, CGROUP, 50);
    all.exec(10, "/app", Elsewhere, 60);
    let other = ProcessId {
        pid: 10,
        start_ns: 1,
    };
    let status = ExitStatus::Code(0);
    assert_eq!(all.containers.exited((OWNER, 70), other, status), None);
    let elsewhere = (OwnerId(8), 70);
    assert_eq!(all.containers.exited(elsewhere, id(10), status), None);
    assert!(all.exit(10, status, 80).is_some());
}

#[test]
fn a_scan_may_be_ahead_of_records_or_tell_of_those_that_are_lost() {
    let mut all = Fixture::new(8);
    // Made while no agent read, and found before its record is.
    all.containers.found(OWNER, CGROUP, 200);
    all.found(10, Elsewhere);
    all.containers.made(OWNER, CGROUP, 50);
    let started = all.exec(10, "/app", Elsewhere, 60).unwrap();
    assert_eq!(started.made_ns, 50);
    let retain = |all: &mut Fixture, cgroups: &[u64], began: u64| {
        let found = cgroups.iter().copied().collect();
        all.containers.retain_scanned(&found, began, 500);
    };
    retain(&mut all, &[CGROUP], 300);
    // What came to be known after it began may have been made since.
    retain(&mut all, &[], 200);
    assert_eq!(all.overdue(500 + PATIENCE_NS), []);
    retain(&mut all, &[], 201);
    let ends = all.overdue(500 + PATIENCE_NS);
    assert_eq!(ends.iter().map(|end| end.at).collect::<Vec<_>>(), [500]);
}

#[test]
fn the_oldest_makes_room_and_is_counted() {
    let mut all = Fixture::new(2);
    for number in 0..3 {
        let owner = OwnerId(10 + number);
        all.containers
            .made(owner, u64::from(number), u64::from(number));
    }
    assert_eq!(all.counters.discards(Discard::IdentityTableFull), 1);
    let mut owners: Vec<_> = all.containers.owners().collect();
    owners.sort_unstable();
    assert_eq!(owners, [OwnerId(11), OwnerId(12)]);
    let exec = exec(10, "/app");
    let name = || "app".into();
    let forgotten = all
        .containers
        .executed((OwnerId(10), 5), &exec, || Elsewhere, name);
    assert_eq!(forgotten, None);
}

#[test]
fn who_finds_no_room_among_those_that_end_is_told_of_at_once() {
    let mut all = Fixture::new(1);
    all.exit(99, ExitStatus::Code(0), 0);
    let mut ends = Vec::new();
    for number in 0..3 {
        let (owner, at) = (OwnerId(10 + number), u64::from(number));
        all.containers.found(owner, at, at);
        ends.extend(all.containers.removed(owner, at, at));
    }
    let owners: Vec<_> = ends.iter().map(|(owner, _)| *owner).collect();
    assert_eq!(owners, [OwnerId(10), OwnerId(11)]);
    assert_eq!(all.containers.take_overdue((3, true), |_| true).len(), 1);
}
