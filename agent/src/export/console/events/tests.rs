//! Lines as people see them, whatever is in them.

use jiff::tz;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::printable::acts;

fn lines(events: &[Json]) -> String {
    let mut lines = EventLines::new(TimeZone::fixed(tz::offset(2)));
    let lines = events
        .iter()
        .map(|event| lines.line(event.to_string().as_bytes()));
    lines.collect()
}

fn event(name: &str, resource: &Json, attributes: &Json) -> Json {
    json!({
        "time_unix_nano": 1_795_379_326_719_655_532_u64,
        "name": name,
        "resource": resource,
        "attributes": attributes,
    })
}

fn pod() -> Json {
    json!({
        "service.name": "web",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-6d4cf56db6-x7k2p",
        "k8s.container.name": "nginx",
        "container.id": "0123456789abcdef0123456789abcdef",
    })
}

fn host() -> Json {
    json!({"service.name": "backup", "wellhead.slice": "system.slice", "host.name": "node-1"})
}

#[test]
fn processes() {
    let text = lines(&[
        event(
            "wellhead.process.fork",
            &host(),
            &json!({"process.pid": 17, "process.parent_pid": 1}),
        ),
        event(
            "wellhead.process.exec",
            &host(),
            &json!({
                "process.pid": 17,
                "process.parent_pid": 1,
                "process.vpid": 17,
                "process.user.id": 0,
                "process.real_user.id": 1_000,
                "wellhead.process.group.id": 0,
                "process.working_directory": "/srv",
                "process.executable.name": "sh",
                "process.executable.path": "/usr/bin/sh",
                "process.command_args": ["sh", "-c", "exit 3", ""],
                "wellhead.process.command_args.truncated": true,
            }),
        ),
        event(
            "wellhead.process.exec",
            &pod(),
            &json!({
                "process.pid": 4_194_303,
                "process.executable.name": "nginx",
                "process.executable.path": "/usr/sbin/nginx",
                "process.command_args": ["/usr/sbin/nginx"],
            }),
        ),
        event(
            "wellhead.process.exit",
            &host(),
            &json!({
                "process.pid": 17,
                "process.executable.name": "sh",
                "process.executable.path": "/usr/bin/sh",
                "process.exit.code": 3,
                "wellhead.duration": 857_470,
                "process.parent_pid": 1,
                "process.user.id": 0,
                "wellhead.process.cpu.user": 770_000,
                "wellhead.process.cpu.system": 0,
                "wellhead.process.memory.peak": 1_122_304,
                "wellhead.process.faults.minor": 81,
                "wellhead.process.faults.major": 0,
                "wellhead.process.switches.voluntary": 3,
                "wellhead.process.switches.forced": 0,
                "wellhead.process.disk.read": 0,
                "wellhead.process.disk.written": 4_096,
                "wellhead.process.network.sent": 0,
                "wellhead.process.network.received": 0,
                "wellhead.process.asked.ago": 1_001_597_534,
            }),
        ),
        event(
            "wellhead.process.exit",
            &pod(),
            &json!({
                "process.pid": 18,
                "process.executable.name": "nginx",
                "wellhead.process.signal": "SIGKILL",
                "wellhead.duration": 3_723_000_000_000_u64,
            }),
        ),
        event(
            "wellhead.process.oom_kill",
            &json!({"service.name": "unknown_service", "container.id": "fedcba9876543210"}),
            &json!({"process.pid": 19, "process.executable.name": "java"}),
        ),
    ]);
    expect_test::expect![[r#"
        2026-11-22T22:28:46.719+02:00  process.fork  system.slice/backup  [17]          parent=1
        2026-11-22T22:28:46.719+02:00  process.exec  system.slice/backup  sh[17]        parent=1 user=0 cwd=/srv path=/usr/bin/sh process.real_user.id=1000 args: sh -c "exit 3" "" …
        2026-11-22T22:28:46.719+02:00  process.exec  shop/web-6d4cf56db6-x7k2p/nginx  nginx[4194303]  args: /usr/sbin/nginx
        2026-11-22T22:28:46.719+02:00  process.exit  system.slice/backup              sh[17]          exit=3 took=857us parent=1 user=0 cpu.user=770us memory.peak=1.07MiB disk.written=4096B process.asked.ago=1.00s
        2026-11-22T22:28:46.719+02:00  process.exit  shop/web-6d4cf56db6-x7k2p/nginx  nginx[18]       signal=SIGKILL took=1h02m
        2026-11-22T22:28:46.719+02:00  process.oom_kill  fedcba987654                     java[19]
    "#]]
    .assert_eq(&text);
}

#[test]
fn connections_and_lookups() {
    let text = lines(&[
        event(
            "wellhead.tcp.connect",
            &pod(),
            &json!({
                "network.transport": "tcp",
                "network.local.address": "10.0.0.2",
                "network.local.port": 40_000,
                "network.peer.address": "fd00::1",
                "network.peer.port": 443,
                "process.pid": 7,
                "process.executable.name": "curl",
                "wellhead.duration": 1_234_567,
            }),
        ),
        event(
            "wellhead.tcp.close",
            &pod(),
            &json!({
                "network.transport": "tcp",
                "network.local.address": "10.0.0.2",
                "network.local.port": 40_000,
                "network.peer.address": "10.0.0.1",
                "network.peer.port": 443,
                "wellhead.tcp.bytes_sent": 200,
                "wellhead.tcp.bytes_received": 70_000,
                "wellhead.tcp.retransmits": 0,
                "wellhead.tcp.rtt": 45_000,
                "wellhead.tcp.verdict": "peer",
                "error.type": "connection_reset",
            }),
        ),
        event(
            "wellhead.dns.lookup",
            &json!({"service.name": "user", "wellhead.slice": "user.slice"}),
            &json!({
                "dns.question.name": "example.com",
                "wellhead.dns.question.type": "A",
                "network.transport": "udp",
                "network.peer.address": "10.96.0.10",
                "network.peer.port": 53,
                "wellhead.duration": 20_000_000,
                "dns.answers": ["192.0.2.1", "192.0.2.2"],
                "wellhead.dns.search": true,
            }),
        ),
    ]);
    expect_test::expect![[r"
        2026-11-22T22:28:46.719+02:00  tcp.connect   shop/web-6d4cf56db6-x7k2p/nginx  curl[7]       peer=[fd00::1]:443 local=10.0.0.2:40000 took=1.23ms
        2026-11-22T22:28:46.719+02:00  tcp.close     shop/web-6d4cf56db6-x7k2p/nginx  -             peer=10.0.0.1:443 local=10.0.0.2:40000 error=connection_reset verdict=peer sent=200B received=68.3KiB rtt=45.0us
        2026-11-22T22:28:46.719+02:00  dns.lookup    user.slice                       -             name=example.com type=A peer=10.96.0.10:53/udp answers=192.0.2.1,192.0.2.2 took=20.0ms dns.search
    "]]
    .assert_eq(&text);
}

#[test]
fn what_is_not_known_is_shown_all_the_same() {
    let text = lines(&[
        event(
            "wellhead.odd.thing",
            &json!({}),
            &json!({"wellhead.odd": "a b", "other": [1, true, null], "deep": {"a": "\u{9b}"}, "no": false}),
        ),
        event(
            "wellhead.process.fork",
            &json!({"service.name": "unknown_service", "wellhead.slice": "/"}),
            &json!({}),
        ),
        event(
            "else",
            &json!({"service.name": "x"}),
            &json!({"network.peer.address": "?", "network.peer.port": -1}),
        ),
        json!({"name": "no time"}),
    ]);
    expect_test::expect![[r#"
        2026-11-22T22:28:46.719+02:00  odd.thing     -                 -             odd="a b" other=1,true,null deep="{\"a\":\"\u{9b}\"}" no=false
        2026-11-22T22:28:46.719+02:00  process.fork  host              -
        2026-11-22T22:28:46.719+02:00  else          x                 -             peer=?:-1
        {"name":"no time"}
    "#]]
    .assert_eq(&text);
}

/// Names and arguments that would clear the screen, turn the text around, end the line, or tell of what did not happen.
#[test]
fn what_means_harm_does_none() {
    let text = lines(&[
        event(
            "wellhead.process.exec",
            &json!({
                "k8s.namespace.name": "shop",
                "k8s.pod.name": "a\u{1b}[2J",
                "k8s.container.name": "c\u{202e}d",
            }),
            &json!({
                "process.pid": 7,
                "process.executable.name": "sh[1]  exit=0\n",
                "process.executable.path": "/x/\u{9b}31m",
                "process.command_args": ["\r\n2026-11-22", "\u{7}\u{7f}", "user=0", "\\n", "\u{1b}]0;title\u{7}"],
            }),
        ),
        event(
            "wellhead.\u{1b}[31m",
            &json!({"service.name": "a b\u{2028}"}),
            &json!({"wellhead.\u{1b}k": "\u{200f}", "error.type": "none exit=0"}),
        ),
    ]);
    expect_test::expect![[r#"
        2026-11-22T22:28:46.719+02:00  process.exec  shop/a\u{1b}[2J/c\u{202e}d  "sh[1]  exit=0\n"[7]  path=/x/\u{9b}31m args: "\r\n2026-11-22" \u{7}\u{7f} user=0 \\n \u{1b}]0;title\u{7}
        2026-11-22T22:28:46.719+02:00  \u{1b}[31m    "a b\u{2028}"               -                     error="none exit=0" \u{1b}k=\u{200f}
    "#]]
    .assert_eq(&text);
}

/// Any value JSON has, with much of what terminals obey.
fn value() -> impl Strategy<Value = Json> {
    let text = "[\\x00-\\u{a0}\\u{2000}-\\u{2070}a-c \"\\\\]{0,6}|.{0,6}";
    let leaf = prop_oneof![
        text.prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        Just(Json::Null),
    ];
    leaf.prop_recursive(2, 8, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(text, inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys that mean something, and others.
fn attributes() -> impl Strategy<Value = Json> {
    let keys = prop::sample::select(vec![
        EXECUTABLE,
        PID,
        "process.executable.path",
        "process.command_args",
        "process.exit.code",
        "network.peer.address",
        "network.peer.port",
        "network.transport",
        "wellhead.duration",
        "wellhead.tcp.bytes_sent",
        "dns.answers",
        "k8s.pod.name",
        "k8s.namespace.name",
        "service.name",
        "container.id",
        "wellhead.slice",
    ]);
    let key = prop_oneof![
        keys.prop_map(str::to_owned),
        ".{0,4}",
        "[\\x00-\\u{a0}]{0,4}"
    ];
    prop::collection::btree_map(key, value(), 0..8)
        .prop_map(|map| Json::Object(map.into_iter().collect()))
}

fn check_harmless(line: &str) -> Result<(), TestCaseError> {
    let text = line.strip_suffix('\n');
    prop_assert!(text.is_some_and(|text| !text.contains(acts)), "{:?}", line);
    Ok(())
}

proptest! {
    #[test]
    fn no_event_has_control(
        name in "wellhead\\.process\\.exec|.{0,6}|[\\x00-\\u{a0}]{0,6}",
        time: u64,
        resource in attributes(),
        attributes in attributes(),
    ) {
        let event = json!({"time_unix_nano": time, "name": name, "resource": resource, "attributes": attributes});
        let text = lines(std::slice::from_ref(&event));
        prop_assert!(!text.starts_with('{'), "{}", text);
        check_harmless(&text)?;
    }

    #[test]
    fn nothing_else_has_control(line: Vec<u8>, text in ".{0,40}") {
        let mut lines = EventLines::new(TimeZone::UTC);
        check_harmless(&lines.line(&line))?;
        check_harmless(&lines.line(text.as_bytes()))?;
    }
}
