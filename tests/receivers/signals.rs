//! Spans and events, through collectors that take OTLP apart and put it together again: each once, and as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::programs::{Collecting, Onward, collector, ready, rotel};
use crate::support::{
    Agent, Program, Programs, Receiver, attribute, eventually, refused, text, until,
};

const WELL: u64 = 20;
const ILL: u64 = 3;
const REFUSED: u64 = 4;
/// Every process of the machine makes spans and events. Room for those of a busy one beside ours.
const ROOM: &str = "64MiB";
const KINDS: &str = "[process.exec, process.exit, tcp.connect_failed]";

/// What agents measure, each for itself.
const MEASURED: [&str; 1] = ["wellhead.duration"];

/// How many there are of what looks alike.
type Counts = BTreeMap<String, u64>;

/// An agent whose spans and events end in a receiver that keeps them.
struct Road {
    name: &'static str,
    agent: Agent,
    through: Collecting,
    receiver: Receiver,
}

#[test]
fn arrive_once_and_unchanged() {
    if !ready() {
        return;
    }
    let roads: Vec<Road> = [Some(Road::through_rotel()), Road::through_the_collector()]
        .into_iter()
        .flatten()
        .collect();
    let made = Made::now();
    for road in &roads {
        eventually(road.name, &made.outcomes(), || {
            made.told(&road.receiver, outcome)
        });
    }
    let whole = |road: &Road| made.told(&road.receiver, everything);
    for pair in roads.windows(2) {
        let [one, other] = pair else { continue };
        assert_eq!(whole(one), whole(other), "{}, and {}", one.name, other.name);
    }
    for road in roads {
        let Road {
            name,
            agent,
            through,
            receiver,
        } = road;
        let stopped = agent.stop(Signal::TERM, Duration::from_secs(30));
        assert_eq!(stopped.code, Some(0), "{}", stopped.log);
        if name == COLLECTOR {
            // All of the machine's, not only ours.
            let passed_on = || [receiver.spans().len(), receiver.log_records().len()];
            let printed = || ["spans", "log records"].map(|what| printed(&through, what));
            until("the Collector to have printed what it passed on", || {
                (printed() == passed_on()).then_some(())
            });
        }
        assert_eq!(
            made.told(&receiver, outcome),
            made.outcomes(),
            "{name}, at the end"
        );
    }
}

const COLLECTOR: &str = "through the Collector";

impl Road {
    fn through_rotel() -> Self {
        let receiver = Receiver::start();
        let through = rotel(&to(&receiver));
        Self {
            name: "through rotel",
            agent: agent(&through, "http/protobuf"),
            through,
            receiver,
        }
    }

    fn through_the_collector() -> Option<Self> {
        let receiver = Receiver::start();
        let through = collector(&to(&receiver))?;
        Some(Self {
            name: COLLECTOR,
            agent: agent(&through, "grpc"),
            through,
            receiver,
        })
    }
}

fn to(receiver: &Receiver) -> Onward {
    let endpoint = receiver.endpoint("http/protobuf");
    Onward {
        metrics: None,
        traces: Some(format!("{endpoint}/v1/traces")),
        logs: Some(format!("{endpoint}/v1/logs")),
    }
}

/// One that sends both signals there, and metrics nowhere.
fn agent(through: &Collecting, protocol: &str) -> Agent {
    let base = through.endpoint();
    let endpoint = |path: &str| match protocol {
        "grpc" => base.clone(),
        _ => format!("{base}{path}"),
    };
    let agent = Agent::builder()
        .set("otlp.traces.endpoint", endpoint("/v1/traces"))
        .set("otlp.logs.endpoint", endpoint("/v1/logs"))
        .set("otlp.protocol", protocol)
        .set("otlp.interval", "300ms")
        .set("otlp.queue_size", ROOM)
        .set("traces.process", "on")
        .set("traces.tcp", "on")
        .set("events.rate_limit", "off")
        .set("events.kinds", KINDS);
    agent.start()
}

/// How many items of a kind the Collector says that it had: `…"spans": 3}`.
fn printed(collector: &Collecting, what: &str) -> usize {
    let log = collector.server.log();
    let numbers = log.lines().filter_map(|line| {
        let (_, number) = line.split_once(&format!(", \"{what}\": "))?;
        let end = number.find(|next: char| !next.is_ascii_digit())?;
        number[..end].parse::<usize>().ok()
    });
    numbers.sum()
}

/// Work that has been done, and the names it is known by.
struct Made {
    well: Program,
    ill: Program,
    refused: String,
}

impl Made {
    fn now() -> Self {
        let programs = Programs::new();
        let (well, ill) = (
            programs.link("/bin/true", "true"),
            programs.link("/bin/sh", "ill"),
        );
        well.run_times(WELL, &[]);
        ill.run_times(ILL, &["-c", "exit 5"]);
        let closed_port = refused(REFUSED);
        Self {
            well,
            ill,
            refused: closed_port.port.clone(),
        }
    }

    /// What there has to be of it.
    fn outcomes(&self) -> Counts {
        let (well, ill) = (&self.well.name, &self.ill.name);
        let counts = [
            (format!("span {well} INTERNAL UNSET"), WELL),
            (format!("span {ill} INTERNAL ERROR"), ILL),
            ("span tcp connect CLIENT ERROR".to_owned(), REFUSED),
            (format!("wellhead.process.exec INFO {well}"), WELL),
            (format!("wellhead.process.exit INFO {well}"), WELL),
            (format!("wellhead.process.exec INFO {ill}"), ILL),
            (format!("wellhead.process.exit WARN {ill}"), ILL),
        ];
        let own = own_name();
        let failed = (format!("wellhead.tcp.connect_failed INFO {own}"), REFUSED);
        counts.into_iter().chain([failed]).collect()
    }

    /// What has arrived of it, by what `key` makes of each.
    fn told(&self, receiver: &Receiver, key: fn(&Value) -> String) -> Counts {
        let mut counts = Counts::new();
        let all = receiver.spans().into_iter().chain(receiver.log_records());
        for item in all.filter(|item| self.is_of_it(item)) {
            *counts.entry(key(&item)).or_default() += 1;
        }
        counts
    }

    fn is_of_it(&self, item: &Value) -> bool {
        let program = attribute(item, "process.executable.name");
        let port = attribute(item, "network.peer.port").to_string();
        [&self.well, &self.ill]
            .iter()
            .any(|ours| *program == ours.name.as_str())
            || port == self.refused
    }
}

/// What the program that tests is called: it is older than the agents, which know the first 15 bytes. Its threads have other names.
fn own_name() -> String {
    let path = std::env::current_exe().expect("the test program's own path");
    let name = path.file_name().expect("a name");
    name.to_string_lossy().chars().take(15).collect()
}

/// What it is, and how it ended.
fn outcome(item: &Value) -> String {
    let program = attribute(item, "process.executable.name");
    match text(item, "event_name") {
        "" => format!(
            "span {} {} {}",
            text(item, "name"),
            text(item, "kind"),
            text(&item["status"], "code")
        ),
        event => format!(
            "{event} {} {}",
            text(item, "severity"),
            program.as_str().unwrap_or_default()
        ),
    }
}

/// The same with all that agents do not measure each for itself.
fn everything(item: &Value) -> String {
    let attributes = item["attributes"].as_object().expect("attributes");
    let attributes: BTreeMap<_, _> = attributes
        .iter()
        .filter(|(key, _)| !MEASURED.contains(&key.as_str()))
        .collect();
    let resource = &item["resource"];
    format!(
        "{} {attributes:?} {}",
        outcome(item),
        resource["service.name"]
    )
}
