//! Names as a scraper asks for them, read by Prometheus' own library.

use std::collections::BTreeSet;

use crate::support::{Agent, Format, Need, judged, ready, request};

/// Names of the samples, and of their labels, in the format and with the scheme asked for.
fn names(agent: &Agent, media: &str, format: Format, scheme: &str) -> BTreeSet<String> {
    let accept = format!("{media};version=1.0.0;escaping={scheme},*/*;q=0.1");
    let response = request(agent.address, "GET", "/metrics", &[("accept", &accept)]);
    let answered = format!("{media}; version=1.0.0; charset=utf-8; escaping={scheme}");
    assert_eq!(response.header("content-type"), answered);
    let samples = judged(format, &response.text()).into_keys();
    samples
        .flat_map(|(name, labels)| [name].into_iter().chain(labels.into_keys()))
        .collect()
}

#[test]
fn every_scheme_is_answered_and_dots_alone_changes_names() {
    if !ready(&[Need::Python]) {
        return;
    }
    let agent = Agent::start();
    for (media, format) in [
        ("text/plain", Format::Text),
        ("application/openmetrics-text", Format::OpenMetrics),
    ] {
        let plain = names(&agent, media, format, "underscores");
        for name in [
            "wellhead_agent_records_total",
            "wellhead_tcp_connect_duration_seconds_bucket",
            "wellhead_record_kind",
        ] {
            assert!(plain.contains(name), "{name}: {plain:?}");
        }
        for scheme in ["allow-utf-8", "values"] {
            let others = names(&agent, media, format, scheme);
            assert!(plain.is_subset(&others), "{scheme}");
        }
        let dots = names(&agent, media, format, "dots");
        for name in [
            "wellhead__agent__records__total",
            "wellhead__tcp__connect__duration__seconds_bucket",
            "wellhead__record__kind",
        ] {
            assert!(dots.contains(name), "{name}: {dots:?}");
        }
        assert!(plain.intersection(&dots).all(|name| !name.contains('_')));
    }
}
