//! `wellhead doctor`.

use serde_json::Value;

use crate::exit_codes::POWERLESS;
use crate::support::{Finished, Need, Receiver, finish, ready, refused, text, wellhead, wrapped};

fn doctor(wrapper: &[&str], arguments: &[&str]) -> Finished {
    let mut words = vec!["doctor", "--set", "kubernetes.mode=off"];
    words.extend(arguments);
    finish(&mut wrapped(wrapper, &words))
}

fn report(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).expect("JSON")
}

#[test]
fn all_is_well() {
    if !ready(&[]) {
        return;
    }
    let human = doctor(&[], &[]);
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
    let json = doctor(&[], &["--json"]);
    json.check(0, &[]);
    let report = report(&json);
    assert_eq!(
        report["environment"]["missing_capabilities"],
        serde_json::json!([])
    );
    assert!(report["problem"].is_null());
    let features = report["features"].as_array().expect("a list");
    assert_eq!(features.len(), 3);
    for feature in features {
        assert_eq!(
            (text(feature, "state"), text(feature, "mechanism")),
            ("on", "tp_btf"),
            "{feature}"
        );
        assert_eq!(
            feature["capabilities"],
            serde_json::json!(["CAP_BPF", "CAP_PERFMON"])
        );
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

#[test]
fn lack_of_privilege_is_told() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let human = doctor(POWERLESS, &[]);
    human.check(77, &[]);
    let row = "capabilities  missing CAP_BPF, CAP_PERFMON\n";
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
    assert!(
        features.iter().all(|feature| feature["state"] == "unknown"),
        "{features:?}"
    );
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
    let both = ["--set", &metrics, "--set", &traces];
    let human = doctor(&[], &both);
    human.check(0, &[]);
    assert!(
        human
            .stdout
            .contains(&format!("127.0.0.1:{}: reachable", receiver.http)),
        "{human:?}"
    );
    assert!(
        human
            .stdout
            .contains(&format!("127.0.0.1:{}: Connection refused", nobody.port)),
        "{human:?}"
    );
    let json = report(&doctor(&[], &[&both[..], &["--json"]].concat()));
    assert!(
        text(&json["otlp"], "metrics").ends_with("reachable"),
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
