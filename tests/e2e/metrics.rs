//! `/metrics`: values exact, and formats that others' parsers accept.

use std::collections::BTreeMap;

use crate::support::{
    Agent, Format, Need, Page, Program, Programs, eventually, exchange, judged, linted, ready,
    refused, request,
};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

#[test]
fn processes_are_counted_exactly() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let programs = Programs::new();
    let (well, ill, killed) = (
        programs.link("/bin/true", "true"),
        programs.link("/bin/sh", "ill"),
        programs.link("/bin/sh", "killed"),
    );
    well.run_times(40, &[]);
    ill.run_times(7, &["-c", "exit 3"]);
    killed.run_times(2, &["-c", "kill -9 $$"]);

    // An exit is recorded before whoever waits for it hears of it, and every page reads the rings first.
    let page = agent.metrics();
    let check = |program: &Program, outcome: (&str, &str), count: u64| {
        let name = [("process_executable_name", program.name.as_str())];
        let with_outcome = [name[0], outcome];
        let seen = (
            page.sum("wellhead_process_execs_total", &name),
            page.sum("wellhead_process_exits_total", &with_outcome),
            page.sum("wellhead_process_exits_total", &name),
            page.sum("wellhead_process_duration_seconds_count", &name),
        );
        assert_eq!(
            seen,
            (count, count, count, count),
            "{program:?} {:?}",
            losses(&page)
        );
    };
    check(&well, ("process_exit_code", "0"), 40);
    check(&ill, ("process_exit_code", "3"), 7);
    check(&killed, ("wellhead_process_signal", "SIGKILL"), 2);
}

#[test]
fn connections_are_counted_exactly() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let served = exchange(60, 100, 200);
    let closed_port = refused(9);

    let of_end = |reporter, metric: &str, direction: Option<&str>, page: &Page| {
        let mut labels = vec![
            ("destination_port", served.port.as_str()),
            ("wellhead_reporter", reporter),
        ];
        labels.extend(direction.map(|direction| ("network_io_direction", direction)));
        page.sum(metric, &labels)
    };
    for (reporter, transmit, receive) in [("source", 6_000, 12_000), ("destination", 12_000, 6_000)]
    {
        eventually(
            "opened, closed, sent, received, active",
            &[60, 60, transmit, receive, 0],
            || {
                let page = agent.metrics();
                let io = "wellhead_tcp_io_bytes_total";
                [
                    of_end(
                        reporter,
                        "wellhead_tcp_connections_opened_total",
                        None,
                        &page,
                    ),
                    of_end(
                        reporter,
                        "wellhead_tcp_connections_closed_total",
                        None,
                        &page,
                    ),
                    of_end(reporter, io, Some("transmit"), &page),
                    of_end(reporter, io, Some("receive"), &page),
                    of_end(reporter, "wellhead_tcp_connections_active", None, &page),
                ]
            },
        );
    }
    let page = agent.metrics();
    let connected = of_end(
        "source",
        "wellhead_tcp_connect_duration_seconds_count",
        None,
        &page,
    );
    let accepted = of_end(
        "destination",
        "wellhead_tcp_connect_duration_seconds_count",
        None,
        &page,
    );
    assert_eq!((connected, accepted), (60, 0), "told by the source only");
    let failures = "wellhead_tcp_connection_failures_total";
    let port = ("destination_port", closed_port.port.as_str());
    assert_eq!(
        page.sum(failures, &[port, ("error_type", "connection_refused")]),
        9
    );
    assert_eq!(page.sum(failures, &[port]), 9);
    assert_eq!(
        page.sum("wellhead_tcp_connections_opened_total", &[port]),
        0
    );
}

#[test]
fn promtool_accepts_the_text_format() {
    if !ready(&[Need::Promtool]) {
        return;
    }
    let agent = Agent::start();
    some_of_everything();
    let response = agent.get("/metrics");
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(response.header("content-type"), content_type);
    let page = response.text();
    let complaint = linted(&page);
    assert_eq!(complaint, None, "{page}");
}

#[test]
fn both_formats_say_the_same() {
    if !ready(&[Need::Python]) {
        return;
    }
    let agent = Agent::start();
    let made = some_of_everything();
    let text = || judged(Format::Text, &agent.get("/metrics").text());
    let before = text();
    let response = request(agent.address, "GET", "/metrics", &[("accept", OPENMETRICS)]);
    let after = text();
    assert!(
        response.header("content-type").starts_with(OPENMETRICS),
        "{response:?}"
    );
    assert!(response.text().ends_with("# EOF\n"));
    let open = judged(Format::OpenMetrics, &response.text());

    // The machine goes on meanwhile. What did not change from before to after must be the same in between.
    // (But for what can go up and down again.)
    let steady = |(name, _): &(String, _)| {
        let gauge = name.starts_with("process_") || name.ends_with("_active");
        !gauge && !name.contains("_agent_")
    };
    let unchanged: BTreeMap<_, _> = before
        .into_iter()
        .filter(|(series, value)| steady(series) && after.get(series) == Some(value))
        .collect();
    for (series, value) in &unchanged {
        assert_eq!(open.get(series), Some(value), "{series:?}");
    }
    let ours = unchanged
        .keys()
        .filter(|(_, labels)| labels.values().any(|value| made.contains(value)));
    let names: std::collections::BTreeSet<_> = ours.map(|(name, _)| name.as_str()).collect();
    for name in [
        "wellhead_process_execs_total",
        "wellhead_process_exits_total",
        "wellhead_process_duration_seconds_bucket",
        "wellhead_tcp_connections_opened_total",
        "wellhead_tcp_connection_failures_total",
        "wellhead_tcp_io_bytes_total",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    // And nothing that only one of them has, but for what appeared later.
    for series in open.keys().filter(|series| steady(series)) {
        assert!(
            after.contains_key(series),
            "only in OpenMetrics: {series:?}"
        );
    }
}

/// Some processes and connections; returns the names and ports by which they are known.
fn some_of_everything() -> Vec<String> {
    let programs = Programs::new();
    let (well, ill) = (
        programs.link("/bin/true", "true"),
        programs.link("/bin/sh", "ill"),
    );
    well.run_times(3, &[]);
    ill.run(&["-c", "exit 5"]);
    ill.run(&["-c", "kill -TERM $$"]);
    let (served, closed_port) = (exchange(5, 10, 20), refused(2));
    vec![well.name, ill.name, served.port, closed_port.port]
}

/// What was discarded, for the message of a count that is wrong.
pub(crate) fn losses(page: &Page) -> Vec<(String, String)> {
    page.select("wellhead_agent_discards_total", &[])
        .filter(|sample| sample.value != "0")
        .map(|sample| {
            (
                sample.labels["wellhead_reason"].clone(),
                sample.value.clone(),
            )
        })
        .collect()
}
