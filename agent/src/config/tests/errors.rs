//! What is said of wrong configurations.

use expect_test::expect;
use proptest::prelude::*;

use super::*;

#[test]
fn all_problems_are_reported_with_their_place() {
    check_errors(
        "memory_budget: lots
snapshot_interval: 10
log:
  level: loud
  colour: red
features: {udp: on, tcp: maybe}
otlp: http://collector:4318
peers:
  cidrs:
    - {name: a, cidr: 10.0.0.0/33}
    - {name: b, cidr: 10.0.0.0/8}
    - {nme: c, cidr: 10.0.0.0/8}
    - {cidr: 10.0.0.0/8}
    - {name: d, cidr: 10.1.0.0/8}
",
        &[
            "WELLHEAD_SHUTDOWN_GRACE=5",
            "WELLHEAD_SNAPSHOT_INTERVL=1s",
            "WELLHEAD_SOMETHING_ELSE=1",
        ],
        &["series_limit=many", "no.such=1", "otlp=x"],
        expect![[r#""#]],
    );
}

#[test]
fn unknown_keys_get_a_hint() {
    check_errors(
        "memory_bugdet: 1GiB\nlisten: 0.0.0.0:1\notlp: {metrics: {endpiont: x}}\nidentity: pod\notlp.endpoint: x\n\"\": 1\n",
        &[],
        &["features.tpc=on", "log=debug"],
        expect![[r#""#]],
    );
}

#[test]
fn shapes_that_will_not_do() {
    check_errors(
        "memory_budget: [1]\nresource_attributes: a=b\npeers: {cidrs: {name: a}}\nlog: [debug]\nresource_attributes.x: 1\ncluster_name: {a: b}\nseries_limit: 1.5\n",
        &[
            "WELLHEAD_PEERS_CIDRS=[",
            "WELLHEAD_RESOURCE_ATTRIBUTES=x",
            "WELLHEAD_OTLP_HEADERS={a: [b]}",
        ],
        &[],
        expect![[r#""#]],
    );
}

#[test]
fn limits_hold() {
    check_errors(
        "
memory_budget: 16MiB
snapshot_interval: 999ms
series_limit: 99
series_idle_timeout: 0
cluster_name: \"\"
node_name: \"\"
runtime_directory: run
resource_attributes: {\"\": a}
rings: {drain_interval: 2s, identity_size: 5000, process_size: 2KiB, network_size: 8GiB}
otlp: {interval: 99ms, timeout: 0, queue_size: 0, traces: {timeout: 0s, interval: 1us, queue_size: 0}}
peers: {cidrs: [{name: \"\", cidr: ::/0}]}
",
        &["WELLHEAD_RINGS_DRAIN_INTERVAL=500us"],
        &[],
        expect![[r#""#]],
    );
}

#[test]
fn rings_stay_within_a_quarter_of_the_budget() {
    check_errors(
        "memory_budget: 32MiB\nrings: {network_size: 8MiB}\n",
        &[],
        &[],
        expect![[r#""#]],
    );
    assert!(
        load(
            "memory_budget: 64MiB\nrings: {network_size: 8MiB}\n",
            &[],
            &[]
        )
        .is_ok()
    );
}

#[test]
fn what_is_not_built_cannot_be_turned_on() {
    check_errors(
        "features: {udp: on, dns: on, drops: on, tls: on}\n",
        &["WELLHEAD_FEATURES_L7=true"],
        &["traces.l7=on"],
        expect![[r#""#]],
    );
}

#[test]
fn endpoints_are_urls() {
    let good = |yaml: &str| assert!(load(yaml, &[], &[]).is_ok(), "{yaml}");
    good("otlp: {endpoint: http://collector:4318}");
    good("otlp: {endpoint: https://collector.example/base/}");
    good("otlp: {endpoint: \"http://[::1]:4318\"}");
    good("otlp: {endpoint: collector:4317, protocol: grpc}");
    good("otlp: {endpoint: http://c:4318, metrics: {endpoint: c:4317, protocol: grpc}}");
    let bad = |yaml: &str, expected| check_errors(yaml, &[], &[], expected);
    bad("otlp: {endpoint: collector:4318}", expect![[r#""#]]);
    bad(
        "otlp: {endpoint: collector, protocol: grpc}",
        expect![[r#""#]],
    );
    bad(
        "otlp: {endpoint: ftp://collector, protocol: grpc}",
        expect![[r#""#]],
    );
    bad("otlp: {endpoint: \"http://a b\"}", expect![[r#""#]]);
    bad("otlp: {endpoint: \"http://\"}", expect![[r#""#]]);
    bad(
        "otlp: {endpoint: c:4317, protocol: grpc, traces: {protocol: http/protobuf}}",
        expect![[r#""#]],
    );
    bad("otlp: {traces: {endpoint: /v1/traces}}", expect![[r#""#]]);
}

#[test]
fn headers_are_valid_in_http_and_not_repeated() {
    check_errors(
        "otlp: {headers: {\"a b\": \"1\", ok: \"hidden\\n\"}, metrics: {headers: {\"\": secret}}}",
        &["OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=secret%zz"],
        &[],
        expect![[r#""#]],
    );
}

#[test]
fn broken_files() {
    let check = |content: &[u8], expected: Expect| {
        let error = load_bytes(content.to_vec(), Vec::new(), &[]).expect_err("broken");
        expected.assert_eq(&format!("{error}\n"));
    };
    check(b"a: [1\n", expect![[r#""#]]);
    check(b"log:\n\tlevel: info\n", expect![[r#""#]]);
    check(b"log: \xff\n", expect![[r#""#]]);
    check(b"- a\n", expect![[r#""#]]);
    check(b"text", expect![[r#""#]]);
    check(
        b"log: {level: info}\n---\nlog: {level: info}\n",
        expect![[r#""#]],
    );
    check(
        b"log: {level: info}\nlog: {level: debug}\n",
        expect![[r#""#]],
    );
    check(b"log: &a {level: info}\nkubernetes: *a\n", expect![[r#""#]]);
    check(b"log: *nothing\n", expect![[r#""#]]);
    check(b"? {a: b}\n: c\n", expect![[r#""#]]);
    check(b"cluster_name: !!str 1\n", expect![[r#""#]]);
    check(b"\"a\\nb\": 1\n", expect![[r#""#]]);
    check("[".repeat(100_000).as_bytes(), expect![[r#""#]]);
}

#[test]
fn problems_beyond_a_hundred_are_left_out() {
    let yaml: String = (0..5_000).map(|n| format!("unknown_{n}: 1\n")).collect();
    assert_eq!(load(&yaml, &[], &[]).unwrap_err().problems.len(), 100);
    let blocks: String = (0..5_000).map(|_| "{name: a, cidr: x},").collect();
    assert_eq!(
        load(&format!("peers: {{cidrs: [{blocks}]}}"), &[], &[])
            .unwrap_err()
            .problems
            .len(),
        100
    );
}

/// Texts that look enough like configuration to get past the first check.
fn almost_yaml() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        "[a-z_.]{0,8}",
        proptest::sample::select(vec![
            "otlp",
            "features",
            "peers",
            "cidrs",
            "headers",
            "rings",
            "memory_budget",
            "tcp"
        ])
        .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        "[0-9]{1,3}(s|ms|MiB)?",
        "[\\[\\]{}&*!|>'\"%@`,:? a-z-]{0,12}",
        "\\PC{0,8}"
    ];
    let line = ("( ){0,6}(- )?", key, value)
        .prop_map(|(indent, key, value)| format!("{indent}{key}: {value}\n"));
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_file_is_loaded_or_refused(content: Vec<u8>) {
        if let Err(error) = load_bytes(content, Vec::new(), &[]) {
            prop_assert!(!error.problems.is_empty());
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused(yaml in almost_yaml()) {
        if let Err(error) = load(&yaml, &[], &[]) {
            prop_assert_eq!(error.to_string().lines().count(), error.problems.len());
        }
    }

    #[test]
    fn any_variable_and_flag_is_taken_or_refused(
        name in "(WELLHEAD|OTEL)_(OTLP_HEADERS|PEERS_CIDRS|SERIES_LIMIT|[A-Z_]{0,9})",
        key in "(otlp\\.headers\\.|peers\\.cidrs|[a-z.]{0,9})",
        text in "\\PC{0,16}",
    ) {
        let sets = [(key, text.clone())];
        if let Err(error) = load_bytes(Vec::new(), vec![(name, text)], &sets) {
            prop_assert_eq!(error.to_string().lines().count(), error.problems.len());
        }
    }
}
