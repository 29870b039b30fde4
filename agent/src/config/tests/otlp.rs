//! OTLP: OpenTelemetry's variables, and what the keys come to for one signal.

use expect_test::expect;

use super::*;
use crate::config::Signal;

#[test]
fn opentelemetry_variables_stand_between_ours_and_the_file() {
    check(
        "otlp: {endpoint: http://file:1, protocol: http/protobuf, timeout: 1s, headers: {a: file, b: file}}",
        &[
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_EXPORTER_OTLP_TIMEOUT=2500",
            "OTEL_EXPORTER_OTLP_INSECURE=True",
            "OTEL_EXPORTER_OTLP_CERTIFICATE=/ca.pem",
            "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://traces:4317",
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=",
            "OTEL_METRIC_EXPORT_INTERVAL=15000",
            "OTEL_EXPORTER_OTLP_UNHEARD_OF=1",
            "WELLHEAD_OTLP_TIMEOUT=7s",
        ],
        &[],
        &[
            "otlp.endpoint",
            "otlp.protocol",
            "otlp.timeout",
            "otlp.insecure",
            "otlp.tls",
            "otlp.compression",
            "otlp.traces",
            "otlp.metrics",
        ],
        &expect![[r#"
            otlp.endpoint = "http://otel:4317" (otlp.endpoint from OTEL_EXPORTER_OTLP_ENDPOINT)
            otlp.protocol = "grpc" (otlp.protocol from OTEL_EXPORTER_OTLP_PROTOCOL)
            otlp.timeout = "7s" (otlp.timeout from WELLHEAD_OTLP_TIMEOUT)
            otlp.insecure = "on" (otlp.insecure from OTEL_EXPORTER_OTLP_INSECURE)
            otlp.tls = {"ca_file":"/ca.pem"} (otlp.tls.ca_file from OTEL_EXPORTER_OTLP_CERTIFICATE)
            otlp.compression = "gzip" (otlp.compression from OTEL_EXPORTER_OTLP_COMPRESSION)
            otlp.traces = {"endpoint":"http://traces:4317"} (otlp.traces.endpoint from OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
            otlp.metrics = {"interval":"15s","temporality":"cumulative","histogram_aggregation":"explicit_bucket_histogram"} (otlp.metrics.interval from OTEL_METRIC_EXPORT_INTERVAL)
            warning: OTEL_EXPORTER_OTLP_CERTIFICATE: otlp.tls.ca_file: has no effect: the endpoint is no `https` URL
        "#]],
    );
}

#[test]
fn the_case_of_opentelemetrys_choices_does_not_matter() {
    check(
        "{}",
        &[
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317",
            "OTEL_EXPORTER_OTLP_PROTOCOL=GRPC",
            "OTEL_EXPORTER_OTLP_COMPRESSION=GZip",
            "OTEL_EXPORTER_OTLP_INSECURE=TRUE",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=HTTP/Protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION=None",
        ],
        &[],
        &[
            "otlp.protocol",
            "otlp.compression",
            "otlp.insecure",
            "otlp.metrics",
        ],
        &expect![[r#"
            otlp.protocol = "grpc" (otlp.protocol from OTEL_EXPORTER_OTLP_PROTOCOL)
            otlp.compression = "gzip" (otlp.compression from OTEL_EXPORTER_OTLP_COMPRESSION)
            otlp.insecure = "on" (otlp.insecure from OTEL_EXPORTER_OTLP_INSECURE)
            otlp.metrics = {"protocol":"http/protobuf","compression":"none","temporality":"cumulative","histogram_aggregation":"explicit_bucket_histogram"} (otlp.metrics.compression from OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, otlp.metrics.protocol from OTEL_EXPORTER_OTLP_METRICS_PROTOCOL)
        "#]],
    );
}

#[test]
fn a_variable_asks_in_vain_unless_for_what_is_done_anyway() {
    check(
        "",
        &[
            "OTEL_TRACES_EXPORTER=none",
            "OTEL_LOGS_EXPORTER=otlp",
            "OTEL_SDK_DISABLED=False",
            "OTEL_METRICS_EXEMPLAR_FILTER=always_off",
            "OTEL_BSP_MAX_QUEUE_SIZE=",
        ],
        &[],
        &["otlp.traces"],
        &expect![[r#"
            otlp.traces = null ()
            warning: OTEL_TRACES_EXPORTER: is not honoured: `traces.process`, `traces.tcp`, `traces.agent`
            warning: OTEL_METRICS_EXEMPLAR_FILTER: is not honoured: exemplars are those of spans that were exported
        "#]],
    );
}

#[test]
fn queues_beyond_the_budget_are_told_of() {
    check(
        "memory_budget: 64MiB\notlp: {queue_size: 16MiB, logs: {queue_size: 17MiB}}",
        &[],
        &[],
        &["otlp.logs.queue_size"],
        &expect![[r#"
            otlp.logs.queue_size = "17MiB" (otlp.logs.queue_size from w.yaml:2:34)
            warning: w.yaml:2:34: otlp.logs.queue_size: `17MiB` is more than a quarter of `memory_budget`, `64MiB`: raise that too, or let more wait on disk (`otlp.spill.directory`)
        "#]],
    );
}

#[test]
fn what_opentelemetry_wants_ignored_is_a_warning() {
    check(
        "otlp: {protocol: grpc}",
        &[
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json",
            "OTEL_EXPORTER_OTLP_TIMEOUT=10s",
            "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT=0",
            "OTEL_METRIC_EXPORT_INTERVAL=99",
            "OTEL_BSP_SCHEDULE_DELAY=2147483648",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=deflate",
            "OTEL_EXPORTER_OTLP_INSECURE=1",
            "OTEL_RESOURCE_ATTRIBUTES=k8s.cluster.name=a,cloud.region=%zz",
            "OTEL_EXPORTER_PROMETHEUS_PORT=http",
        ],
        &[],
        &[
            "otlp.protocol",
            "otlp.timeout",
            "otlp.traces",
            "resource_attributes",
            "prometheus.listen",
        ],
        &expect![[r#"
            otlp.protocol = "grpc" (otlp.protocol from w.yaml:1:8)
            otlp.timeout = "10s" ()
            otlp.traces = null ()
            resource_attributes = null ()
            prometheus.listen = "127.0.0.1:9464" ()
            warning: OTEL_EXPORTER_OTLP_PROTOCOL: otlp.protocol: `http/json` is not supported; allowed are grpc, http/protobuf; ignored
            warning: OTEL_EXPORTER_OTLP_TIMEOUT: otlp.timeout: `10s` is no whole number of milliseconds; ignored
            warning: OTEL_EXPORTER_OTLP_INSECURE: otlp.insecure: `1` is neither `true` nor `false`; ignored
            warning: OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: otlp.traces.compression: `deflate` is not supported; allowed are none, gzip, zstd; ignored
            warning: OTEL_EXPORTER_OTLP_LOGS_TIMEOUT: otlp.logs.timeout: `0` is out of range; from 1 to 2147483647 milliseconds; ignored
            warning: OTEL_METRIC_EXPORT_INTERVAL: otlp.metrics.interval: `99` is out of range; from 100 to 2147483647 milliseconds; ignored
            warning: OTEL_BSP_SCHEDULE_DELAY: otlp.traces.interval: `2147483648` is out of range; from 100 to 2147483647 milliseconds; ignored
            warning: OTEL_RESOURCE_ATTRIBUTES: resource_attributes: an entry is not percent-encoded UTF-8; write `%` as `%25`; the variable is ignored
            warning: OTEL_EXPORTER_PROMETHEUS_PORT: prometheus.listen: `http` is no port; ignored
        "#]],
    );
}

#[test]
fn only_cluster_wide_attributes_are_taken_from_the_agents_own_resource() {
    check(
        "resource_attributes: {cloud.region: file, team: file}",
        &[
            "OTEL_RESOURCE_ATTRIBUTES=service.name=wellhead,k8s.cluster.name=a%2Cb, cloud.region=eu,k8s.pod.name=me",
        ],
        &[],
        &["resource_attributes"],
        &expect![[r#"
            resource_attributes = {"cloud.region":"eu","k8s.cluster.name":"a,b","team":"file"} (resource_attributes.cloud.region from OTEL_RESOURCE_ATTRIBUTES, resource_attributes.k8s.cluster.name from OTEL_RESOURCE_ATTRIBUTES, resource_attributes.team from w.yaml:1:43)
        "#]],
    );
}

#[test]
fn the_listener_takes_host_and_port_apart() {
    let check = |yaml: &str, environment: &[&str], expected: &str| {
        let config = load(yaml, environment, &[]).unwrap().config;
        assert_eq!(
            config.prometheus.listen.to_string(),
            expected,
            "{environment:?}"
        );
    };
    let file = "prometheus: {listen: 192.0.2.1:80}";
    check(
        "",
        &["OTEL_EXPORTER_PROMETHEUS_HOST=0.0.0.0"],
        "0.0.0.0:9464",
    );
    check("", &["OTEL_EXPORTER_PROMETHEUS_HOST=::"], "[::]:9464");
    check(
        "",
        &["OTEL_EXPORTER_PROMETHEUS_HOST=localhost"],
        "127.0.0.1:9464",
    );
    check("", &["OTEL_EXPORTER_PROMETHEUS_PORT=81"], "127.0.0.1:81");
    check(file, &["OTEL_EXPORTER_PROMETHEUS_PORT=81"], "192.0.2.1:81");
    check(
        file,
        &["OTEL_EXPORTER_PROMETHEUS_HOST=0.0.0.0"],
        "0.0.0.0:80",
    );
    check(
        file,
        &[
            "OTEL_EXPORTER_PROMETHEUS_PORT=81",
            "WELLHEAD_PROMETHEUS_LISTEN=127.0.0.1:1",
        ],
        "127.0.0.1:1",
    );
}

#[test]
fn a_signals_own_key_wins_over_the_general_one() {
    let settings = |yaml: &str, signal| {
        let otlp = load(yaml, &[], &[]).unwrap().config.otlp;
        format!("{:#?}\n", otlp.settings(signal))
    };
    assert_eq!(settings("otlp: {timeout: 1s}", Signal::Metrics), "None\n");
    let yaml = "
otlp:
  endpoint: http://all:4318
  headers: {authorization: secret, b: c}
  tls: {ca_file: /all.pem}
  traces:
    endpoint: https://traces/v1/x
    compression: gzip
    headers: {own: \"1\"}
    timeout: 3s
    interval: 1s
    insecure: on
    tls: {ca_file: /traces.pem}
";
    expect![[r#"
        Some(
            OtlpSettings {
                endpoint: Base(
                    "http://all:4318",
                ),
                protocol: HttpProtobuf,
                headers: {
                    "authorization": <redacted>,
                    "b": <redacted>,
                },
                compression: None,
                timeout: 10s,
                interval: 60s,
                insecure: false,
                tls: ClientTls {
                    ca_file: Some(
                        "/all.pem",
                    ),
                    cert_file: None,
                    key_file: None,
                },
            },
        )
    "#]]
    .assert_eq(&settings(yaml, Signal::Metrics));
    expect![[r#"
        Some(
            OtlpSettings {
                endpoint: Exact(
                    "https://traces/v1/x",
                ),
                protocol: HttpProtobuf,
                headers: {
                    "own": <redacted>,
                },
                compression: Gzip,
                timeout: 3s,
                interval: 1s,
                insecure: true,
                tls: ClientTls {
                    ca_file: Some(
                        "/traces.pem",
                    ),
                    cert_file: None,
                    key_file: None,
                },
            },
        )
    "#]]
    .assert_eq(&settings(yaml, Signal::Traces));
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let variable = "OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20dTpw==,x-tenant=a";
    let config = load("otlp: {endpoint: http://h:1}", &[variable], &[])
        .unwrap()
        .config;
    let headers = &config.otlp.settings(Signal::Metrics).unwrap().headers;
    assert_eq!(headers["authorization"].expose(), "Basic dTpw==");
    assert_eq!(headers["x-tenant"].expose(), "a");
    for shown in [config.to_yaml().unwrap(), format!("{config:?}")] {
        assert!(
            shown.contains("x-tenant") && !shown.contains("dTpw"),
            "{shown}"
        );
    }
}

#[test]
fn how_metrics_are_told_is_opentelemetrys_to_say() {
    check(
        "otlp: {endpoint: http://h:1, metrics: {temporality: delta}}",
        &[
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=LowMemory",
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=BASE2_exponential_bucket_histogram",
        ],
        &[],
        &[
            "otlp.metrics.temporality",
            "otlp.metrics.histogram_aggregation",
        ],
        &expect![[r#"
            otlp.metrics.temporality = "lowmemory" (otlp.metrics.temporality from OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE)
            otlp.metrics.histogram_aggregation = "base2_exponential_bucket_histogram" (otlp.metrics.histogram_aggregation from OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION)
        "#]],
    );
    // What is not known is told, and is as if it was not set.
    check(
        "otlp: {endpoint: http://h:1}",
        &[
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=sometimes",
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=",
        ],
        &[],
        &[
            "otlp.metrics.temporality",
            "otlp.metrics.histogram_aggregation",
        ],
        &expect![[r#"
            otlp.metrics.temporality = "cumulative" ()
            otlp.metrics.histogram_aggregation = "explicit_bucket_histogram" ()
            warning: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: otlp.metrics.temporality: `sometimes` is not supported; allowed are cumulative, delta, lowmemory; ignored
        "#]],
    );
    // Nobody is told anything.
    check(
        "otlp: {metrics: {temporality: delta, histogram_aggregation: base2_exponential_bucket_histogram}}",
        &[],
        &[],
        &["otlp.metrics.temporality"],
        &expect![[r#"
            otlp.metrics.temporality = "delta" (otlp.metrics.temporality from w.yaml:1:18)
            warning: w.yaml:1:18: otlp.metrics.temporality: has no effect: `otlp.endpoint` is not set
            warning: w.yaml:1:38: otlp.metrics.histogram_aggregation: has no effect: `otlp.endpoint` is not set
        "#]],
    );
    check_errors(
        "otlp: {metrics: {temporality: never}, traces: {temporality: delta}}",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:18: otlp.metrics.temporality: `never` will not do; write one of `cumulative`, `delta`, `lowmemory`
            w.yaml:1:48: otlp.traces.temporality: no such key; did you mean `otlp.metrics.temporality`?
        "#]],
    );
}

#[test]
fn spans_without_a_receiver_are_warned_of() {
    let warnings = |yaml: &str| {
        let loaded = load(yaml, &[], &["traces.tcp=on"]).expect("nothing is wrong");
        let lines = loaded.warnings.iter().map(|warning| format!("{warning}\n"));
        lines.collect::<String>()
    };
    expect![[r#"
        w.yaml:1:10: traces.process: has no effect: spans go out over OTLP only, and `otlp.endpoint` is not set
        --set traces.tcp: has no effect: spans go out over OTLP only, and `otlp.endpoint` is not set
    "#]]
    .assert_eq(&warnings("traces: {process: on}"));
    expect![[r#"
        --set traces.tcp: has no effect: spans go out over OTLP only, and `otlp.endpoint` is not set
    "#]]
    .assert_eq(&warnings("otlp: {metrics: {endpoint: http://h:1}}"));
    expect![""].assert_eq(&warnings("otlp: {endpoint: http://h:1}"));
    assert!(
        warnings("events: {rate_limit: off}")
            .contains("events.rate_limit: has no effect: `events.export` is not `on`")
    );
    expect![""].assert_eq(&warnings("otlp: {traces: {endpoint: http://h:1}}"));
    expect![[r#"
        --set traces.tcp: has no effect: `features.tcp` is `off`
        w.yaml:3:21: traces.sampling.process: has no effect: `traces.process` is not `on`
    "#]]
    .assert_eq(&warnings(
        "otlp: {endpoint: http://h:1}\nfeatures: {tcp: off}\ntraces: {sampling: {process: 0.5}}",
    ));
}

#[test]
fn files_for_tls_where_there_is_none_are_warned_of() {
    let warnings = |yaml: &str| {
        let loaded = load(yaml, &[], &[]).expect("nothing is wrong");
        let lines = loaded.warnings.iter().map(|warning| format!("{warning}\n"));
        lines.collect::<String>()
    };
    expect![[r#"
        w.yaml:6:10: events.kinds: has no effect: `events.export` is not `on`
        w.yaml:7:1: series_limit: so many series take up to `90000KiB`, more than half of `memory_budget`, `128MiB`: raise that too
        w.yaml:8:1: series_limit_per_metric: has no effect: `series_limit` is `90000`
        w.yaml:3:9: otlp.tls.ca_file: has no effect: the endpoint is no `https` URL
        w.yaml:5:11: otlp.traces.tls.cert_file: has no effect: the endpoint is no `https` URL
        w.yaml:5:26: otlp.traces.tls.key_file: has no effect: the endpoint is no `https` URL
    "#]]
    .assert_eq(&warnings(
        "otlp:\n  endpoint: http://h:1\n  tls: {ca_file: /ca}\n  traces:\n    tls: {cert_file: /c, key_file: /k}\nevents: {kinds: [tcp.close]}\nseries_limit: 90000\nseries_limit_per_metric: 100000\n",
    ));
    expect![""].assert_eq(&warnings(
        "otlp:\n  endpoint: http://h:1\n  tls: {ca_file: /ca}\n  traces:\n    endpoint: https://t:1\n    tls: {cert_file: /c, key_file: /k}\nevents: {kinds: [tcp.close], export: on}\n",
    ));
}

#[test]
fn a_certificate_and_its_key_go_together() {
    let refused = |yaml: &str| load(yaml, &[], &[]).unwrap_err().to_string();
    expect!["w.yaml:3:9: otlp.tls.cert_file: is of no use alone; set `otlp.tls.key_file` too"]
    .assert_eq(&refused(
        "otlp:\n  endpoint: https://h:1\n  tls: {cert_file: /c}\n  logs:\n    tls: {key_file: /k}\n  traces:\n    endpoint: https://t:1\n    tls: {key_file: /k}\n",
    ));
}
