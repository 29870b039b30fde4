//! Work that is meant to do harm.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::process::{self, Command};

use crate::support::{Agent, Container, Format, Need, Programs, judged, ready, request};

/// How often the fork bomb doubles.
const DEPTH: u32 = 10;

/// Series an agent may hold at the least.
const LIMIT: usize = 100;

#[test]
fn names_of_any_bytes_make_pages_that_parse() {
    if !ready(&[Need::Python]) {
        return;
    }
    let agent = Agent::start();
    let directory = tempfile::tempdir().expect("a directory");
    let own = format!("wh{}-h", process::id());
    let long = format!("{own}{}", "x".repeat(200));
    let too_long = format!("{own}{}", "y".repeat(255 - own.len()));
    let name = |tail: &[u8]| [own.as_bytes(), tail].concat();
    let hostile: [(Vec<u8>, String); 8] = [
        (name(b"\"} 1\n"), format!("{own}\"}} 1\n")),
        (name(b"\n# EOF\n"), format!("{own}\n# EOF\n")),
        (name(b"\\n\\"), format!("{own}\\n\\")),
        (
            name(b"\xff\xfe\x80"),
            format!("{own}\u{fffd}\u{fffd}\u{fffd}"),
        ),
        (name(b"\x01\x7f\t\r"), format!("{own}\u{1}\u{7f}\t\r")),
        (
            name("{é=\"漢字\",}".as_bytes()),
            format!("{own}{{é=\"漢字\",}}"),
        ),
        (long.clone().into_bytes(), long),
        // With its directory it is longer than a record has room for: what is left is what the kernel calls it.
        (too_long.clone().into_bytes(), too_long[..15].to_owned()),
    ];
    for (name, _) in &hostile {
        let path = directory.path().join(OsStr::from_bytes(name));
        symlink("/bin/true", &path).expect("a link");
        for _ in 0..3 {
            assert!(Command::new(&path).status().expect("runs").success());
        }
    }
    let accept = [("accept", "application/openmetrics-text")];
    for (format, headers) in [(Format::Text, &[][..]), (Format::OpenMetrics, &accept)] {
        let page = request(agent.address, "GET", "/metrics", headers).text();
        let samples = judged(format, &page);
        for (_, expected) in &hostile {
            let found = samples.iter().find(|((name, labels), _)| {
                let program = labels.get("process_executable_name");
                name == "wellhead_process_execs_total" && program == Some(expected)
            });
            assert_eq!(
                found.map(|(_, value)| value.as_str()),
                Some("3.0"),
                "{format:?} {expected:?}"
            );
        }
    }
}

#[test]
fn a_fork_bomb_is_counted_to_the_last() {
    if !ready(&[Need::Cgroups]) {
        return;
    }
    let agent = Agent::start();
    let container = Container::new();
    let programs = Programs::new();
    let bomb = programs.link("/bin/sh", "bomb");
    // Each makes two, and waits for both.
    let script = "f() { if [ $1 -gt 0 ]; then f $(($1 - 1)) & f $(($1 - 1)) & wait; fi; }; f $0";
    let status = container
        .command(&bomb.path)
        .args(["-c", script, &DEPTH.to_string()])
        .status();
    assert!(status.expect("runs").success());

    let made: u64 = (1..=DEPTH).map(|depth| 1 << depth).sum();
    assert_eq!(made, 2_046);
    let page = agent.metrics();
    let of_container = [("container_id", container.id.as_str())];
    let sum = |name: &str| page.sum(name, &of_container);
    let seen = (
        sum("wellhead_process_forks_total"),
        sum("wellhead_process_execs_total"),
        sum("wellhead_process_exits_total"),
    );
    assert_eq!(
        seen,
        (made, 1, made + 1),
        "{:?}",
        crate::metrics::losses(&page)
    );
    let exits = page.select("wellhead_process_exits_total", &of_container);
    let names: BTreeSet<_> = exits
        .map(|sample| &sample.labels["process_executable_name"])
        .collect();
    assert_eq!(
        names,
        BTreeSet::from([&bomb.name]),
        "a fork runs its parent's program"
    );
}

#[test]
fn too_many_names_go_to_the_overflow_series() {
    if !ready(&[]) {
        return;
    }
    let agent = Agent::builder()
        .set("series_limit", LIMIT)
        .set("series_limit_per_metric", LIMIT)
        .set("features.tcp", "off")
        .start();
    let programs = Programs::new();
    for number in 0..300 {
        programs.link("/bin/true", &format!("n{number}")).run(&[]);
    }
    // Other programs of the machine are on this page as well, so it is held against the records it was made from.
    let page = agent.metrics();
    let overflow = [("otel_metric_overflow", "true")];
    let read = |kind| {
        page.sum(
            "wellhead_agent_records_total",
            &[("wellhead_record_kind", kind)],
        )
    };
    let counters = [
        ("wellhead_process_execs_total", "exec"),
        ("wellhead_process_exits_total", "exit"),
        ("wellhead_process_forks_total", "fork"),
        ("wellhead_process_duration_seconds_count", "exit"),
    ];
    let mut overflowed = 0;
    for (name, kind) in counters {
        assert_eq!(
            page.sum(name, &[]),
            read(kind),
            "{name}: every measurement counts once"
        );
        overflowed += page.sum(name, &overflow);
    }
    assert!(read("exec") >= 300);
    assert!(page.sum("wellhead_process_execs_total", &overflow) >= 200);
    let discards = [
        ("wellhead_stage", "store"),
        ("wellhead_reason", "series_limit"),
    ];
    // And what these processes used, which is no count.
    assert!(page.sum("wellhead_agent_discards_total", &discards) >= overflowed);
    assert_eq!(page.value("wellhead_agent_series_limit", &[]), "100");
    let held: usize = counters
        .iter()
        .map(|(name, _)| page.select(name, &[]).count())
        .sum();
    assert!(held <= LIMIT + counters.len(), "{held}");
}
