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
        &expect![[r#"
            w.yaml:1:1: memory_budget: `lots` is no size; write a whole number with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB` or, for bytes, nothing, such as `128MiB`
            w.yaml:2:1: snapshot_interval: `10` has no unit; write `10s` for seconds or `10ms` for milliseconds
            w.yaml:4:3: log.level: `loud` will not do; write one of `error`, `warn`, `info`, `debug`, `trace`
            w.yaml:5:3: log.colour: no such key; allowed in `log` are level, format, export
            w.yaml:6:21: features.tcp: `maybe` is neither `on` nor `off`
            w.yaml:7:1: otlp: is a section; set one of its keys: endpoint, protocol, headers, compression, timeout, interval, queue_size, spill, insecure, tls, metrics, traces, logs
            w.yaml:10:17: peers.cidrs[0].cidr: `10.0.0.0/33` is no CIDR block; write an address and a prefix length such as `10.0.0.0/8` or `2001:db8::/32`
            w.yaml:12:8: peers.cidrs[2].nme: unknown field `nme`, expected `name` or `cidr`
            w.yaml:13:7: peers.cidrs[3]: missing field `name`
            w.yaml:14:17: peers.cidrs[4].cidr: `10.1.0.0/8` has bits set beyond its prefix; write `10.0.0.0/8`
            WELLHEAD_SNAPSHOT_INTERVL: no such variable; did you mean `WELLHEAD_SNAPSHOT_INTERVAL`?
            WELLHEAD_SOMETHING_ELSE: no such variable; `wellhead config schema` lists all keys
            WELLHEAD_SHUTDOWN_GRACE: shutdown_grace: `5` has no unit; write `5s` for seconds or `5ms` for milliseconds
            --set no.such: no such key; allowed are node_name, memory_budget, shutdown_grace, features, snapshot_interval, kubernetes, cluster_name, resource_attributes, log, peers, series_limit, series_limit_per_metric, series_idle_timeout, otlp, prometheus, traces, events, dns, rings, program_stats, process, pins, runtime_directory, resolver
            --set otlp: is a section; set one of its keys: endpoint, protocol, headers, compression, timeout, interval, queue_size, spill, insecure, tls, metrics, traces, logs
            --set series_limit: invalid value: string "many", expected a whole number up to 4294967295
        "#]],
    );
}

#[test]
fn unknown_keys_get_a_hint() {
    check_errors(
        "memory_bugdet: 1GiB\nlisten: 0.0.0.0:1\notlp: {metrics: {endpiont: x}}\nidentity: pod\notlp.endpoint: x\n\"\": 1\n",
        &[],
        &["features.tpc=on", "log=debug"],
        &expect![[r#"
            w.yaml:1:1: memory_bugdet: no such key; did you mean `memory_budget`?
            w.yaml:2:1: listen: no such key; did you mean `prometheus.listen`?
            w.yaml:3:18: otlp.metrics.endpiont: no such key; did you mean `otlp.metrics.endpoint`?
            w.yaml:4:1: identity: no such key; allowed are node_name, memory_budget, shutdown_grace, features, snapshot_interval, kubernetes, cluster_name, resource_attributes, log, peers, series_limit, series_limit_per_metric, series_idle_timeout, otlp, prometheus, traces, events, dns, rings, program_stats, process, pins, runtime_directory, resolver
            w.yaml:5:1: otlp.endpoint: no such key; write the keys of a section below its name
            w.yaml:6:1: no such key; allowed are node_name, memory_budget, shutdown_grace, features, snapshot_interval, kubernetes, cluster_name, resource_attributes, log, peers, series_limit, series_limit_per_metric, series_idle_timeout, otlp, prometheus, traces, events, dns, rings, program_stats, process, pins, runtime_directory, resolver
            --set features.tpc: no such key; did you mean `features.tcp`?
            --set log: is a section; set one of its keys: level, format, export
        "#]],
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
        &expect![[r#"
            w.yaml:1:1: memory_budget: invalid type: sequence, expected a size such as `128MiB`
            w.yaml:2:1: resource_attributes: must be a map of names and texts
            w.yaml:3:9: peers.cidrs: must be a list
            w.yaml:4:1: log: is a section; set one of its keys: level, format, export
            w.yaml:5:1: resource_attributes.x: no such key; write the keys of a section below its name
            w.yaml:6:1: cluster_name: invalid type: map, expected a string
            w.yaml:7:1: series_limit: invalid value: string "1.5", expected a whole number up to 4294967295
            WELLHEAD_PEERS_CIDRS: peers.cidrs: no valid YAML: unclosed bracket '['
            WELLHEAD_RESOURCE_ATTRIBUTES: resource_attributes: an entry has no `=`; write `key=value,key=value`
            WELLHEAD_OTLP_HEADERS: otlp.headers.a: invalid type: sequence, expected a string
        "#]],
    );
}

#[test]
fn something_must_be_wanted() {
    check_errors(
        "log: {level: info}\nfeatures:\n  process: off\n",
        &[],
        &[
            "features.tcp=off",
            "features.udp=off",
            "features.dns=off",
            "features.drops=off",
        ],
        &expect![[r#"
            w.yaml:2:1: features: nothing would be captured; at least one of `features.process`, `features.tcp`, `features.udp`, `features.dns` and `features.drops` must be `on`
        "#]],
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
        &expect![[r#"
            w.yaml:2:1: memory_budget: `16MiB` is too little; at least `64MiB`
            w.yaml:3:1: snapshot_interval: `999ms` is too little; at least `1s`
            w.yaml:4:1: series_limit: `99` is too little; at least `100`
            w.yaml:5:1: series_idle_timeout: `0s` is too little; at least `1s`
            w.yaml:6:1: cluster_name: must not be empty; leave it out
            w.yaml:7:1: node_name: must not be empty
            w.yaml:8:1: runtime_directory: `run` is not absolute; it must start with `/`
            w.yaml:9:23: resource_attributes.: an attribute's key must not be empty
            w.yaml:10:29: rings.identity_size: `5000` will not do; a power of two from the page size, `4KiB`, to `2GiB`
            w.yaml:10:50: rings.process_size: `2KiB` will not do; a power of two from the page size, `4KiB`, to `2GiB`
            w.yaml:10:70: rings.network_size: `8GiB` will not do; a power of two from the page size, `4KiB`, to `2GiB`
            w.yaml:11:8: otlp.interval: `99ms` is too little; at least `100ms`
            w.yaml:11:24: otlp.timeout: `0s` is too little; at least `1ms`
            w.yaml:11:36: otlp.queue_size: `0` is too little; at least `64KiB`
            w.yaml:11:60: otlp.traces.timeout: `0s` is too little; at least `1ms`
            w.yaml:11:73: otlp.traces.interval: `1us` is too little; at least `100ms`
            w.yaml:11:88: otlp.traces.queue_size: `0` is too little; at least `64KiB`
            w.yaml:12:9: peers.cidrs: a block's name must not be empty
            WELLHEAD_RINGS_DRAIN_INTERVAL: rings.drain_interval: `500us` is out of range; from `1ms` to `1s`
        "#]],
    );
}

#[test]
fn rings_stay_within_a_quarter_of_the_budget() {
    check_errors(
        "memory_budget: 64MiB\nrings: {network_size: 16MiB}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:2:9: rings.network_size: the rings take `17792KiB` together; at most a quarter of `memory_budget`, which is `64MiB`
        "#]],
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
fn one_refused_key_is_one_problem() {
    check_errors(
        "node_name: {a: b}\nmemory_budget: 1Gi\nrings: {network_size: 64MiB}\npeers: {cidrs: [{name: a, cidr: x}, 10.0.0.0/8]}\n",
        &[],
        &[],
        &expect![[r#"
            w.yaml:1:1: node_name: invalid type: map, expected a string
            w.yaml:2:1: memory_budget: `1Gi` is no size; write a whole number with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB` or, for bytes, nothing, such as `128MiB`
            w.yaml:4:27: peers.cidrs[0].cidr: `x` is no CIDR block; write an address and a prefix length such as `10.0.0.0/8` or `2001:db8::/32`
            w.yaml:4:37: peers.cidrs[1]: invalid type: string "10.0.0.0/8", expected an entry such as `{name: office, cidr: 192.0.2.0/24}`
        "#]],
    );
}

#[test]
fn what_is_not_built_cannot_be_turned_on() {
    check_errors(
        "features: {udp: on, tls: on}\n",
        &["WELLHEAD_FEATURES_L7=true"],
        &["traces.l7=on"],
        &expect![[r#"
            w.yaml:1:21: features.tls: is not built in this version; only `off` is allowed
            WELLHEAD_FEATURES_L7: features.l7: is not built in this version; only `off` is allowed
            --set traces.l7: is not built in this version; only `off` is allowed
        "#]],
    );
}

#[test]
fn endpoints_are_urls() {
    let good = |yaml: &str| assert!(load(yaml, &[], &[]).is_ok(), "{yaml}");
    good("otlp: {endpoint: http://collector:4318}");
    good("otlp: {endpoint: https://collector.example/base/}");
    good("otlp: {endpoint: \"http://[::1]:4318\"}");
    good("otlp: {endpoint: collector:4317, protocol: grpc}");
    good("otlp: {endpoint: \"http://[::1]\"}");
    for endpoint in [
        "http://c:99999",
        "http://c:0",
        "http://c:",
        "http://[::1]:70000",
    ] {
        let refused = load(&format!("otlp: {{endpoint: \"{endpoint}\"}}"), &[], &[]).err();
        let said = refused.expect("an error").to_string();
        assert!(said.contains("has no port from 1 to 65535"), "{said}");
    }
    good("otlp: {endpoint: http://c:4318, metrics: {endpoint: c:4317, protocol: grpc}}");
    let bad = |yaml: &str, expected: &Expect| check_errors(yaml, &[], &[], expected);
    bad(
        "otlp: {endpoint: collector:4318}",
        &expect![[r#"
        w.yaml:1:8: otlp.endpoint: `collector:4318` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`
    "#]],
    );
    bad(
        "otlp: {endpoint: collector, protocol: grpc}",
        &expect![[r#"
            w.yaml:1:8: otlp.endpoint: `collector` is no URL; with `grpc` write `http://host:4317`, `https://host:4317` or `host:4317`
        "#]],
    );
    bad(
        "otlp: {endpoint: ftp://collector, protocol: grpc}",
        &expect![[r#"
            w.yaml:1:8: otlp.endpoint: `ftp://collector` is no URL; with `grpc` write `http://host:4317`, `https://host:4317` or `host:4317`
        "#]],
    );
    bad(
        "otlp: {endpoint: \"http://a b\"}",
        &expect![[r#"
        w.yaml:1:8: otlp.endpoint: `http://a b` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`
    "#]],
    );
    bad(
        "otlp: {endpoint: \"http://\"}",
        &expect![[r#"
        w.yaml:1:8: otlp.endpoint: `http://` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`
    "#]],
    );
    bad(
        "otlp: {endpoint: c:4317, protocol: grpc, traces: {protocol: http/protobuf}}",
        &expect![[r#"
            w.yaml:1:8: otlp.endpoint: `c:4317` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`
        "#]],
    );
    bad(
        "otlp: {endpoint: http://user:password@h:4318}",
        &expect![[r#"
            w.yaml:1:8: otlp.endpoint: must not hold a user or password; use `otlp.headers`, whose values are never shown
        "#]],
    );
    bad(
        "otlp: {traces: {endpoint: /v1/traces}}",
        &expect![[r#"
        w.yaml:1:17: otlp.traces.endpoint: `/v1/traces` is no URL; with `http/protobuf` write `http://host:4318` or `https://host`
    "#]],
    );
}

#[test]
fn headers_are_valid_in_http_and_not_repeated() {
    check_errors(
        "otlp: {headers: {\"a b\": \"1\", ok: \"hidden\\n\"}, metrics: {headers: {\"\": secret}}}",
        &["OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=secret%zz"],
        &[],
        &expect![[r#"
            w.yaml:1:18: otlp.headers.a b: `a b` is no header name; allowed are letters, digits and `-`, among others (RFC 9110 section 5.6.2)
            w.yaml:1:30: otlp.headers.ok: the value is no header value; allowed are visible ASCII characters and spaces
            w.yaml:1:67: otlp.metrics.headers.: `` is no header name; allowed are letters, digits and `-`, among others (RFC 9110 section 5.6.2)
            OTEL_EXPORTER_OTLP_TRACES_HEADERS: otlp.traces.headers: an entry is not percent-encoded UTF-8; write `%` as `%25`
        "#]],
    );
}

#[test]
fn broken_files() {
    let check = |content: &[u8], expected: &Expect| {
        let error = load_bytes(content.to_vec(), &[], &[]).expect_err("broken");
        expected.assert_eq(&format!("{error}\n"));
    };
    check(
        b"a: [1\n",
        &expect![[r#"
            w.yaml:1:1: a: no such key; allowed are node_name, memory_budget, shutdown_grace, features, snapshot_interval, kubernetes, cluster_name, resource_attributes, log, peers, series_limit, series_limit_per_metric, series_idle_timeout, otlp, prometheus, traces, events, dns, rings, program_stats, process, pins, runtime_directory, resolver
            w.yaml:1:4: no valid YAML: unclosed bracket '['
        "#]],
    );
    check(
        b"log:\n\tlevel: info\n",
        &expect![[r#"
        w.yaml:2:2: no valid YAML: tabs disallowed within this context (block indentation)
    "#]],
    );
    check(
        b"log: \xff\n",
        &expect![[r#"
        w.yaml: is not UTF-8 from byte 5
    "#]],
    );
    check(
        b"- a\n",
        &expect![[r#"
        w.yaml:1:1: must hold keys with values, such as `memory_budget: 128MiB`
    "#]],
    );
    check(
        b"text",
        &expect![[r#"
        w.yaml:1:1: must hold keys with values, such as `memory_budget: 128MiB`
    "#]],
    );
    check(
        b"log: {level: info}\n---\nlog: {level: info}\n",
        &expect![[r#"
            w.yaml:2:1: only one document is allowed in a file
        "#]],
    );
    check(
        b"log: {level: info}\nlog: {level: debug}\n",
        &expect![[r#"
            w.yaml:2:1: `log` is given twice
        "#]],
    );
    check(
        b"log: &a {level: info}\nkubernetes: *a\n",
        &expect![[r#"
            w.yaml:2:13: aliases are not supported; write the value out
        "#]],
    );
    check(
        b"log: *nothing\n",
        &expect![[r#"
            w.yaml:1:6: no valid YAML: while parsing node, found unknown anchor; put a text that begins with `*` in quotes
        "#]],
    );
    check(
        b"? {a: b}\n: c\n",
        &expect![[r#"
        w.yaml:1:3: a key must be plain text
    "#]],
    );
    check(
        b"cluster_name: !!str 1\n",
        &expect![[r#"
        w.yaml:1:21: tags are not supported; remove it
    "#]],
    );
    check(
        b"\"a\\nb\": 1\n",
        &expect![[r#"
            w.yaml:1:1: a\nb: no such key; allowed are node_name, memory_budget, shutdown_grace, features, snapshot_interval, kubernetes, cluster_name, resource_attributes, log, peers, series_limit, series_limit_per_metric, series_idle_timeout, otlp, prometheus, traces, events, dns, rings, program_stats, process, pins, runtime_directory, resolver
        "#]],
    );
    check(
        "[".repeat(100_000).as_bytes(),
        &expect![[r#"
        w.yaml:1:33: no valid YAML: recursion limit exceeded
    "#]],
    );
}

#[test]
fn problems_beyond_a_hundred_are_left_out() {
    let keys: Vec<_> = (0..5_000).map(|n| format!("unknown_{n}: 1\n")).collect();
    let yaml = keys.concat();
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
        if let Err(error) = load_bytes(content, &[], &[]) {
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
        if let Err(error) = load_bytes(Vec::new(), &[(name, text)], &sets) {
            prop_assert_eq!(error.to_string().lines().count(), error.problems.len());
        }
    }
}
