//! From one agent to the next: what happens meanwhile is counted by one of them, and by one only.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Agent, AgentBuilder, Connected, Need, OtlpPoint, Page, Pins, Program, Programs, Receiver,
    Served, attribute, eventually, finish, ready, text, until, wellhead,
};

const SOON: Duration = Duration::from_secs(10);

/// Where one agent after the other runs.
struct Node {
    pins: Pins,
    home: TempDir,
}

impl Node {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let pins = Pins::new();
        Self { pins, home }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// An agent that looks at open connections every second.
    fn agent(&self) -> AgentBuilder {
        Agent::builder()
            .pins(&self.pins)
            .directory(&self.directory())
            .set("snapshot_interval", "1s")
    }
}

/// Work under a name and a port of its own, and how it is to be counted.
struct Work {
    program: Program,
    served: Served,
    done: Totals,
}

/// What was done, or counted: executions, exits, and of connections at both ends opened, closed, bytes one way and back.
type Totals = BTreeMap<String, u64>;

impl Work {
    fn new() -> Self {
        Self {
            // With the numbers in front no more than the 15 characters that the kernel keeps of a name.
            program: Programs::new().link("/bin/true", "t"),
            served: Served::new(),
            done: Totals::new(),
        }
    }

    /// Runs the program and makes a connection, this often.
    fn work(&mut self, times: u64) {
        self.program.run_times(times, &[]);
        self.served.exchange(times, 100, 200);
        for metric in ["execs", "exits"] {
            self.add(metric, times);
        }
        for end in ENDS {
            self.add(&format!("{end} opened"), times);
            self.add(&format!("{end} closed"), times);
        }
        self.carried(times * 100, times * 200);
    }

    /// Connections carried this much.
    fn carried(&mut self, up: u64, down: u64) {
        for (end, sent, received) in [("source", up, down), ("destination", down, up)] {
            self.add(&format!("{end} transmit"), sent);
            self.add(&format!("{end} receive"), received);
        }
    }

    fn add(&mut self, what: &str, amount: u64) {
        *self.done.entry(what.to_owned()).or_default() += amount;
    }

    fn counted_in(&self, page: &Page) -> Totals {
        let name = [("process_executable_name", &*self.program.name)];
        let mut totals = Totals::new();
        let mut add = |what: String, amount| {
            if amount > 0 {
                totals.insert(what, amount);
            }
        };
        for what in ["execs", "exits"] {
            let metric = format!("wellhead_process_{what}_total");
            add(what.to_owned(), page.sum(&metric, &name));
        }
        for end in ENDS {
            let flow = [
                ("destination_port", &*self.served.port),
                ("wellhead_reporter", end),
            ];
            for what in ["opened", "closed"] {
                let metric = format!("wellhead_tcp_connections_{what}_total");
                add(format!("{end} {what}"), page.sum(&metric, &flow));
            }
            for direction in ["transmit", "receive"] {
                let labels = [flow[0], flow[1], ("network_io_direction", direction)];
                let bytes = page.sum("wellhead_tcp_io_bytes_total", &labels);
                add(format!("{end} {direction}"), bytes);
            }
        }
        totals
    }

    /// The same of what an OTLP receiver got.
    fn counted_among(&self, points: &[OtlpPoint]) -> Totals {
        let port: u64 = self.served.port.parse().expect("a number");
        let mut totals = Totals::new();
        for point in points {
            let flow = text_of(point, "wellhead.reporter");
            let ours = *attribute(point, "process.executable.name") == *self.program.name
                || *attribute(point, "destination.port") == port;
            let what = match text(point, "name") {
                "wellhead.process.execs" => "execs".to_owned(),
                "wellhead.process.exits" => "exits".to_owned(),
                "wellhead.tcp.connections.opened" => format!("{flow} opened"),
                "wellhead.tcp.connections.closed" => format!("{flow} closed"),
                "wellhead.tcp.io" => {
                    format!("{flow} {}", text_of(point, "network.io.direction"))
                }
                _ => continue,
            };
            if ours {
                *totals.entry(what).or_default() += point["value"].as_u64().expect("a count");
            }
        }
        totals
    }

    fn active_in(&self, page: &Page) -> [i64; 2] {
        ENDS.map(|end| {
            let flow = [
                ("destination_port", &*self.served.port),
                ("wellhead_reporter", end),
            ];
            let samples = page.select("wellhead_tcp_connections_active", &flow);
            samples
                .map(|sample| sample.value.parse::<i64>().expect("a number"))
                .sum()
        })
    }
}

const ENDS: [&str; 2] = ["source", "destination"];

fn text_of<'a>(point: &'a Value, key: &str) -> &'a str {
    attribute(point, key).as_str().unwrap_or_default()
}

fn sum(first: &Totals, second: &Totals) -> Totals {
    let mut sum = first.clone();
    for (what, amount) in second {
        *sum.entry(what.clone()).or_default() += amount;
    }
    sum
}

/// Waits for more snapshots of open connections, of which there is one at least meanwhile.
fn further_snapshots(agent: &Agent) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let _open = (
        TcpStream::connect(address).expect("it listens"),
        listener.accept(),
    );
    let snapshots = || {
        let kind = [("wellhead_record_kind", "tcp_snapshot")];
        agent.metrics().sum("wellhead_agent_records_total", &kind)
    };
    for _ in 0..3 {
        let before = snapshots();
        until("a snapshot", || (snapshots() > before).then_some(()));
    }
}

#[test]
fn what_happens_between_two_agents_is_counted_once_after_sigterm() {
    between_two_agents(Signal::TERM);
}

#[test]
fn what_happens_between_two_agents_is_counted_once_after_kill_9() {
    between_two_agents(Signal::KILL);
}

fn between_two_agents(signal: Signal) {
    if !ready(&[]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let first = node.agent().start();
    work.work(30);
    // The last packets of what was closed may take a moment.
    let counted = || work.counted_in(&first.metrics());
    eventually("all by the first", &work.done, counted);
    let by_first = work.done.clone();
    first.stop(signal, SOON);
    for _ in 0..3 {
        work.work(100);
        thread::sleep(Duration::from_secs(1));
    }
    let second = node.agent().start();
    let counted = || sum(&by_first, &work.counted_in(&second.metrics()));
    eventually("all by both", &work.done, counted);
    further_snapshots(&second);
    assert_eq!(counted(), work.done, "also later");
    work.work(30);
    let counted = || sum(&by_first, &work.counted_in(&second.metrics()));
    eventually("all that came after", &work.done, counted);
}

#[test]
fn a_stop_amid_the_work_loses_nothing_that_is_exported() {
    if !ready(&[Need::Python]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let receivers: Vec<Receiver> = (0..6).map(|_| Receiver::start()).collect();
    let export_to = |receiver| {
        let builder = node.agent().export_to(receiver, "grpc");
        // Only once, at its end.
        builder.set("otlp.interval", "60s").start()
    };
    let first = export_to(&receivers[0]);
    let enough = AtomicBool::new(false);
    // The work goes on while an agent stops, while none runs, and while the next one starts.
    let work = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                work.work(1);
            }
            work
        });
        let mut agent = first;
        for next in receivers[1..].iter().map(Some).chain([None]) {
            thread::sleep(Duration::from_millis(300));
            let stopped = agent.stop(Signal::TERM, SOON);
            assert_eq!(stopped.code, Some(0), "{}", stopped.log);
            let Some(receiver) = next else { break };
            thread::sleep(Duration::from_millis(200));
            agent = export_to(receiver);
        }
        enough.store(true, Ordering::Relaxed);
        worker.join().expect("worked")
    });
    let last = node.agent().start();
    let mut counted = work.counted_in(&last.metrics());
    for receiver in &receivers {
        let by_one = work.counted_among(&receiver.last_points());
        assert!(by_one.contains_key("execs"), "{by_one:?}");
        counted = sum(&counted, &by_one);
    }
    assert_eq!(counted, work.done);
}

#[test]
fn open_connections_outlive_agents() {
    if !ready(&[]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let each = |connections: &mut [Connected], work: &mut Work| {
        for connection in connections {
            connection.exchange(1_000, 3_000);
            work.carried(1_000, 3_000);
        }
    };
    let opened = |work: &mut Work| {
        for end in ENDS {
            work.add(&format!("{end} opened"), 1);
        }
        work.served.connect()
    };
    let mut older = work.served.connect();
    older.exchange(77, 55);
    let mut connections = vec![older];

    let first = node.agent().start();
    eventually("met", &[1, 1], || work.active_in(&first.metrics()));
    connections.push(opened(&mut work));
    each(&mut connections, &mut work);
    eventually("what the first agent counts", &work.done, || {
        work.counted_in(&first.metrics())
    });
    let by_first = first.metrics();
    assert_eq!(work.active_in(&by_first), [2, 2]);
    let by_first = work.counted_in(&by_first);
    first.stop(Signal::KILL, SOON);

    connections.push(opened(&mut work));
    each(&mut connections, &mut work);
    let second = node.agent().start();
    let counted = |work: &Work| {
        let page = second.metrics();
        let totals = sum(&by_first, &work.counted_in(&page));
        (totals, work.active_in(&page))
    };
    let all_open = |work: &Work| (work.done.clone(), [3, 3]);
    eventually("bytes of both agents", &all_open(&work), || counted(&work));
    each(&mut connections, &mut work);
    eventually("bytes grow", &all_open(&work), || counted(&work));
    for connection in connections {
        connection.close();
    }
    for end in ENDS {
        work.add(&format!("{end} closed"), 3);
    }
    assert_eq!(counted(&work), (work.done.clone(), [0, 0]));
}

#[test]
fn others_leave_what_is_kept_alone() {
    if !ready(&[]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let [keep, pins] = node.pins.settings();
    let runtime = format!("runtime_directory={}", node.directory().display());
    let ask = || {
        let common = ["kubernetes.mode=off", &keep, &pins, &runtime];
        let settings: Vec<&str> = common.iter().flat_map(|set| ["--set", set]).collect();
        finish(&mut wellhead(&[&["doctor"][..], &settings].concat())).check(0, &[]);
        let events = ["events", "--duration", "700ms"];
        let mut events = wellhead(&[&events[..], &settings].concat());
        finish(&mut events).check(0, &[]);
    };
    let first = node.agent().start();
    work.work(10);
    ask();
    work.work(10);
    let by_first = work.counted_in(&first.metrics());
    assert_eq!(by_first, work.done);
    first.stop(Signal::KILL, SOON);
    work.work(10);
    // With no agent there, these attach programs of their own.
    ask();
    work.work(10);
    let second = node.agent().start();
    let counted = sum(&by_first, &work.counted_in(&second.metrics()));
    assert_eq!(counted, work.done);
}

#[test]
fn another_configuration_loses_nothing() {
    if !ready(&[]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let mut before = Totals::new();
    let mut last_generation = 0;
    let configurations: [&[(&str, &str)]; 5] = [
        &[],
        &[
            ("rings.network_size", "64KiB"),
            ("rings.process_size", "64KiB"),
        ],
        &[("memory_budget", "256MiB")],
        &[("memory_budget", "256MiB"), ("traces.process", "on")],
        &[],
    ];
    let mut open = work.served.connect();
    for (step, settings) in configurations.into_iter().enumerate() {
        let mut builder = node.agent();
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        let agent = builder.start();
        if step == 0 {
            eventually("met", &[1, 1], || work.active_in(&agent.metrics()));
        }
        work.work(20);
        open.exchange(10, 20);
        work.carried(10, 20);
        eventually("all is counted", &work.done, || {
            sum(&before, &work.counted_in(&agent.metrics()))
        });
        let page = agent.metrics();
        assert_eq!(work.active_in(&page), [1, 1]);
        before = sum(&before, &work.counted_in(&page));
        // One generation is there, and only what changes the programs makes a new one.
        let generation = node.pins.generation();
        let is_new = generation > last_generation;
        assert_eq!(is_new, step != 3, "{generation} after {last_generation}");
        last_generation = generation;
        agent.stop(Signal::TERM, SOON);
        work.work(20);
    }
}

#[test]
fn a_feature_is_switched_off_and_on_again() {
    if !ready(&[]) {
        return;
    }
    let (node, mut work) = (Node::new(), Work::new());
    let execs = |agent: &Agent, work: &Work| {
        let counted = work.counted_in(&agent.metrics());
        (
            counted.get("execs").copied(),
            counted.get("source opened").copied(),
        )
    };
    let first = node.agent().start();
    work.work(10);
    assert_eq!(execs(&first, &work), (Some(10), Some(10)));
    first.stop(Signal::TERM, SOON);
    work.work(10);
    let second = node.agent().set("features.tcp", "off").start();
    assert_eq!(execs(&second, &work).0, Some(10));
    second.stop(Signal::TERM, SOON);
    work.work(10);
    let third = node.agent().start();
    assert_eq!(execs(&third, &work), (Some(10), None));
    work.work(10);
    assert_eq!(execs(&third, &work), (Some(20), Some(10)));
}
