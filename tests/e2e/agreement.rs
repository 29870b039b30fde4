//! Whoever is asked what is captured says the same: `doctor`, the status, the metrics, the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::support::{Agent, Need, Pins, Programs, finish, ready, text, wellhead, wrapped};

/// An environment variable that makes this kernel another one.
type Hook<'a> = Option<(&'a str, &'a str)>;

/// Feature, state, mechanism.
type Said = BTreeSet<(String, String, String)>;

/// All of them.
const FEATURES: [&str; 11] = [
    "identity",
    "process",
    "tcp",
    "tcp_health",
    "udp",
    "dns",
    "drops",
    "live_processes",
    "live_connections",
    "restart",
    "conntrack",
];

/// State and mechanism of identity, process and TCP; words that the reason why TCP is not whole has. Returns what is said of
/// BTF, and the log.
fn check(
    hook: Hook<'_>,
    expected: [(&str, &str); 3],
    exit: i32,
    words: &[&str],
) -> (String, String) {
    let expected = said(expected);
    let pins = Pins::new();
    let mut builder = Agent::builder().pins(&pins);
    let [keep, directory] = pins.settings();
    let settings = [
        "--set",
        "kubernetes.mode=off",
        "--set",
        &keep,
        "--set",
        &directory,
    ];
    let mut doctor = wellhead(&[&["doctor", "--json"][..], &settings].concat());
    if let Some((name, value)) = hook {
        builder = builder.env(name, value);
        doctor.env(name, value);
    }
    let agent = builder.start();
    let status = agent.status();
    let doctor = finish(&mut doctor);
    doctor.check(exit, &[]);
    let doctor: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    assert_eq!(listed(&doctor), expected, "doctor");
    assert_eq!(listed(&status), expected, "status");
    assert_eq!(doctor["features"], status["features"], "with all details");
    assert_eq!(doctor["abilities"], status["abilities"]);
    let btf = &doctor["environment"]["btf"];
    assert_eq!(btf, &status["environment"]["btf"]);
    assert_eq!(measured(&agent), expected, "metrics");
    let log = agent.log();
    assert_eq!(logged(&log), expected, "{log}");
    for word in words {
        let shown = status["features"].to_string();
        assert!(shown.contains(word), "{word}: {shown}");
        assert!(log.contains(word), "{word}: {log}");
    }
    let warned = log.contains("is set:");
    assert_eq!(warned, hook.is_some(), "a hook is told of: {log}");
    (text(btf, "value").to_owned(), log)
}

/// With the features that depend on these three, where programs and maps are to be kept.
fn said(three: [(&str, &str); 3]) -> Said {
    let [_, process, tcp] = three;
    let on = |mechanism| ("on", mechanism);
    let if_btf = |whole, mechanism| {
        if whole == on("tp_btf") {
            on(mechanism)
        } else {
            ("off", "none")
        }
    };
    let rest = [
        if_btf(tcp, "tp_btf"),
        if_btf(process, "cgroup_skb"),
        if_btf(process, "cgroup_skb"),
        if_btf(process, "tp_btf"),
        if_btf(process, "iter/task"),
        if_btf(tcp, "iter/task_file"),
        // Programs that need no BTF cannot be kept.
        if process == on("tp_btf") {
            on("bpffs")
        } else {
            ("off", "none")
        },
        // Needs no program, and the e2e tests run where the kernel tracks connections.
        if tcp.0 == "on" {
            on("ctnetlink")
        } else {
            ("off", "none")
        },
    ];
    FEATURES
        .into_iter()
        .zip(three.into_iter().chain(rest))
        .map(|(feature, (state, mechanism))| (feature.into(), state.into(), mechanism.into()))
        .collect()
}

/// Of `doctor --json` and the status.
fn listed(report: &Value) -> Said {
    let features = report["features"].as_array().expect("a list");
    let of = |feature: &Value, key| text(feature, key).to_owned();
    let each = features.iter().map(|feature| {
        (
            of(feature, "feature"),
            of(feature, "state"),
            of(feature, "mechanism"),
        )
    });
    each.collect()
}

fn measured(agent: &Agent) -> Said {
    let page = agent.metrics();
    let samples = page.select("wellhead_agent_feature", &[]);
    let each = samples.map(|sample| {
        assert_eq!(sample.value, "1");
        let of = |label: &str| sample.labels.get(label).expect("a label").clone();
        (
            of("wellhead_feature"),
            of("wellhead_state"),
            of("wellhead_mechanism"),
        )
    });
    each.collect()
}

/// Lines such as `… feature is on feature="tcp" state="on" mechanism="tp_btf"`.
fn logged(log: &str) -> Said {
    let lines = log.lines().filter(|line| line.contains("feature is "));
    let each = lines.map(|line| {
        let pairs: BTreeMap<&str, &str> = line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .collect();
        let of = |key: &str| (*pairs.get(key).expect(line)).to_owned();
        (of("feature"), of("state"), of("mechanism"))
    });
    each.collect()
}

#[test]
fn where_all_is_well() {
    if !ready(&[]) {
        return;
    }
    let (btf, _) = check(None, [("on", "tp_btf"); 3], 0, &[]);
    assert_eq!(btf, "yes");
}

#[test]
fn where_the_verifier_rejects_a_program() {
    if !ready(&[]) {
        return;
    }
    let hook = ("WELLHEAD_TEST_OFFSETS", "TCP_SRTT=1000000");
    let expected = [("on", "tp_btf"), ("on", "tp_btf"), ("off", "none")];
    let words = ["inet_sock_set_state: cannot load", "1000000"];
    check(Some(hook), expected, 1, &words);
}

#[test]
fn where_there_is_no_btf() {
    if !ready(&[]) {
        return;
    }
    let hook = ("WELLHEAD_TEST_BTF", "/nonexistent");
    let words = [
        "no BTF: without bytes",
        "no BTF: without exit codes",
        "the kernel has no BTF",
    ];
    let (btf, _) = check(Some(hook), [("on", "tracepoint"); 3], 1, &words);
    assert_eq!(btf, "no");
}

#[test]
fn where_btf_is_broken() {
    if !ready(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let whole = fs::read("/sys/kernel/btf/vmlinux").expect("BTF");
    for (name, content) in [
        ("garbage", &b"no types at all"[..]),
        ("truncated", &whole[..whole.len() / 2]),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        let path = path.to_str().expect("UTF-8");
        let words = [
            "no BTF: without bytes",
            "the kernel's BTF cannot be used: cannot parse the BTF at",
            path,
            "(os error ",
        ];
        let hook = ("WELLHEAD_TEST_BTF", path);
        let (btf, log) = check(Some(hook), [("on", "tracepoint"); 3], 1, &words);
        assert_eq!(btf, "broken");
        let own = log
            .lines()
            .filter(|line| line.contains(words[1]) && !line.contains("feature is"));
        assert_eq!(own.count(), 1, "a line of its own: {log}");
    }
}

/// Root with all capabilities but these.
fn without(capabilities: &str) -> [String; 3] {
    [
        "setpriv".to_owned(),
        "--inh-caps=-all".to_owned(),
        format!("--bounding-set={capabilities}"),
    ]
}

#[test]
fn where_one_capability_is_missing() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let directory = format!("runtime_directory={}", home.path().join("run").display());
    let settings = ["--set", &directory, "--set", "kubernetes.mode=off"];
    let listen = ["--set", "prometheus.listen=127.0.0.1:0"];
    for missing in ["BPF", "PERFMON"] {
        let wrapper = without(&format!("-{},-sys_admin", missing.to_lowercase()));
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let name = format!("CAP_{missing}");
        let run = [&["run"][..], &settings, &listen].concat();
        finish(&mut wrapped(&wrapper, &run)).check(77, &["not permitted", &name]);
        let doctor = [&["doctor", "--json"][..], &settings].concat();
        let doctor = finish(&mut wrapped(&wrapper, &doctor));
        doctor.check(77, &[]);
        let report: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
        let unknown = |feature: &str| (feature.into(), "unknown".into(), "none".into());
        let expected: Said = FEATURES.map(unknown).into();
        assert_eq!(listed(&report), expected, "{name}");
        for feature in report["features"].as_array().expect("a list") {
            let missing = match text(feature, "feature") {
                "conntrack" => serde_json::json!([]),
                _ => serde_json::json!([name]),
            };
            assert_eq!(feature["missing_capabilities"], missing);
        }
        let capabilities = &report["environment"]["capabilities"];
        assert_eq!(text(capabilities, "value"), format!("missing {name}"));
    }
}

#[test]
fn of_what_programs_cost() {
    if !ready(&[Need::Program("setpriv")]) {
        return;
    }
    let runs = |agent: &Agent| {
        let page = agent.metrics();
        let fork = [("wellhead_program", "sched_process_fork")];
        let samples = page.select("wellhead_agent_program_runs_total", &fork);
        samples
            .map(|sample| sample.value.clone())
            .collect::<Vec<_>>()
    };
    let ability = |agent: &Agent| {
        let status = agent.status();
        assert_eq!(status["abilities"][0]["ability"], "program_stats");
        text(&status["abilities"][0], "state").to_owned()
    };
    let complaint = "the kernel does not measure its programs (program_stats)";
    let agent = Agent::start();
    assert_eq!(runs(&agent), [] as [&str; 0], "off unless asked for");
    assert_eq!(ability(&agent), "on");
    let measuring = Agent::builder().set("program_stats", "on").start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(5, &[]);
    let counted: u64 = runs(&measuring)[0].parse().expect("a number");
    assert!(counted >= 5, "{counted} runs");
    assert!(!measuring.log().contains(complaint));
    let wrapper = without("-sys_admin");
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let builder = Agent::builder().wrapper(&wrapper);
    let refused = builder.set("program_stats", "on").start();
    assert_eq!(
        runs(&refused),
        [] as [&str; 0],
        "no zeros for what is not measured"
    );
    assert_eq!(ability(&refused), "off");
    let log = refused.log();
    assert!(
        log.contains(complaint) && log.contains("CAP_SYS_ADMIN"),
        "{log}"
    );
}

#[test]
fn an_unknown_field_is_a_bad_configuration() {
    let mut run = wellhead(&["run"]);
    run.env("WELLHEAD_TEST_OFFSETS", "NO_SUCH_FIELD=1");
    finish(&mut run).check(64, &["WELLHEAD_TEST_OFFSETS", "NO_SUCH_FIELD", "TCP_SRTT"]);
}
