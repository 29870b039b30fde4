//! `wellhead doctor`.

use serde_json::Value;

use crate::exit_codes::{POWERLESS, after};
use crate::support::{
    Agent, Finished, Need, Pins, Receiver, finish, ready, refused, text, wellhead, wrapped,
};

fn doctor(wrapper: &[&str], arguments: &[&str]) -> Finished {
    let mut words = vec!["doctor", "--set", "kubernetes.mode=off"];
    words.extend(arguments);
    finish(&mut wrapped(wrapper, &words))
}

/// Capabilities a feature needs.
fn needed(feature: &Value) -> Value {
    match text(feature, "feature") {
        "conntrack" => serde_json::json!(["CAP_NET_ADMIN"]),
        "udp" | "dns" => serde_json::json!(["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]),
        _ => serde_json::json!(["CAP_BPF", "CAP_PERFMON"]),
    }
}

fn report(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).expect("JSON")
}

#[test]
fn all_is_well() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let directory = format!("runtime_directory={}", home.path().display());
    let pins = Pins::new();
    let [keep, place] = pins.settings();
    let nobody = ["--set", &directory, "--set", &keep, "--set", &place];
    let human = doctor(&[], &nobody);
    human.check(0, &[]);
    for word in [
        "kernel",
        "BTF",
        "cgroups",
        "none missing",
        "sched_process_exec",
        "inet_sock_set_state",
        "attached",
    ] {
        assert!(human.stdout.contains(word), "{word}: {}", human.stdout);
    }
    let json = doctor(&[], &[&["--json"], &nobody[..]].concat());
    json.check(0, &[]);
    assert!(!pins.path().exists(), "nothing was pinned to find out");
    let report = report(&json);
    let environment = &report["environment"];
    let value = |fact: &str| text(&environment[fact], "value");
    assert_eq!(value("capabilities"), "none missing");
    assert_eq!(value("btf"), "yes");
    assert_eq!(value("agent"), "none");
    for fact in ["btf_bytes", "perf_event_paranoid"] {
        assert!(value(fact).parse::<u64>().is_ok(), "{environment}");
    }
    for fact in [
        "lockdown",
        "bpffs",
        "pid_namespace",
        "CONFIG_DEBUG_INFO_BTF",
    ] {
        assert!(!value(fact).is_empty(), "{fact}: {environment}");
    }
    assert!(report["problem"].is_null());
    let features = report["features"].as_array().expect("a list");
    let mechanism = |feature| (text(feature, "feature"), text(feature, "mechanism"));
    assert_eq!(
        features.iter().map(mechanism).collect::<Vec<_>>(),
        [
            ("identity", "tp_btf"),
            ("process", "tp_btf"),
            ("tcp", "tp_btf"),
            ("tcp_health", "tp_btf"),
            ("udp", "cgroup_skb"),
            ("dns", "cgroup_skb"),
            ("drops", "tp_btf"),
            ("live_processes", "iter/task"),
            ("live_connections", "iter/task_file"),
            ("restart", "bpffs"),
            ("conntrack", "ctnetlink"),
        ]
    );
    for feature in features {
        assert_eq!(text(feature, "state"), "on", "{feature}");
        assert_eq!(feature["capabilities"], needed(feature));
        assert_eq!(feature["missing_capabilities"], serde_json::json!([]));
    }
    // What nobody wants is not missed.
    let json = doctor(&[], &["--json", "--set", "features.tcp=off"]);
    json.check(0, &[]);
    assert!(
        json.stdout.contains("switched off in the configuration"),
        "{}",
        json.stdout
    );
}

/// State, whether it is wanted, and why it is not on.
fn restart(report: &Value) -> (&str, bool, &str) {
    let features = report["features"].as_array().expect("a list");
    let mut restart = features.iter().filter(|of| of["feature"] == "restart");
    let (one, other) = (restart.next().expect("restart"), restart.next());
    assert!(other.is_none(), "once: {report}");
    let wanted = one["wanted"].as_bool().expect("a truth value");
    (text(one, "state"), wanted, text(one, "reason"))
}

#[test]
fn restart_is_told_where_nothing_can_be_attached() {
    if !ready(&[Need::Program("unshare")]) {
        return;
    }
    let pins = Pins::new();
    let [keep, place] = pins.settings();
    let kept = ["--set", &keep, "--set", &place];
    let all = report(&doctor(&[], &["--json"]));
    let features = all["features"].as_array().expect("a list");
    let programs: Vec<&str> = features
        .iter()
        .flat_map(|feature| feature["programs"].as_array().expect("a list"))
        .map(|program| text(program, "program"))
        .collect();
    let refused = |words: &[&str], settings: &[&str]| {
        let mut command = wellhead(&[words, &["--set", "kubernetes.mode=off"], settings].concat());
        command.env("WELLHEAD_TEST_REFUSED", programs.join(","));
        finish(&mut command)
    };
    let check = |finished: &Finished, expected| {
        finished.check(1, &[]);
        let report = report(finished);
        assert_eq!(restart(&report), expected, "{finished:?}");
        assert!(report["problem"].is_string(), "{report}");
    };
    let not_wanted = ("off", false, "switched off in the configuration");
    check(
        &refused(&["doctor", "--json"], &kept),
        ("off", true, "no program could be attached"),
    );
    check(&refused(&["doctor", "--json"], &[]), not_wanted);
    assert!(!pins.path().exists(), "nothing was pinned to find out");
    let home = tempfile::tempdir().expect("a directory");
    let directory = format!("runtime_directory={}", home.path().join("run").display());
    let settings = [&kept[..], &["--set", &directory]].concat();
    refused(&["run"], &settings).check(69, &["no program could be attached"]);

    let without = after(
        "{ umount --all --lazy --types tracefs || true; } && mount -t tmpfs none /sys/kernel/btf",
    );
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    let kept = [&["--json"], &kept[..]].concat();
    check(
        &doctor(&without, &kept),
        ("off", true, "the kernel has no BTF"),
    );
    check(&doctor(&without, &["--json"]), not_wanted);
}

#[test]
fn lack_of_privilege_is_told() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let human = doctor(POWERLESS, &[]);
    human.check(77, &[]);
    let row = "capabilities               missing CAP_BPF, CAP_PERFMON\n";
    assert!(human.stdout.contains(row), "{human:?}");
    let json = doctor(POWERLESS, &["--json"]);
    json.check(77, &[]);
    for name in ["CAP_BPF", "CAP_PERFMON"] {
        assert!(
            human.stdout.contains(name) && json.stdout.contains(name),
            "{name}: {human:?}"
        );
    }
    let report = report(&json);
    let features = report["features"].as_array().expect("a list");
    for feature in features {
        assert_eq!(feature["state"], "unknown", "{feature}");
        assert_eq!(
            feature["missing_capabilities"],
            needed(feature),
            "{feature}"
        );
    }
    let abilities = report["abilities"].as_array().expect("a list");
    assert_eq!(abilities[0]["ability"], "program_stats");
    assert!(abilities.iter().all(|ability| ability["state"] == "off"));
}

/// Without it everything else works.
#[test]
fn packets_take_a_capability_of_their_own() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let wrapper = [
        "setpriv",
        "--inh-caps=-all",
        "--bounding-set=-net_admin,-sys_admin",
    ];
    let json = doctor(&wrapper, &["--json", "--set", "pins.keep=off"]);
    json.check(1, &[]);
    let report = report(&json);
    for feature in report["features"].as_array().expect("a list") {
        let (state, missing) = match text(feature, "feature") {
            "udp" | "dns" | "conntrack" => ("unknown", serde_json::json!(["CAP_NET_ADMIN"])),
            "restart" => ("off", serde_json::json!([])),
            _ => ("on", serde_json::json!([])),
        };
        assert_eq!(text(feature, "state"), state, "{feature}");
        assert_eq!(feature["missing_capabilities"], missing, "{feature}");
    }
}

#[test]
fn translations_take_a_capability_of_their_own() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let wrapper = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_admin"];
    let check = |mode: &str, exit, wanted| {
        let mode = format!("peers.conntrack={mode}");
        let json = doctor(
            &wrapper,
            &[
                "--json",
                "--set",
                "pins.keep=off",
                "--set",
                "features.udp=off",
                "--set",
                "features.dns=off",
                "--set",
                &mode,
            ],
        );
        json.check(exit, &[]);
        let report = report(&json);
        let features = report["features"].as_array().expect("a list");
        let conntrack = features.last().expect("the last one");
        assert_eq!(text(conntrack, "feature"), "conntrack");
        assert_eq!(conntrack["wanted"], wanted, "{conntrack}");
        let missing = serde_json::json!(["CAP_NET_ADMIN"]);
        assert_eq!(conntrack["missing_capabilities"], missing);
        (
            text(conntrack, "state").to_owned(),
            text(conntrack, "reason").to_owned(),
        )
    };
    for (state, reason) in [check("auto", 0, false), check("on", 1, true)] {
        assert_eq!(state, "unknown");
        assert!(reason.contains("needs CAP_NET_ADMIN"), "{reason}");
    }
    let (state, reason) = check("off", 0, false);
    assert_eq!(state, "off");
    assert!(reason.contains("configuration"), "{reason}");
}

#[test]
fn a_running_agent_is_seen_and_left_alone() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::start();
    let json = doctor(&[], &["--json", "--set", &agent.directory_setting()]);
    json.check(0, &[]);
    let environment = &report(&json)["environment"];
    assert_eq!(text(&environment["agent"], "value"), "running");
    assert_eq!(agent.get("/healthz").status, 200);
}

#[test]
fn receivers_are_tried() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let nobody = refused(0);
    let metrics = format!(
        "otlp.metrics.endpoint=http://127.0.0.1:{}/v1/metrics",
        receiver.http
    );
    let traces = format!(
        "otlp.traces.endpoint=http://127.0.0.1:{}/v1/traces",
        nobody.port
    );
    let logs = format!(
        "otlp.logs.endpoint=http://127.0.0.1:{}/v1/logs",
        receiver.http
    );
    let all = ["--set", &metrics, "--set", &traces, "--set", &logs];
    let human = doctor(&[], &all);
    human.check(0, &[]);
    assert!(
        human
            .stdout
            .contains(&format!("127.0.0.1:{}: accepts connections", receiver.http)),
        "{human:?}"
    );
    assert!(
        human
            .stdout
            .contains(&format!("127.0.0.1:{}: Connection refused", nobody.port)),
        "{human:?}"
    );
    let json = report(&doctor(&[], &[&all[..], &["--json"]].concat()));
    assert!(
        text(&json["otlp"], "metrics").ends_with("accepts connections"),
        "{json}"
    );
    assert!(
        text(&json["otlp"], "logs").ends_with("accepts connections"),
        "{json}"
    );
    assert!(
        text(&json["otlp"], "traces").contains("Connection refused"),
        "{json}"
    );
}

#[test]
fn a_bad_configuration_is_told_first() {
    let bad = finish(&mut wellhead(&[
        "doctor",
        "--json",
        "--set",
        "log.level=loud",
    ]));
    bad.check(64, &["--set log.level"]);
    assert_eq!(bad.stdout, "");
}
