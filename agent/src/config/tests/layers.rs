//! Which layer wins, and what values come to.

use expect_test::expect;

use super::*;
use crate::config::{ByteSize, Config, Toggle};

#[test]
fn nothing_at_all_gives_the_defaults() {
    let loaded = load("", &[], &[]).unwrap();
    let defaults = Config {
        node_name: "host".to_owned(),
        ..Config::default()
    };
    assert_eq!(loaded.config, defaults);
    assert_eq!(
        load("# only a comment\n---\n", &[], &[]).unwrap().config,
        defaults
    );
    assert_eq!(
        load("otlp:\ncluster_name: ~\nlog: null\n", &[], &[])
            .unwrap()
            .config,
        defaults
    );
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let yaml = load("", &[], &[]).unwrap().config.to_yaml().unwrap();
    expect![[r#"
        node_name: host
        memory_budget: 128MiB
        shutdown_grace: 5s
        features:
          process: on
          tcp: on
          udp: on
          dns: on
          drops: on
          l7: off
          tls: off
        snapshot_interval: 10s
        kubernetes:
          mode: auto
          namespaces:
            include: []
            exclude: []
          labels: []
          annotations: []
          well_known_labels: on
        log:
          level: info
          format: text
          export: off
        peers:
          addresses: name
          kubernetes: off
          cidrs: []
          conntrack: auto
        series_limit: 20000
        series_limit_per_metric: 5000
        series_idle_timeout: 10m
        otlp:
          protocol: http/protobuf
          compression: none
          timeout: 10s
          queue_size: 2MiB
          spill:
            size: 256MiB
          insecure: off
          metrics:
            temporality: cumulative
            histogram_aggregation: explicit_bucket_histogram
        prometheus:
          listen: 127.0.0.1:9464
          status: auto
          scope_labels: off
        traces:
          process: off
          tcp: off
          l7: off
          agent: off
          slow_connection: 1s
          sampling:
            process: 1.0
            slow_process: 10s
        events:
          kinds: []
          rate_limit: 100
        dns:
          ports:
          - "53"
          question_name: off
        rings:
          identity_size: 256KiB
          process_size: 2MiB
          network_size: 4MiB
          payload_size: 512KiB
          drain_interval: 20ms
        program_stats: off
        process:
          args: redacted
        pins:
          keep: on
          directory: /sys/fs/bpf/wellhead
        runtime_directory: /run/wellhead
        resolver:
          listen: 0.0.0.0:7443
          http_listen: 0.0.0.0:9465
    "#]]
    .assert_eq(&yaml);
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let yaml = "snapshot_interval: 20s\nmemory_budget: 64MiB\ncluster_name: c\nnode_name: n\n";
    check(
        yaml,
        &[
            "WELLHEAD_SNAPSHOT_INTERVAL=30s",
            "WELLHEAD_MEMORY_BUDGET=96MiB",
            "WELLHEAD_CLUSTER_NAME=",
        ],
        &["snapshot_interval=40s"],
        &[
            "snapshot_interval",
            "memory_budget",
            "cluster_name",
            "node_name",
        ],
        &expect![[r#"
            snapshot_interval = "40s" (snapshot_interval from --set snapshot_interval)
            memory_budget = "96MiB" (memory_budget from WELLHEAD_MEMORY_BUDGET)
            cluster_name = "c" (cluster_name from w.yaml:3:1)
            node_name = "n" (node_name from w.yaml:4:1)
        "#]],
    );
}

#[test]
fn the_node_is_called_as_kubernetes_calls_it() {
    check(
        "",
        &[],
        &[],
        &["node_name"],
        &expect![[r#"
            node_name = "host" (node_name from host name)
        "#]],
    );
    check(
        "",
        &["NODE_NAME=kube"],
        &[],
        &["node_name"],
        &expect![[r#"
            node_name = "kube" (node_name from NODE_NAME)
        "#]],
    );
    check(
        "node_name: file",
        &["NODE_NAME=kube"],
        &[],
        &["node_name"],
        &expect![[r#"
            node_name = "file" (node_name from w.yaml:1:1)
        "#]],
    );
}

#[test]
fn maps_are_joined_and_lists_replaced() {
    let yaml = "
resource_attributes: {team: core, tier: \"1\"}
peers:
  cidrs:
    - {name: office, cidr: 192.0.2.0/24}
    - {name: lab, cidr: 2001:db8::/32}
";
    check(
        yaml,
        &[
            "WELLHEAD_RESOURCE_ATTRIBUTES=tier=2, zone=a=b",
            "WELLHEAD_PEERS_CIDRS=[{name: all, cidr: 0.0.0.0/0}]",
        ],
        &["resource_attributes.k8s.x.y=z"],
        &["resource_attributes", "peers.cidrs"],
        &expect![[r#"
            resource_attributes = {"k8s.x.y":"z","team":"core","tier":"2","zone":"a=b"} (resource_attributes.k8s.x.y from --set resource_attributes.k8s.x.y, resource_attributes.team from w.yaml:2:23, resource_attributes.tier from WELLHEAD_RESOURCE_ATTRIBUTES, resource_attributes.zone from WELLHEAD_RESOURCE_ATTRIBUTES)
            peers.cidrs = [{"name":"all","cidr":"0.0.0.0/0"}] (peers.cidrs from WELLHEAD_PEERS_CIDRS)
        "#]],
    );
    check(
        yaml,
        &["WELLHEAD_RESOURCE_ATTRIBUTES={tier: 3}"],
        &["resource_attributes=a=b"],
        &["resource_attributes", "peers.cidrs"],
        &expect![[r#"
            resource_attributes = {"a":"b","team":"core","tier":"3"} (resource_attributes.a from --set resource_attributes, resource_attributes.team from w.yaml:2:23, resource_attributes.tier from WELLHEAD_RESOURCE_ATTRIBUTES)
            peers.cidrs = [{"name":"office","cidr":"192.0.2.0/24"},{"name":"lab","cidr":"2001:db8::/32"}] (peers.cidrs from w.yaml:4:3)
        "#]],
    );
}

#[test]
fn texts_stay_as_they_were_written() {
    let yaml = "cluster_name: 1.10\nnode_name: on\nresource_attributes: {version: 0x10, empty: \"\", yes: no}\n";
    check(
        yaml,
        &[],
        &[],
        &["cluster_name", "node_name", "resource_attributes"],
        &expect![[r#"
            cluster_name = "1.10" (cluster_name from w.yaml:1:1)
            node_name = "on" (node_name from w.yaml:2:1)
            resource_attributes = {"empty":"","version":"0x10","yes":"no"} (resource_attributes.empty from w.yaml:3:38, resource_attributes.version from w.yaml:3:23, resource_attributes.yes from w.yaml:3:49)
        "#]],
    );
}

#[test]
fn yaml_1_1_booleans_are_switches() {
    let yaml = "
features: {process: false, tcp: True}
kubernetes: {mode: false}
prometheus: {status: true}
process: {args: off}
program_stats: on
";
    check(
        yaml,
        &["WELLHEAD_OTLP_INSECURE=TRUE"],
        &[],
        &[
            "features",
            "kubernetes",
            "prometheus.status",
            "process",
            "program_stats",
            "otlp.insecure",
        ],
        &expect![[r#"
            features = {"process":"off","tcp":"on","udp":"on","dns":"on","drops":"on","l7":"off","tls":"off"} (features.process from w.yaml:2:12, features.tcp from w.yaml:2:28)
            kubernetes = {"mode":"off","namespaces":{"include":[],"exclude":[]},"labels":[],"annotations":[],"well_known_labels":"on"} (kubernetes.mode from w.yaml:3:14)
            prometheus.status = "on" (prometheus.status from w.yaml:4:14)
            process = {"args":"off"} (process.args from w.yaml:5:11)
            program_stats = "on" (program_stats from w.yaml:6:1)
            otlp.insecure = "on" (otlp.insecure from WELLHEAD_OTLP_INSECURE)
        "#]],
    );
}

#[test]
fn numbers_come_from_any_layer() {
    check(
        "series_limit: 500\notlp: {queue_size: \"65536\"}",
        &["WELLHEAD_OTLP_TRACES_QUEUE_SIZE=1MiB"],
        &["rings.process_size=65536"],
        &[
            "series_limit",
            "otlp.queue_size",
            "otlp.traces.queue_size",
            "rings.process_size",
        ],
        &expect![[r#"
            series_limit = 500 (series_limit from w.yaml:1:1)
            otlp.queue_size = "64KiB" (otlp.queue_size from w.yaml:2:8)
            otlp.traces.queue_size = "1MiB" (otlp.traces.queue_size from WELLHEAD_OTLP_TRACES_QUEUE_SIZE)
            rings.process_size = "64KiB" (rings.process_size from --set rings.process_size)
        "#]],
    );
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    use crate::config::catalogue::{Shape, keys};
    for entry in keys() {
        let value = match entry.shape {
            Shape::Map => "a=b",
            Shape::List if entry.schema["items"]["type"] == "string" => "[a]",
            Shape::List => "[{name: a, cidr: ::/0}]",
            Shape::Text | Shape::Section => match entry.schema.get("default") {
                Some(serde_json::Value::String(text)) if !text.is_empty() => text,
                _ => "x",
            },
        };
        let variable = format!("{}={value}", entry.variable());
        let origin = match load("", &[&variable], &[]) {
            Ok(loaded) => loaded
                .sources
                .iter()
                .find(|(path, _)| path.starts_with(&entry.path))
                .map(|(_, origin)| origin.to_string()),
            // A placeholder will not do for every key; what matters is that the key was found.
            Err(error) => error
                .problems
                .iter()
                .find(|problem| problem.key.starts_with(&entry.path))
                .map(|problem| problem.origin.to_string()),
        };
        assert_eq!(
            origin.as_deref(),
            Some(entry.variable().as_str()),
            "{variable}"
        );
    }
}

#[test]
fn the_status_is_served_to_this_machine_only_unless_asked_for() {
    let check = |yaml: &str, expected: bool| {
        assert_eq!(
            load(yaml, &[], &[])
                .unwrap()
                .config
                .prometheus
                .serves_status(),
            expected,
            "{yaml}"
        );
    };
    check("", true);
    check("prometheus: {listen: \"[::1]:1\"}", true);
    check("prometheus: {listen: 0.0.0.0:9464}", false);
    check("prometheus: {listen: 0.0.0.0:9464, status: on}", true);
    check("prometheus: {status: off}", false);
}

#[test]
fn what_is_printed_loads_again() {
    let yaml = "cluster_name: \"on\"\nresource_attributes: {a: \"1\", b: \": #\"}\nlog: {format: json}\nkubernetes: {labels: ['*', 'a/*']}\nrings: {process_size: 4KiB}\n";
    let config = load(yaml, &[], &[]).unwrap().config;
    let printed = config.to_yaml().unwrap();
    let again = load(&printed, &[], &[]).unwrap().config;
    assert_eq!(again.to_yaml().unwrap(), printed);
    assert_eq!(again.cluster_name.as_deref(), Some("on"));
    assert_eq!(again.rings.process_size, Some(ByteSize::from_kib(4)));
    assert_eq!(again.resource_attributes, config.resource_attributes);
    assert_eq!(again.kubernetes.labels, config.kubernetes.labels);
    assert_eq!(again.program_stats, Toggle::Off);
}

#[test]
fn the_file_is_read_from_where_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.yaml");
    std::fs::write(&path, "cluster_name: named\n").unwrap();
    let named = |loaded: Result<Loaded, ConfigError>| loaded.unwrap().config.cluster_name;
    let none: [(&str, &str); 0] = [];
    assert_eq!(
        named(crate::config::load(Some(&path), none, &[])).as_deref(),
        Some("named")
    );
    let variable = ("WELLHEAD_CONFIG", path.to_str().unwrap());
    assert_eq!(
        named(crate::config::load(None, [variable], &[])).as_deref(),
        Some("named")
    );
    assert_eq!(named(crate::config::load(None, none, &[])), None);
    let missing = directory.path().join("missing.yaml");
    let error = crate::config::load(Some(&missing), none, &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "{}: cannot be read: No such file or directory (os error 2)",
            missing.display()
        )
    );
}
