//! `wellhead events`.

mod filters;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{self, Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    Agent, Program, Programs, Served, attribute, eventually, exchange, finish, kill, ready,
    refused, text, until, wellhead,
};

/// `wellhead events`, and what it printed so far.
struct Events {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Events {
    /// Starts it, and waits until it prints what happens.
    fn start(directory: &str, arguments: &[&str]) -> Self {
        let mut words = vec!["events", "--set", directory, "--set", "kubernetes.mode=off"];
        words.extend(arguments);
        let mut child = wellhead(&words)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let stdout = child.stdout.take().expect("a pipe");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("JSON");
                collected
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }
        });
        let events = Self { child, lines };
        let marker = Programs::new().link("/bin/true", "marker");
        until("the first event", || {
            marker.run(&[]);
            (!events.of(&marker).is_empty()).then_some(())
        });
        events
    }

    /// The events for which `wanted` holds.
    fn select(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .filter(|event| wanted(event))
            .cloned()
            .collect()
    }

    /// The events of a program.
    fn of(&self, program: &Program) -> Vec<Value> {
        self.select(|event| attribute(event, "process.executable.name") == program.name.as_str())
    }

    fn end(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("it is there");
        until("the end", || {
            self.child.try_wait().expect("a child of ours")
        })
        .code()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

#[test]
fn the_daemon_tells_what_happens() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    tells_what_happens(&agent.directory_setting());
    // Nobody is left behind in it.
    assert_eq!(agent.get("/healthz").status, 200);
}

#[test]
fn without_a_daemon_it_looks_itself() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("run");
    tells_what_happens(&format!("runtime_directory={}", directory.display()));
    assert!(!directory.exists(), "it leaves nothing behind");
}

fn tells_what_happens(directory: &str) {
    let events = Events::start(directory, &[]);
    let programs = Programs::new();
    let (ill, killed) = (
        programs.link("/bin/sh", "ill"),
        programs.link("/bin/sh", "killed"),
    );
    ill.run(&["-c", "exit 3"]);
    killed.run(&["-c", "kill -9 $$"]);
    let (served, closed_port) = (exchange(4, 100, 200), refused(2));
    let port = |port: &str| -> i64 { port.parse().expect("a port") };

    eventually("the events of processes", &(2, 2), || {
        (events.of(&ill).len(), events.of(&killed).len())
    });
    check_process(&events.of(&ill), &ill);
    let exit = &events.of(&killed)[1];
    assert_eq!(attribute(exit, "wellhead.process.signal"), "SIGKILL");
    assert!(attribute(exit, "process.exit.code").is_null());

    let connections = || {
        let of = |name: &str, end: &str| {
            let ours = |event: &Value| {
                text(event, "name") == name && attribute(event, end) == port(&served.port)
            };
            events.select(ours).len()
        };
        [
            of("wellhead.tcp.connect", "network.peer.port"),
            of("wellhead.tcp.accept", "network.local.port"),
            of("wellhead.tcp.close", "network.peer.port"),
            of("wellhead.tcp.close", "network.local.port"),
        ]
    };
    eventually("the events of connections", &[4; 4], connections);
    check_connections(&events, &served);
    let failed = || {
        events.select(|event| {
            text(event, "name") == "wellhead.tcp.connect_failed"
                && attribute(event, "network.peer.port") == port(&closed_port.port)
        })
    };
    eventually("the failures", &2, || failed().len());
    assert!(
        failed()
            .iter()
            .all(|event| attribute(event, "error.type") == "connection_refused")
    );
    assert_eq!(events.end(), Some(0));
}

/// Exec and exit of one process that ended with 3.
fn check_process(events: &[Value], program: &Program) {
    let [exec, exit] = events else {
        panic!("{events:?}")
    };
    for event in [exec, exit] {
        let keys: Vec<_> = event.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["time_unix_nano", "name", "resource", "attributes"]);
        assert!(event["time_unix_nano"].is_u64());
        assert_eq!(
            text(&event["resource"], "telemetry.distro.name"),
            "wellhead"
        );
        assert_eq!(attribute(event, "process.parent_pid"), process::id());
        // What the link leads to.
        let file = program.path.canonicalize().expect("a file");
        assert_eq!(
            attribute(event, "process.executable.path"),
            file.to_str().expect("UTF-8")
        );
        assert!(attribute(event, "process.user.id").is_u64());
    }
    assert_eq!(text(exec, "name"), "wellhead.process.exec");
    assert_eq!(text(exit, "name"), "wellhead.process.exit");
    assert_eq!(
        attribute(exec, "process.pid"),
        attribute(exit, "process.pid")
    );
    let arguments = json!([program.path.to_str(), "-c", "exit 3"]);
    assert_eq!(*attribute(exec, "process.command_args"), arguments);
    assert_eq!(attribute(exit, "process.exit.code"), 3);
    assert!(attribute(exit, "wellhead.duration").as_u64() > Some(0));
    assert!(exec["time_unix_nano"].as_u64() < exit["time_unix_nano"].as_u64());
}

fn check_connections(events: &Events, served: &Served) {
    let port: i64 = served.port.parse().expect("a port");
    let closed = |end: &str| {
        events.select(|event| {
            text(event, "name") == "wellhead.tcp.close" && attribute(event, end) == port
        })
    };
    for (end, sent, received) in [
        ("network.peer.port", 100, 200),
        ("network.local.port", 200, 100),
    ] {
        for event in closed(end) {
            assert_eq!(
                attribute(&event, "wellhead.tcp.bytes_sent"),
                sent,
                "{event}"
            );
            assert_eq!(
                attribute(&event, "wellhead.tcp.bytes_received"),
                received,
                "{event}"
            );
            assert_eq!(attribute(&event, "network.transport"), "tcp");
            assert_eq!(attribute(&event, "network.peer.address"), "127.0.0.1");
            assert_eq!(attribute(&event, "network.local.address"), "127.0.0.1");
        }
    }
    let own = closed("network.peer.port");
    assert!(
        own.iter()
            .all(|event| attribute(event, "process.pid") == process::id()),
        "{own:?}"
    );
}

#[test]
fn it_prints_what_was_asked_for() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let events = Events::start(
        &agent.directory_setting(),
        &["--kind", "exec", "--kind", "tcp.close"],
    );
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(3, &[]);
    let served = exchange(2, 1, 1);
    let port: i64 = served.port.parse().expect("a port");
    eventually("only what was asked for", &(3, 2), || {
        let closed = events.select(|event| attribute(event, "network.peer.port") == port);
        (events.of(&program).len(), closed.len())
    });
    let others = events.select(|event| {
        !["wellhead.process.exec", "wellhead.tcp.close"].contains(&text(event, "name"))
    });
    assert_eq!(others, Vec::<Value>::new());
}

#[test]
fn it_ends_when_it_should() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let home = tempfile::tempdir().expect("a directory");
    let nowhere = format!("runtime_directory={}", home.path().join("run").display());
    let program = Programs::new().link("/bin/true", "true");
    for directory in [agent.directory_setting(), nowhere] {
        let words = [
            "events",
            "--set",
            &directory,
            "--set",
            "kubernetes.mode=off",
        ];
        let with = |more: &[&str]| wellhead(&[&words[..], more].concat());
        // By count, however much happens.
        let mut counted = with(&["--count", "5"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let status = until("five events", || {
            program.run(&[]);
            counted.try_wait().expect("a child of ours")
        });
        let mut lines = String::new();
        counted
            .stdout
            .take()
            .expect("a pipe")
            .read_to_string(&mut lines)
            .expect("read");
        assert_eq!(
            (status.code(), lines.lines().count()),
            (Some(0), 5),
            "{lines}"
        );
        // By time, however little happens.
        finish(&mut with(&["--duration", "300ms"])).check(0, &[]);
        // When nobody reads.
        let mut unread = with(&[]).stdout(Stdio::piped()).spawn().expect("starts");
        drop(unread.stdout.take());
        let status = until("its end", || {
            program.run(&[]);
            unread.try_wait().expect("a child of ours")
        });
        assert_eq!(status.code(), Some(0));
        finish(&mut with(&["--kind", "exek"]))
            .check(64, &["exek", "process.exec", "tcp.connect_failed"]);
        finish(&mut with(&["--pod", "web"])).check(64, &["web", "NAMESPACE/NAME"]);
        finish(&mut with(&["--namespace", "Shop"])).check(64, &["`Shop` has `S` in it", "allowed"]);
        finish(&mut with(&["--executable", ""])).check(64, &["--executable"]);
        finish(&mut with(&["--exit", "256"])).check(64, &["256", "from 0 to 255", "SIGKILL"]);
        finish(&mut with(&["--exit", "1", "--kind", "exec"])).check(64, &["process.exit"]);
        finish(&mut with(&["--output", "xml"])).check(64, &["json", "columns"]);
        finish(&mut with(&["--duration", "5"])).check(64, &["--duration", "no unit"]);
    }
    // With the daemon.
    let mut orphan = Events::start(&agent.directory_setting(), &[]);
    agent.stop(Signal::TERM, std::time::Duration::from_secs(5));
    let status = until("its end", || {
        orphan.child.try_wait().expect("a child of ours")
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn secrets_stay_secret() {
    if !ready(&[]) {
        return;
    }
    let check = |args: Option<&str>, expected: Option<[&str; 4]>| {
        let agent = match args {
            Some(args) => Agent::builder().set("process.args", args).start(),
            None => Agent::start(),
        };
        let events = Events::start(&agent.directory_setting(), &["--kind", "exec"]);
        let program = Programs::new().link("/bin/true", "true");
        program.run(&["--password", "hunter2", "--token=abc", "plain"]);
        let exec = until("the exec", || events.of(&program).pop());
        let path = program.path.to_str().expect("UTF-8");
        let expected = expected.map(|rest| [&[path], &rest[..]].concat());
        assert_eq!(
            *attribute(&exec, "process.command_args"),
            json!(expected),
            "{args:?}"
        );
    };
    check(
        None,
        Some(["--password", "[redacted]", "--token=[redacted]", "plain"]),
    );
    check(
        Some("full"),
        Some(["--password", "hunter2", "--token=abc", "plain"]),
    );
    check(Some("off"), None);
}

#[test]
fn a_reader_that_stops_harms_nobody() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let mut stuck = UnixStream::connect(agent.socket()).expect("the daemon's socket");
    stuck
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: wellhead\r\n\r\n")
        .expect("sent");
    let discarded = || {
        let labels = [
            ("wellhead_stage", "queue"),
            ("wellhead_reason", "subscriber_slow"),
        ];
        agent
            .metrics()
            .sum("wellhead_agent_discards_total", &labels)
    };
    // Its queue and every buffer on the way hold some thousands.
    until("events discarded for it", || {
        exchange(200, 1, 1);
        (discarded() > 0).then_some(())
    });
    let served = exchange(100, 10, 10);
    let port = [
        ("destination_port", &*served.port),
        ("wellhead_reporter", "source"),
    ];
    eventually("everything counted", &100, || {
        agent
            .metrics()
            .sum("wellhead_tcp_connections_closed_total", &port)
    });
    let events = Events::start(&agent.directory_setting(), &["--kind", "exec"]);
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(10, &[]);
    eventually("another reader gets everything", &10, || {
        events.of(&program).len()
    });
    // What it was sent before is still there to read.
    let mut first = [0; 15];
    stuck.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
}
