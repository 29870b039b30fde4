//! The agent's own spans and log records, over OTLP.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Agent, Need, Receiver, attribute, ready, text, until};

/// Items of the agent's own, and of nobody else.
fn own(items: Vec<Value>) -> Vec<Value> {
    let mut own = items;
    own.retain(|item| item["resource"]["service.name"] == "wellhead");
    own
}

fn names(receiver: &Receiver) -> BTreeSet<String> {
    let spans = own(receiver.spans());
    spans
        .iter()
        .map(|span| text(span, "name").to_owned())
        .collect()
}

#[test]
fn what_the_agent_does_and_says_arrives_where_it_is_asked_for() {
    if !ready(&[Need::Python]) {
        return;
    }
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = Receiver::start();
        let agent = Agent::builder()
            .export_to(&receiver, protocol)
            .set("traces.agent", "on")
            .set("log.export", "on")
            .set("snapshot_interval", "1s")
            .start();
        agent.metrics();
        let expected = ["wellhead.export", "wellhead.scrape", "wellhead.snapshot"];
        until("spans of all kinds", || {
            let names = names(&receiver);
            expected
                .iter()
                .all(|name| names.contains(*name))
                .then_some(())
        });
        let stopped = agent.stop(Signal::TERM, Duration::from_secs(20));
        assert_eq!(stopped.code, Some(0), "{}", stopped.log);
        assert!(!stopped.log.contains("wellhead.export"), "{}", stopped.log);

        let spans = own(receiver.spans());
        for span in &spans {
            // Sending the agent's own makes none, so that they do not make each other.
            if text(span, "name") == "wellhead.export" {
                assert_eq!(attribute(span, "wellhead.signal"), "metrics", "{span}");
            }
            assert!(
                span["resource"]["service.instance.id"].is_string(),
                "{span}"
            );
            assert_eq!(span["resource"]["telemetry.distro.name"], "wellhead");
        }
        let records = own(receiver.log_records());
        let said = |line: &str| records.iter().any(|record| record["body"] == line);
        assert!(said("capturing"), "{records:?}");
        for record in &records {
            assert_eq!(text(record, "event_name"), "", "{record}");
            assert_ne!(record["time_unix_nano"], 0, "{record}");
        }
        assert!(said("stopping: exporting what there is"), "{records:?}");
    }
}

#[test]
fn where_it_cannot_be_sent_nothing_else_suffers() {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut gone = Receiver::start();
    let nowhere = gone.endpoint("grpc");
    gone.kill();
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .set("otlp.traces.endpoint", &nowhere)
        .set("otlp.logs.endpoint", &nowhere)
        .set("traces.agent", "on")
        .set("log.export", "on")
        .start();
    // Each page is a span: more than have room.
    for _ in 0..2_000 {
        agent.metrics();
    }
    let before = receiver.requests_of("metrics").len();
    until("metrics after them", || {
        (receiver.requests_of("metrics").len() > before).then_some(())
    });
    let stopped = agent.stop(Signal::TERM, Duration::from_secs(20));
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    let receiver = nowhere.trim_start_matches("http://");
    assert!(stopped.log.contains(receiver), "{}", stopped.log);
}

#[test]
fn nothing_of_it_is_sent_unless_asked_for() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder().export_to(&receiver, "grpc").start();
    agent.metrics();
    until("metrics", || {
        (!receiver.requests_of("metrics").is_empty()).then_some(())
    });
    agent.stop(Signal::TERM, Duration::from_secs(20));
    assert_eq!(
        (receiver.spans(), receiver.log_records()),
        (Vec::new(), Vec::new())
    );
}
