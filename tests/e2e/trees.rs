//! Trees of spans: what is exported of them, what is in them, and that a new agent goes on with them.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Agent, Container, Need, Pins, Program, Programs, Receiver, Served, attribute, ready, refused,
    text, until,
};

const SOON: Duration = Duration::from_secs(20);

fn path(program: &Program) -> &str {
    program.path.to_str().expect("UTF-8")
}

/// The spans of a program's processes.
fn of<'a>(spans: &'a [Value], program: &Program) -> Vec<&'a Value> {
    let ours = spans
        .iter()
        .filter(|span| text(span, "name") == program.name);
    ours.collect()
}

/// Its only span, once there is one.
fn await_span(receiver: &Receiver, program: &Program) -> Value {
    await_span_called(receiver, &program.name)
}

/// That of a process which the agent found: it has the kernel's name for it, of at most 15 bytes.
fn await_span_of_elder(receiver: &Receiver, program: &Program) -> Value {
    await_span_called(receiver, &program.name[..program.name.len().min(15)])
}

fn await_span_called(receiver: &Receiver, name: &str) -> Value {
    until(&format!("the span of {name}"), || {
        let mut spans = receiver.spans().into_iter();
        spans.find(|span| text(span, "name") == name)
    })
}

fn is_below(child: &Value, parent: &Value) {
    assert_eq!(text(child, "trace_id"), text(parent, "trace_id"));
    assert_eq!(
        text(child, "parent_span_id"),
        text(parent, "span_id"),
        "{child:#?}"
    );
}

/// The names of a span's events, in their order.
fn events(span: &Value) -> Vec<&str> {
    let events = span["events"].as_array().expect("events");
    events.iter().map(|event| text(event, "name")).collect()
}

fn event<'a>(span: &'a Value, name: &str) -> &'a Value {
    let mut events = span["events"].as_array().expect("events").iter();
    let found = events.find(|event| text(event, "name") == name);
    found.unwrap_or_else(|| panic!("no {name} in {span:#?}"))
}

#[test]
fn of_what_is_sampled_out_a_failure_keeps_the_chain_above_it() {
    if !ready(&[Need::Python, Need::Cgroups]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_spans_to(&receiver, "http/protobuf")
        .set("traces.sampling.process", "0")
        .set("traces.sampling.slow_process", "1h")
        .start();
    let programs = Programs::new();
    let [root, middle, ill, again] =
        ["root", "middle", "ill", "again"].map(|tag| programs.link("/bin/sh", tag));
    let well = programs.link("/bin/true", "well");
    let container = Container::new();
    let script = r#""$0" -c '"$0"; "$1" -c "exit 3"; exit 0' "$1" "$2"; "$1"; exit 0"#;
    let arguments = ["-c", script, path(&middle), path(&well), path(&ill)];
    let status = container.command(&root.path).args(arguments).status();
    assert!(status.expect("it runs").success());
    // As `docker exec` does.
    let status = container
        .command(&again.path)
        .args(["-c", "exit 4"])
        .status();
    assert_eq!(status.expect("it runs").code(), Some(4));
    await_span(&receiver, &again);
    let stopped = agent.stop(Signal::TERM, SOON);
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);

    let spans = receiver.spans();
    let only = |program: &Program| {
        let found = of(&spans, program);
        assert_eq!(found.len(), 1, "{}: {found:#?}", program.name);
        found[0]
    };
    let [root, middle, ill, again] = [&root, &middle, &ill, &again].map(only);
    assert!(of(&spans, &well).is_empty());
    is_below(ill, middle);
    is_below(middle, root);
    for root in [root, again] {
        assert_eq!(text(root, "parent_span_id"), "");
        assert_eq!(root["resource"]["container.id"], *container.id);
    }
    for span in [root, middle, ill, again] {
        assert_eq!(text(span, "trace_state"), "ot=th:0");
    }
    let kind = |span| attribute(span, "wellhead.session.kind").clone();
    assert_eq!(
        [root, again, middle].map(kind),
        ["container".into(), "exec".into(), Value::Null]
    );
    check_start(&spans, root, &container);
}

/// The container began with its cgroup, and ended with its first process.
fn check_start(spans: &[Value], root: &Value, container: &Container) {
    let ours = |name: &str| -> Value {
        let mut named = spans.iter().filter(|span| text(span, "name") == name);
        let ours = named.find(|span| span["resource"]["container.id"] == *container.id);
        ours.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let (whole, phase) = (ours("container start-up"), ours("cgroup to first exec"));
    is_below(&phase, &whole);
    assert_eq!(text(&whole, "parent_span_id"), "");
    assert_eq!(attribute(&whole, "wellhead.startup.outcome"), "ended");
    let time = |span: &Value, key: &str| span[key].as_u64().expect("a time");
    let (start, end) = ("start_time_unix_nano", "end_time_unix_nano");
    assert_eq!(time(&phase, start), time(&whole, start));
    // The clock is read anew now and then.
    assert!(time(&phase, end).abs_diff(time(root, start)) < 2_000_000);
    assert!(time(&whole, end).abs_diff(time(root, end)) < 2_000_000);
}

#[test]
fn a_new_agent_goes_on_with_a_tree() {
    if !ready(&[Need::Python, Need::Cgroups, Need::Program("mkfifo")]) {
        return;
    }
    let (receiver, pins) = (Receiver::start(), Pins::new());
    let agent = || {
        Agent::builder()
            .pins(&pins)
            .export_spans_to(&receiver, "http/protobuf")
            .start()
    };
    let (first, programs) = (agent(), Programs::new());
    let [root, middle] = ["root", "mid"].map(|tag| programs.link("/bin/sh", tag));
    let [before, after] = ["before", "after"].map(|tag| programs.link("/bin/true", tag));
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    // What runs the last program only forked.
    let script =
        r#""$0" -c '"$0"; (read line < "$2"; "$1"; exit 0); exit 0' "$1" "$2" "$3"; exit 0"#;
    let container = Container::new();
    let mut tree = container
        .command(&root.path)
        .args(["-c", script, path(&middle), path(&before), path(&after)])
        .arg(&pipe)
        .spawn()
        .expect("a tree");
    let before = await_span(&receiver, &before);
    // Opens once somebody reads, which is the last that the tree does before the agents change.
    let mut writer = fs::OpenOptions::new()
        .write(true)
        .open(&pipe)
        .expect("a pipe");
    first.stop(Signal::KILL, SOON);
    let second = agent();
    all_are_found(&second);
    writer.write_all(b"go\n").expect("a reader");
    assert!(tree.wait().expect("an end").success());
    let after = await_span(&receiver, &after);
    let [middle, root] = [&middle, &root].map(|one| await_span_of_elder(&receiver, one));
    is_below(&after, &middle);
    is_below(&middle, &root);
    is_below(&before, &middle);
    assert_eq!(text(&root, "parent_span_id"), "");
    assert_eq!(attribute(&root, "wellhead.session.kind"), "container");
}

/// Waits until all processes are found: the rings are read while they are told.
fn all_are_found(agent: &Agent) {
    let mut found = 0;
    until("the processes to be found", || {
        let kind = [("wellhead_record_kind", "task")];
        let told = agent.metrics().sum("wellhead_agent_records_total", &kind);
        let before = std::mem::replace(&mut found, told);
        thread::sleep(Duration::from_millis(100));
        (told > 0 && told == before).then_some(())
    });
}

#[test]
fn a_span_tells_of_connections_and_signals() {
    if !ready(&[Need::Python, Need::Cgroups]) {
        return;
    }
    let receiver = Receiver::start();
    let _agent = Agent::builder().export_spans_to(&receiver, "grpc").start();
    let programs = Programs::new();
    let python = programs.link("/usr/bin/python3", "python");
    let (served, closed) = (Served::new(), refused(0));
    let script = "
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: None)
listener = socket.create_server(('127.0.0.1', 0))
first = socket.create_connection(listener.getsockname())
listener.accept()
try:
    socket.create_connection(('127.0.0.1', int(sys.argv[1])))
except ConnectionRefusedError:
    pass
os.kill(os.getpid(), signal.SIGTERM)
print(listener.getsockname()[1])
";
    let container = Container::new();
    let output = container
        .command(&python.path)
        .args(["-c", script, &closed.port])
        .output()
        .expect("python");
    drop(served);
    let port = String::from_utf8(output.stdout).expect("a port");
    let port: u64 = port.trim().parse().expect("a port");

    let span = await_span(&receiver, &python);
    let mut told = events(&span);
    // Both ends of a connection on loopback are established at about the same time.
    told[1..3].sort_unstable();
    assert_eq!(
        told,
        [
            "tcp.listen",
            "tcp.accept",
            "tcp.connect",
            "tcp.connect_failed",
            "signal"
        ]
    );
    let about = |name, key| attribute(event(&span, name), key).clone();
    assert_eq!(about("tcp.listen", "network.local.address"), "127.0.0.1");
    assert_eq!(about("tcp.listen", "network.local.port"), port);
    assert_eq!(about("tcp.accept", "network.local.port"), port);
    assert_eq!(about("tcp.connect", "network.peer.port"), port);
    let error = about("tcp.connect_failed", "error.type");
    assert_eq!(error, "connection_refused");
    assert_eq!(about("signal", "wellhead.process.signal"), "SIGTERM");
    let sender = about("signal", "wellhead.process.signal.sender.pid");
    assert_eq!(sender, *attribute(&span, "process.pid"));
    let time = |value: &Value, key: &str| value[key].as_u64().expect("a time");
    for event in span["events"].as_array().expect("events") {
        let at = time(event, "time_unix_nano");
        let lived = time(&span, "start_time_unix_nano")..=time(&span, "end_time_unix_nano");
        assert!(lived.contains(&at), "{event}");
    }
}
