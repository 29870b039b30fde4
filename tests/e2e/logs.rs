//! Events as log records over OTLP.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{
    Agent, Need, Programs, ROOM, Receiver, attribute, eventually, ready, text, until,
};

/// How many records there are of each name and severity, of a program.
fn told(receiver: &Receiver, program: &str) -> BTreeMap<(String, String), usize> {
    let mut told = BTreeMap::new();
    for record in receiver.log_records() {
        if attribute(&record, "process.executable.name") == program {
            let key = (text(&record, "event_name"), text(&record, "severity"));
            *told
                .entry((key.0.to_owned(), key.1.to_owned()))
                .or_default() += 1;
        }
    }
    told
}

fn counts(expected: &[(&str, &str, usize)]) -> BTreeMap<(String, String), usize> {
    let counts = expected.iter();
    counts
        .map(|(name, severity, count)| (((*name).to_owned(), (*severity).to_owned()), *count))
        .collect()
}

#[test]
fn every_event_is_a_record_over_either_transport() {
    if !ready(&[Need::Python]) {
        return;
    }
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = Receiver::start();
        let agent = Agent::builder()
            .export_to(&receiver, protocol)
            .set("events.export", "on")
            .set("events.rate_limit", "off")
            .set("otlp.queue_size", ROOM)
            .start();
        let programs = Programs::new();
        let (well, ill) = (
            programs.link("/bin/true", "true"),
            programs.link("/bin/false", "false"),
        );
        well.run_times(7, &[]);
        ill.run_times(3, &[]);
        let (exec, exit) = ("wellhead.process.exec", "wellhead.process.exit");
        eventually(
            protocol,
            &counts(&[(exec, "INFO", 7), (exit, "INFO", 7)]),
            || told(&receiver, &well.name),
        );
        eventually(
            protocol,
            &counts(&[(exec, "INFO", 3), (exit, "WARN", 3)]),
            || told(&receiver, &ill.name),
        );
        for request in receiver.requests_of("logs") {
            assert_eq!(request["empty_envelopes"], 0, "{request}");
            assert_eq!(
                request["schema_urls"].as_array().map(Vec::len),
                Some(1),
                "{request}"
            );
        }
        let records = receiver.log_records();
        let ours =
            |record: &&Value| attribute(record, "process.executable.name") == well.name.as_str();
        for record in records.iter().filter(ours) {
            assert!(record["body"].is_null(), "{record}");
            assert_eq!(text(record, "severity_text"), text(record, "severity"));
            assert!(
                record["observed_time_unix_nano"].as_u64() >= record["time_unix_nano"].as_u64(),
                "{record}"
            );
            assert!(record["resource"]["service.name"].is_string(), "{record}");
        }
        let page = agent.metrics();
        let of_logs = [("wellhead_signal", "logs")];
        assert!(page.sum("wellhead_agent_export_items_total", &of_logs) >= 20);
    }
}

#[test]
fn only_kinds_asked_for_are_exported_and_none_by_default() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let logs = format!("http://127.0.0.1:{}/v1/logs", receiver.http);
    // An endpoint for logs is enough.
    let agent = Agent::builder()
        .set("otlp.logs.endpoint", logs)
        .set("otlp.logs.interval", "100ms")
        .set("otlp.queue_size", ROOM)
        .set("events.kinds", "[process.exit]")
        .set("events.rate_limit", "off")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(4, &[]);
    let exits = counts(&[("wellhead.process.exit", "INFO", 4)]);
    eventually("the ends", &exits, || told(&receiver, &program.name));
    let names: Vec<String> = receiver
        .log_records()
        .iter()
        .map(|record| text(record, "event_name").to_owned())
        .collect();
    assert!(
        names.iter().all(|name| name == "wellhead.process.exit"),
        "{names:?}"
    );
    drop(agent);

    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .start();
    program.run_times(1, &[]);
    until("metrics", || receiver.requests_of("metrics").pop());
    drop(agent);
    assert!(receiver.requests_of("logs").is_empty());
}

/// Bytes and items by service, as the receiver has them.
fn arrived(receiver: &Receiver) -> BTreeMap<String, [u64; 2]> {
    let mut arrived = BTreeMap::<_, [u64; 2]>::new();
    for request in receiver.requests_of("logs") {
        for volume in request["volumes"].as_array().into_iter().flatten() {
            let sums = arrived.entry(text(volume, "service").to_owned());
            let sums = sums.or_default();
            for (sum, key) in sums.iter_mut().zip(["bytes", "items"]) {
                *sum += volume[key].as_u64().unwrap_or_default();
            }
        }
    }
    arrived
}

#[test]
fn what_each_service_costs_is_what_arrived_of_it() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .set("events.export", "on")
        .set("events.rate_limit", "off")
        .set("events.kinds", "[process.exec, process.exit]")
        .set("otlp.queue_size", ROOM)
        .start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(50, &[]);
    until("all of them", || {
        let told: usize = told(&receiver, &program.name).values().sum();
        (told == 100).then_some(())
    });
    // Others' processes go on, so both sides are read until nothing came in between.
    until("the same on both sides", || {
        let page = agent.metrics();
        let arrived = arrived(&receiver);
        let counted = |service: &String| {
            let labels = [
                ("service_name", service.as_str()),
                ("wellhead_signal", "logs"),
            ];
            [
                "wellhead_agent_export_volume_bytes_total",
                "wellhead_agent_export_volume_items_total",
            ]
            .map(|name| page.sum(name, &labels))
        };
        let same = arrived
            .iter()
            .all(|(service, sums)| counted(service) == *sums);
        (same && !arrived.is_empty()).then_some(())
    });
}

/// All of the machine's processes outside of containers may be one service's, so others use up what there is as well.
#[test]
fn a_workload_exports_so_many_and_no_more() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .set("events.export", "on")
        .set("events.kinds", "[process.exec, process.exit]")
        .set("events.rate_limit", "5")
        .start();
    let programs = Programs::new();
    let (well, ill) = (
        programs.link("/bin/true", "true"),
        programs.link("/bin/false", "false"),
    );
    well.run_times(300, &[]);
    ill.run_times(3, &[]);
    let failed = |told: &BTreeMap<(String, String), usize>| {
        let key = ("wellhead.process.exit".to_owned(), "WARN".to_owned());
        told.get(&key).copied()
    };
    // These are not crowded out.
    eventually("the failures", &Some(3), || {
        failed(&told(&receiver, &ill.name))
    });
    let left_out = [
        ("wellhead_stage", "policy"),
        ("wellhead_reason", "event_rate"),
    ];
    let exported = || told(&receiver, &well.name).values().sum::<usize>() as u64;
    until("each event to be exported or counted", || {
        let page = agent.metrics();
        let left_out = page.sum("wellhead_agent_discards_total", &left_out);
        (exported() + left_out >= 600 && left_out >= 300).then_some(())
    });
    let log = agent.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("events.rate_limit"));
    assert_eq!(lines.count(), 1, "{log}");
}

#[test]
fn a_receiver_that_was_away_gets_every_event() {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "http/protobuf")
        .set("events.export", "on")
        .set("events.rate_limit", "off")
        .set("events.kinds", "[process.exec]")
        .set("otlp.queue_size", ROOM)
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let execs = |count| counts(&[("wellhead.process.exec", "INFO", count)]);
    program.run_times(5, &[]);
    eventually("the first five", &execs(5), || {
        told(&receiver, &program.name)
    });
    receiver.kill();
    program.run_times(600, &[]);
    let failures = || {
        let labels = [("wellhead_signal", "logs")];
        agent
            .metrics()
            .sum("wellhead_agent_export_failures_total", &labels)
    };
    until("failures", || (failures() > 0).then_some(()));
    receiver.start_again();
    program.run_times(2, &[]);
    eventually("each of them once", &execs(607), || {
        told(&receiver, &program.name)
    });
    let reasons = [("wellhead_stage", "queue")];
    assert_eq!(
        agent
            .metrics()
            .sum("wellhead_agent_discards_total", &reasons),
        0
    );
}
