//! What filters say, and whom they let through.

use super::*;
use crate::telemetry::live::Severity;

fn event(name: &'static str, attributes: &[(&'static str, Value)]) -> LiveEvent {
    LiveEvent {
        time_unix_nano: 7,
        name,
        severity: Severity::Info,
        attributes: attributes.to_vec(),
        arguments: None,
    }
}

fn of(program: &str) -> LiveEvent {
    let name = Value::Str(program.into());
    event(
        "wellhead.process.exec",
        &[("process.executable.name", name)],
    )
}

fn exited(status: Option<(&'static str, Value)>) -> LiveEvent {
    let attributes: Vec<_> = status.into_iter().collect();
    event(EXIT, &attributes)
}

fn code(code: i64) -> LiveEvent {
    exited(Some(("process.exit.code", Value::Int(code))))
}

fn signal(name: &'static str) -> LiveEvent {
    exited(Some(("wellhead.process.signal", Value::Static(name))))
}

fn pod(namespace: &'static str, name: &'static str) -> Resource {
    Resource {
        attributes: vec![
            ("k8s.namespace.name".into(), Value::Static(namespace)),
            ("k8s.pod.name".into(), Value::Static(name)),
        ],
        labels: Vec::new(),
    }
}

fn wants(asked: Asked<'_>, event: &LiveEvent, resource: &Resource) -> bool {
    let filter = EventFilter::parse(&asked).expect("a filter");
    filter.wants(event, resource)
}

fn refusal(asked: Asked<'_>) -> String {
    EventFilter::parse(&asked).unwrap_err().to_string()
}

#[test]
fn kinds_may_be_given_short() {
    let check = |given, expected: &[&str]| {
        assert_eq!(event_names(given).unwrap_or_default(), expected, "{given}");
    };
    check("exec", &["wellhead.process.exec"]);
    check("tcp.close", &["wellhead.tcp.close"]);
    check("wellhead.tcp.accept", &["wellhead.tcp.accept"]);
    let exits = ["wellhead.process.exit", "wellhead.container.exit"];
    check("exit", &exits);
    check("container.exit", &exits[1..]);
    check("process", &[]);
    check("", &[]);
}

#[test]
fn pods_need_a_namespace() {
    let check = |given: &str, good: bool| {
        let asked = Asked {
            pod: Some(given),
            ..Asked::default()
        };
        assert_eq!(EventFilter::parse(&asked).is_ok(), good, "{given}");
    };
    check("shop/web", true);
    check("web", false);
    check("/web", false);
    check("shop/", false);
    check("a/b/c", false);
    check("a/b c", false);
    check("a/b&kind=exec", false);
    check("", false);
}

#[test]
fn namespaces_are_patterns() {
    let check = |given: &str, resource: &Resource, expected: bool| {
        let asked = Asked {
            namespace: Some(given),
            ..Asked::default()
        };
        assert_eq!(wants(asked, &of("sh"), resource), expected, "{given}");
    };
    let shop = pod("shop-test", "web");
    check("shop-test", &shop, true);
    check("shop", &shop, false);
    check("shop-*", &shop, true);
    check("*-test", &shop, true);
    check("*", &shop, true);
    // What is in no namespace is in none that is asked for.
    check("*", &Resource::default(), false);
    let bad = |given: &str, expected: &str| {
        let refused = refusal(Asked {
            namespace: Some(given),
            ..Asked::default()
        });
        assert!(refused.contains(expected), "{refused}");
    };
    bad("Shop", "`Shop` has `S` in it; allowed are small letters");
    bad("a?", "`a?` has `?` in it");
    bad("", "must not be empty");
    bad("a\u{1b}", "`a\\u{1b}` has");
}

#[test]
fn programs_are_patterns_too() {
    let check = |given: &str, event: &LiveEvent, expected: bool| {
        let asked = Asked {
            executable: Some(given),
            ..Asked::default()
        };
        let found = wants(asked, event, &Resource::default());
        assert_eq!(found, expected, "{given} {event:?}");
    };
    check("python3", &of("python3"), true);
    check("python3", &of("python3.11"), false);
    check("python*", &of("python3.11"), true);
    check("*", &of("odd\n&=\u{1b}"), true);
    // There is a program of that name.
    check("[", &of("["), true);
    check("[a-z]", &of("b"), false);
    check("s?", &of("sh"), false);
    check("a&b=c %41+", &of("a&b=c %41+"), true);
    let fork = event("wellhead.process.fork", &[("process.pid", Value::Int(1))]);
    check("*", &fork, false);
    let long = "x".repeat(256);
    let refused = refusal(Asked {
        executable: Some(&long),
        ..Asked::default()
    });
    assert!(refused.contains("256 bytes; at most 255"), "{refused}");
}

#[test]
fn ways_to_exit() {
    let exits = [
        ("0", code(0)),
        ("3", code(3)),
        ("KILL", signal("SIGKILL")),
        ("TERM", signal("SIGTERM")),
        ("34", signal("34")),
        ("unknown", exited(None)),
        ("none", of("sh")),
    ];
    let check = |given: &str, expected: &[&str]| {
        let asked = Asked {
            exit: Some(given),
            ..Asked::default()
        };
        let filter = EventFilter::parse(&asked).expect("a way to exit");
        let wanted =
            |(_, event): &&(&'static str, LiveEvent)| filter.wants(event, &Resource::default());
        let found: Vec<_> = exits.iter().filter(wanted).map(|(name, _)| *name).collect();
        assert_eq!(found, expected, "{given}");
    };
    check("failed", &["3", "KILL", "TERM", "34"]);
    check("0", &["0"]);
    check("3", &["3"]);
    // A code, and no signal.
    check("9", &[]);
    check("34", &[]);
    check("SIGKILL", &["KILL"]);
    check("KILL", &["KILL"]);
    check("sigkill", &["KILL"]);
    check("Term", &["TERM"]);
    check("SIG34", &["34"]);
    for bad in [
        "",
        "256",
        "-1",
        "+1",
        "1.5",
        "ok",
        "Failed",
        "SIG",
        "SIG0",
        "SIG65",
        "SIGKILL ",
        "SIGSIGKILL",
        "SIG+9",
        "9\u{1b}",
    ] {
        let refused = refusal(Asked {
            exit: Some(bad),
            ..Asked::default()
        });
        assert!(
            refused.starts_with(&format!("{bad:?} is no way to exit; allowed are `failed`")),
            "{refused}"
        );
        assert!(refused.contains("from 0 to 255"), "{refused}");
    }
}

#[test]
fn all_of_it_has_to_hold() {
    let asked = Asked {
        kinds: Some("exit, tcp.close,"),
        namespace: Some("shop*"),
        pod: Some("shop/web"),
        executable: Some("s*"),
        exit: Some("failed"),
    };
    let mut failed = code(1);
    let name = ("process.executable.name", Value::Static("sh"));
    failed.attributes.push(name.clone());
    let web = pod("shop", "web");
    assert!(wants(asked, &failed, &web));
    assert!(!wants(asked, &failed, &pod("shop", "db")));
    assert!(!wants(asked, &failed, &Resource::default()));
    let mut well = code(0);
    well.attributes.push(name);
    assert!(!wants(asked, &well, &web));
    assert!(!wants(asked, &code(1), &web));
    let other_namespace = Asked {
        namespace: Some("db"),
        ..asked
    };
    assert!(!wants(other_namespace, &failed, &web));
    assert!(wants(Asked::default(), &failed, &web));
}

#[test]
fn a_status_of_events_without_one_is_refused() {
    let check = |kinds, good: bool| {
        let asked = Asked {
            kinds: Some(kinds),
            exit: Some("failed"),
            ..Asked::default()
        };
        assert_eq!(EventFilter::parse(&asked).is_ok(), good, "{kinds}");
    };
    check("exit", true);
    check("exec,exit", true);
    check("", true);
    check("exec", false);
    check("exec,tcp.close", false);
}
