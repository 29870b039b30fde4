//! What waits for its export on disk.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Agent, Mount, Need, Program, Programs, Receiver, attribute, eventually, ready, until,
};

/// Far more than memory has room for: an execution with these arguments makes a record of half a kilobyte.
const EXECUTIONS: u64 = 600;
const ARGUMENTS: [&str; 1] = [
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

fn start(receiver: &Receiver, directory: &Path) -> Agent {
    Agent::builder()
        .export_to(receiver, "http/protobuf")
        .set("events.export", "on")
        .set("events.rate_limit", "off")
        .set("events.kinds", "[process.exec]")
        .set("otlp.logs.queue_size", "64KiB")
        .set("otlp.spill.directory", directory.display())
        .start()
}

fn discards(agent: &Agent, reason: &str) -> u64 {
    let labels = [("wellhead_reason", reason)];
    agent
        .metrics()
        .sum("wellhead_agent_discards_total", &labels)
}

/// A receiver that is away, an agent that exports to it, and a directory where that leaves what memory has no room for.
struct Outage {
    receiver: Receiver,
    directory: TempDir,
    program: Program,
}

impl Outage {
    fn begin() -> (Self, Agent) {
        let (outage, agent) = Self::still_empty();
        outage.fill();
        (outage, agent)
    }

    fn still_empty() -> (Self, Agent) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut receiver = Receiver::start();
        let agent = start(&receiver, directory.path());
        let program = Programs::new().link("/bin/true", "true");
        receiver.kill();
        let outage = Self {
            receiver,
            directory,
            program,
        };
        (outage, agent)
    }

    /// Executes the program that often, beside others' on this machine, and waits until enough of it is on disk.
    fn fill(&self) {
        self.program.run_times(EXECUTIONS, &ARGUMENTS);
        let bytes = || -> u64 {
            let lengths = self.files().into_iter();
            lengths
                .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
                .sum()
        };
        until("records on disk", || (bytes() > 100_000).then_some(()));
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.directory.path().join("logs")).expect("made at the start");
        files.filter_map(|file| Some(file.ok()?.path())).collect()
    }

    fn until_disk_is_empty(&self) {
        until("an empty disk", || self.files().is_empty().then_some(()));
    }

    /// How many executions of the program the receiver was told of.
    fn told(&self) -> u64 {
        self.told_of(&self.program)
    }

    fn told_of(&self, program: &Program) -> u64 {
        let records = self.receiver.log_records();
        let name = program.name.as_str();
        let ours = records
            .iter()
            .filter(|record| attribute(record, "process.executable.name") == name);
        ours.count() as u64
    }
}

#[test]
fn an_outage_loses_nothing_that_the_disk_has_room_for() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (mut outage, agent) = Outage::begin();
    outage.receiver.start_again();
    eventually("each of them once", &EXECUTIONS, || outage.told());
    assert_eq!(discards(&agent, "logs_full"), 0);
    outage.until_disk_is_empty();
}

#[test]
fn an_agent_that_stops_leaves_the_rest_to_the_next() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (mut outage, agent) = Outage::begin();
    let stopped = agent.stop(Signal::TERM, Duration::from_secs(20));
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    outage.receiver.start_again();
    let agent = start(&outage.receiver, outage.directory.path());
    eventually("each of them once", &EXECUTIONS, || outage.told());
    let log = agent.log();
    assert!(log.contains("an earlier agent left"), "{log}");
    assert_eq!(discards(&agent, "spill_torn"), 0);
}

#[test]
fn what_a_killed_agent_had_on_disk_is_sent_and_a_torn_end_is_counted() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (mut outage, agent) = Outage::begin();
    // Killed.
    drop(agent);
    let newest = outage.files().into_iter().max().expect("a segment");
    let newest = OpenOptions::new().append(true).open(newest);
    newest
        .and_then(|mut file| file.write_all(b"half a rec"))
        .expect("written");
    outage.receiver.start_again();
    let agent = start(&outage.receiver, outage.directory.path());
    outage.until_disk_is_empty();
    assert_eq!(discards(&agent, "spill_torn"), 1);
    // What was in memory is gone with the agent: 64 KiB, and what had just been handed over.
    let told = outage.told();
    assert!((EXECUTIONS / 4..=EXECUTIONS).contains(&told), "{told}");
}

/// More than a small disk has room for.
const MANY: u64 = 5 * EXECUTIONS;

/// Less than `otlp.spill.size` is free, but more than any one request needs, which on a busy machine are of half a thousand
/// executions.
#[test]
fn where_the_disk_is_full_the_oldest_make_room() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (mut outage, agent) = Outage::still_empty();
    let room = Mount::sized(1024, &outage.directory.path().join("logs"));
    let programs = Programs::new();
    let old = programs.link("/bin/true", "old");
    let new = programs.link("/bin/true", "new");
    for program in [&old, &new] {
        program.run_times(MANY, &ARGUMENTS);
    }
    let dropped = || discards(&agent, "logs_full");
    until("those without room to be counted", || {
        (dropped() > MANY / 2).then_some(())
    });
    outage.receiver.start_again();
    outage.until_disk_is_empty();
    eventually("all but the dropped", &true, || {
        outage.told_of(&old) + outage.told_of(&new) + dropped() >= 2 * MANY
    });
    let [old, new] = [&old, &new].map(|program| outage.told_of(program));
    assert!(old < new, "{old} and {new}");
    let log = agent.log();
    assert!(!log.contains("cannot be kept on disk"), "{log}");
    drop(agent);
    drop(room);
}

/// Not even one request has room: it is dropped and counted, and what comes once the receiver is back is sent.
#[test]
fn where_nothing_has_room_nothing_is_waited_for() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (mut outage, agent) = Outage::still_empty();
    let room = Mount::sized(4, &outage.directory.path().join("logs"));
    outage.program.run_times(EXECUTIONS, &ARGUMENTS);
    until("those without room to be counted", || {
        (discards(&agent, "logs_full") > EXECUTIONS / 2).then_some(())
    });
    outage.receiver.start_again();
    let after = Programs::new().link("/bin/true", "after");
    // Of what comes before the receiver is asked again some may make room as well.
    until("what came after", || {
        after.run(&[]);
        (outage.told_of(&after) > 0).then_some(())
    });
    drop(agent);
    drop(room);
}

/// How long the receiver is away in the long test.
const AWAY: Duration = Duration::from_mins(5);

#[test]
#[ignore = "takes minutes: cargo xtask test soak"]
fn five_minutes_without_a_receiver_lose_nothing() {
    if !ready(&[Need::Python]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .set("events.export", "on")
        .set("events.rate_limit", "off")
        .set("events.kinds", "[process.exec]")
        .set("traces.process", "on")
        .set("otlp.spill.directory", directory.path().display())
        .start();
    let program = Programs::new().link("/bin/true", "long");
    receiver.kill();
    let begun = Instant::now();
    let mut executed = 0;
    while begun.elapsed() < AWAY {
        program.run_times(100, &ARGUMENTS);
        executed += 100;
        thread::sleep(Duration::from_millis(300));
    }
    receiver.start_again();
    let name = program.name.as_str();
    let of_program = |items: &[Value]| {
        let ours = |item: &&Value| attribute(item, "process.executable.name") == name;
        items.iter().filter(ours).count() as u64
    };
    let arrived = || {
        [
            of_program(&receiver.log_records()),
            of_program(&receiver.spans()),
        ]
    };
    let patience = Instant::now();
    while arrived() != [executed; 2] && patience.elapsed() < AWAY {
        thread::sleep(Duration::from_secs(2));
    }
    eprintln!(
        "{executed} executions in {AWAY:?}; caught up after {:?}",
        patience.elapsed()
    );
    assert_eq!(arrived(), [executed; 2], "log records and spans");
    let counted = [("process_executable_name", name)];
    let page = agent.metrics();
    assert_eq!(page.sum("wellhead_process_execs_total", &counted), executed);
    for reason in ["logs_full", "spans_full", "spill_torn"] {
        assert_eq!(discards(&agent, reason), 0, "{reason}");
    }
}
