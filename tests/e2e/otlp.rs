//! Metrics over OTLP, as an independent receiver understands them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::{
    Agent, Container, Need, OtlpPoint, Programs, Receiver, attribute, eventually, exchange, ready,
    refused, text, until,
};

/// What the names users see promise: name, unit, and kind of instrument.
const CATALOGUE: &[(&str, &str, Kind)] = &[
    (
        "wellhead.tcp.connections.opened",
        "{connection}",
        Kind::Counter,
    ),
    (
        "wellhead.tcp.connections.closed",
        "{connection}",
        Kind::Counter,
    ),
    (
        "wellhead.tcp.connections.active",
        "{connection}",
        Kind::UpDownCounter,
    ),
    (
        "wellhead.tcp.connection.failures",
        "{connection}",
        Kind::Counter,
    ),
    ("wellhead.tcp.connect.duration", "s", Kind::Histogram),
    ("wellhead.tcp.connection.duration", "s", Kind::Histogram),
    ("wellhead.tcp.io", "By", Kind::Counter),
    ("wellhead.tcp.segments", "{segment}", Kind::Counter),
    ("wellhead.tcp.retransmits", "{segment}", Kind::Counter),
    ("wellhead.tcp.rtt", "s", Kind::Histogram),
    ("wellhead.process.execs", "{process}", Kind::Counter),
    ("wellhead.process.forks", "{process}", Kind::Counter),
    ("wellhead.process.exits", "{process}", Kind::Counter),
    ("wellhead.process.duration", "s", Kind::Histogram),
    ("wellhead.process.oom_kills", "{process}", Kind::Counter),
    ("wellhead.container.exits", "{container}", Kind::Counter),
    ("process.cpu.time", "s", Kind::Counter),
    ("process.memory.usage", "By", Kind::UpDownCounter),
    ("process.disk.io", "By", Kind::Counter),
    ("wellhead.agent.records", "{record}", Kind::Counter),
    (
        "wellhead.agent.conntrack.lookups",
        "{lookup}",
        Kind::Counter,
    ),
    ("wellhead.agent.kube.errors", "{error}", Kind::Counter),
    ("wellhead.agent.discards", "{item}", Kind::Counter),
    ("wellhead.agent.completeness", "1", Kind::Gauge),
    ("wellhead.agent.invariant.drift", "{item}", Kind::Gauge),
    ("wellhead.agent.series", "{series}", Kind::Gauge),
    ("wellhead.agent.series.limit", "{series}", Kind::Gauge),
    ("wellhead.agent.memory.budget", "By", Kind::Gauge),
    ("wellhead.agent.memory.usage", "By", Kind::Gauge),
    ("wellhead.tcp.out_of_order", "{segment}", Kind::Counter),
    ("wellhead.tcp.resets", "{reset}", Kind::Counter),
    ("wellhead.tcp.limited", "s", Kind::Counter),
    ("wellhead.tcp.rtt.min", "s", Kind::Histogram),
    (
        "wellhead.tcp.listen.queue.length",
        "{connection}",
        Kind::Gauge,
    ),
    (
        "wellhead.tcp.listen.queue.limit",
        "{connection}",
        Kind::Gauge,
    ),
    (
        "wellhead.tcp.listen.overflows",
        "{connection}",
        Kind::Counter,
    ),
    (
        "wellhead.tcp.listen.retransmits",
        "{segment}",
        Kind::Counter,
    ),
    ("wellhead.udp.io", "By", Kind::Counter),
    ("wellhead.udp.datagrams", "{datagram}", Kind::Counter),
    ("dns.lookup.duration", "s", Kind::Histogram),
    ("wellhead.packet.drops", "{packet}", Kind::Counter),
    ("wellhead.agent.memory.steps", "{step}", Kind::Gauge),
    ("wellhead.agent.feature", "{feature}", Kind::Gauge),
    ("wellhead.agent.config.reloads", "{reload}", Kind::Counter),
    (
        "wellhead.agent.config.last_reload.successful",
        "{reload}",
        Kind::Gauge,
    ),
    (
        "wellhead.agent.config.last_reload.success.timestamp",
        "s",
        Kind::Gauge,
    ),
    ("wellhead.agent.config.keys.waiting", "{key}", Kind::Gauge),
    ("wellhead.agent.export.items", "{item}", Kind::Counter),
    ("wellhead.agent.export.failures", "{item}", Kind::Counter),
    ("wellhead.agent.export.retries", "{item}", Kind::Counter),
    ("wellhead.agent.export.rejected", "{item}", Kind::Counter),
    ("wellhead.agent.export.queue.length", "{item}", Kind::Gauge),
    ("wellhead.agent.export.volume", "By", Kind::Counter),
    (
        "wellhead.agent.export.volume.items",
        "{item}",
        Kind::Counter,
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

#[test]
fn grpc_carries_what_metrics_shows() {
    same_totals("grpc");
}

#[test]
fn http_carries_what_metrics_shows() {
    same_totals("http/protobuf");
}

fn same_totals(protocol: &str) {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder().export_to(&receiver, protocol).start();
    let programs = Programs::new();
    let (well, ill) = (
        programs.link("/bin/true", "true"),
        programs.link("/bin/sh", "ill"),
    );
    well.run_times(20, &[]);
    ill.run_times(4, &["-c", "exit 3"]);
    let (served, closed_port) = (exchange(30, 100, 200), refused(6));

    let ours = [&well.name, &ill.name, &served.port, &closed_port.port];
    eventually("the connections closed", &60, || {
        let port = [("destination_port", &*served.port)];
        agent
            .metrics()
            .sum("wellhead_tcp_connections_closed_total", &port)
    });
    let page = agent.metrics();
    let expected: BTreeMap<String, u64> = [
        "wellhead.process.execs",
        "wellhead.process.exits",
        "wellhead.tcp.connections.opened",
        "wellhead.tcp.connections.closed",
        "wellhead.tcp.connection.failures",
        "wellhead.tcp.io",
        "wellhead.tcp.segments",
    ]
    .into_iter()
    .map(|name| {
        let unit = if name == "wellhead.tcp.io" {
            "_bytes"
        } else {
            ""
        };
        let sample = format!("{}{unit}_total", name.replace('.', "_"));
        let total = |label, value: &String| page.sum(&sample, &[(label, value.as_str())]);
        let programs = [&well.name, &ill.name].map(|name| total("process_executable_name", name));
        let ports = [&served.port, &closed_port.port].map(|port| total("destination_port", port));
        (name.to_owned(), programs.into_iter().chain(ports).sum())
    })
    .collect();
    assert_eq!(expected["wellhead.process.execs"], 24);
    assert_eq!(expected["wellhead.tcp.io"], 30 * 2 * 300);
    eventually("the same totals", &expected, || {
        let points = receiver.last_points();
        let ours = points.iter().filter(|point| is_of(point, &ours));
        let mut totals = BTreeMap::new();
        for point in ours.filter(|point| expected.contains_key(text(point, "name"))) {
            let total: &mut u64 = totals.entry(text(point, "name").to_owned()).or_default();
            *total += point["value"].as_u64().expect("a count");
        }
        totals
    });
    for request in receiver.requests_of("metrics") {
        check_request(&request, protocol);
    }
}

/// Whether a point is about one of our programs or ports.
fn is_of(point: &OtlpPoint, ours: &[&String]) -> bool {
    let program = attribute(point, "process.executable.name")
        .as_str()
        .map(str::to_owned);
    let port = attribute(point, "destination.port")
        .as_i64()
        .map(|port| port.to_string());
    [program, port]
        .into_iter()
        .flatten()
        .any(|found| ours.contains(&&found))
}

fn check_request(request: &Value, protocol: &str) {
    assert_eq!(
        text(request, "transport"),
        protocol.split('/').next().unwrap_or_default()
    );
    assert_eq!(request["empty_envelopes"], 0);
    assert_eq!(
        request["schema_urls"],
        serde_json::json!(["https://opentelemetry.io/schemas/1.44.0"])
    );
    let points = request["points"].as_array().expect("a list");
    let resources: BTreeSet<String> = points
        .iter()
        .map(|point| point["resource"].to_string())
        .collect();
    assert_eq!(
        request["resources"],
        resources.len(),
        "each Resource is there once"
    );
    for point in points {
        check_point(point);
    }
}

fn check_point(point: &OtlpPoint) {
    let name = text(point, "name");
    let known = CATALOGUE.iter().find(|(known, _, _)| *known == name);
    let (_, unit, kind) = known.unwrap_or_else(|| panic!("no such metric: {point}"));
    assert_eq!(text(point, "unit"), *unit, "{name}");
    assert!(!text(point, "description").is_empty(), "{name}");
    let cumulative = point["temporality"] == "cumulative";
    match kind {
        Kind::Counter => assert!(
            point["type"] == "sum" && cumulative && point["monotonic"] == true,
            "{point}"
        ),
        Kind::UpDownCounter => {
            assert!(
                point["type"] == "sum" && cumulative && point["monotonic"] == false,
                "{point}"
            );
        }
        Kind::Gauge => assert!(point["type"] == "gauge", "{point}"),
        Kind::Histogram => {
            assert!(point["type"] == "histogram" && cumulative, "{point}");
            let numbers = |key: &str| point[key].as_array().expect("a list").clone();
            let (bounds, buckets) = (numbers("bounds"), numbers("buckets"));
            assert_eq!(buckets.len(), bounds.len() + 1, "{point}");
            let total: u64 = buckets.iter().filter_map(Value::as_u64).sum();
            assert_eq!(point["count"], total, "{point}");
        }
    }
    let nanoseconds = |key: &str| point[key].as_u64().unwrap_or_default();
    let (start, time) = (
        nanoseconds("start_time_unix_nano"),
        nanoseconds("time_unix_nano"),
    );
    assert!(time > 0 && start <= time, "{point}");
    assert!(*kind == Kind::Gauge || start > 0, "{point}");
    let resource = &point["resource"];
    for key in [
        "service.name",
        "service.instance.id",
        "host.name",
        "telemetry.distro.name",
    ] {
        assert!(resource[key].is_string(), "{key}: {resource}");
    }
}

#[test]
fn each_container_is_one_resource() {
    if !ready(&[Need::Python, Need::Cgroups]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .set("cluster_name", "e2e")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let containers = [Container::new(), Container::new()];
    for (container, times) in containers.iter().zip([3, 5]) {
        for _ in 0..times {
            assert!(container.run(&program.path).success());
        }
    }
    program.run_times(2, &[]);

    let seen = || {
        let mut execs: BTreeMap<String, u64> = BTreeMap::new();
        for point in receiver.last_points() {
            if text(&point, "name") == "wellhead.process.execs" && is_of(&point, &[&program.name]) {
                let container = text(&point["resource"], "container.id").to_owned();
                *execs.entry(container).or_default() += point["value"].as_u64().expect("a count");
            }
        }
        execs
    };
    let expected = BTreeMap::from([
        (String::new(), 2),
        (containers[0].id.clone(), 3),
        (containers[1].id.clone(), 5),
    ]);
    eventually("execs by container", &expected, seen);
    let page = agent.metrics();
    for (container, times) in containers.iter().zip([3, 5]) {
        let labels = [
            ("container_id", container.id.as_str()),
            ("process_executable_name", &program.name),
        ];
        assert_eq!(page.sum("wellhead_process_execs_total", &labels), times);
    }
    let points = receiver.last_points();
    let resources: BTreeSet<String> = points
        .iter()
        .map(|point| point["resource"].to_string())
        .collect();
    let mut identities = BTreeSet::new();
    for resource in resources {
        let resource: Value = serde_json::from_str(&resource).expect("JSON");
        assert_eq!(text(&resource, "k8s.cluster.name"), "e2e");
        let keys = ["container.id", "wellhead.slice", "service.name"];
        let identity = keys.map(|key| text(&resource, key).to_owned());
        assert!(
            identities.insert(identity),
            "two Resources of one container: {resource}"
        );
    }
}

#[test]
fn the_standard_variables_are_honoured() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let check = |protocol: &str, endpoint: String, insecure: &str| {
        let before = receiver.requests().len();
        let _agent = Agent::builder()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "x-tenant=a%20b,authorization=Bearer%20t0ken",
            )
            .env("OTEL_EXPORTER_OTLP_INSECURE", insecure)
            .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
            .start();
        let request = until("a request", || receiver.requests().into_iter().nth(before));
        assert_eq!(
            text(&request, "transport"),
            protocol.split('/').next().unwrap_or_default()
        );
        assert_eq!(request["headers"]["x-tenant"], "a b");
        assert_eq!(request["headers"]["authorization"], "Bearer t0ken");
        let agent = request["headers"]["user-agent"]
            .as_str()
            .unwrap_or_default();
        assert!(
            agent.contains("wellhead") || agent.contains("OTel-OTLP-Exporter"),
            "{agent}"
        );
    };
    check("grpc", receiver.endpoint("grpc"), "false");
    check("grpc", format!("127.0.0.1:{}", receiver.grpc), "true");
    check("http/protobuf", receiver.endpoint("http/protobuf"), "");
}

#[test]
fn the_standard_timeout_is_honoured() {
    if !ready(&[]) {
        return;
    }
    // Connections are accepted by the kernel, and nobody ever answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = silent.local_addr().expect("an address");
    let agent = Agent::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "150")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .start();
    until("a time-out counted", || {
        let labels = [("error_type", "timeout"), ("wellhead_signal", "metrics")];
        (agent
            .metrics()
            .sum("wellhead_agent_export_failures_total", &labels)
            > 0)
        .then_some(())
    });
}
