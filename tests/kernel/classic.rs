//! Without BTF: classic tracepoints, which tell of lifecycles alone. The counts are exact; what is not known is not said.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::events::{Body, Event};
use wellhead::kernel::{Feature, FeatureState, Hooks, ProbeSettings, Probes};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, Tap, needs_btf, settings},
    cgroup::CgroupGuard,
    execute, snapshot, workload,
};

const TRUE: i64 = 200;
const COPIES: i64 = 50;
/// Threads are neither forked nor do they end.
const THREADS: usize = 20;
const CONNECTIONS: i64 = 300;
const REFUSED: i64 = 25;

/// As on a kernel that has no BTF.
pub(crate) fn without_btf(only_cgroup: Option<u64>) -> ProbeSettings {
    ProbeSettings {
        hooks: Hooks {
            btf: Some(PathBuf::from("/nonexistent")),
            ..Hooks::default()
        },
        ..settings(only_cgroup)
    }
}

pub(crate) fn lives(_arguments: &[String]) -> Result<Value> {
    for _ in 0..COPIES {
        let (_, status) = execute::wait(execute::fork(|| 9)?)?;
        ensure!(status == 9 << 8, "a copy ended with status {status}");
    }
    for _ in 0..TRUE {
        let (_, status) = execute::spawn_and_wait(c"/bin/true", &[c"true"])?;
        ensure!(status == 0, "status {status}");
    }
    for _ in 0..THREADS {
        let done = std::thread::spawn(|| ()).join();
        done.map_err(|_panic| anyhow::anyhow!("a thread panicked"))?;
    }
    Ok(json!({}))
}

pub(crate) fn attempts(_arguments: &[String]) -> Result<Value> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(("127.0.0.1", port))?;
        let (server, _) = listener.accept()?;
        drop((client, server));
    }
    drop(listener);
    for _ in 0..REFUSED {
        let refused = TcpStream::connect(("127.0.0.1", port)).map(drop);
        ensure!(refused.is_err(), "somebody else listens on {port}");
    }
    Ok(json!({ "port": port }))
}

pub(crate) fn features_are_on() -> Result<()> {
    let probes = Probes::attach(&without_btf(None))?;
    for status in &probes.features {
        let feature = status.feature.as_str();
        if is_off(status.feature) {
            ensure!(
                matches!(status.state, FeatureState::Off(_)),
                "{feature}: {status:?}"
            );
            continue;
        }
        ensure!(status.state == FeatureState::On, "{feature}: {status:?}");
        assert_eq!(status.mechanism, "tracepoint", "{feature}");
    }
    Ok(())
}

/// Features for which there are no classic programs, and the one that is not asked for.
fn is_off(feature: Feature) -> bool {
    needs_btf(feature) || matches!(feature, Feature::Restart | Feature::Conntrack)
}

/// A map that cannot be made switches off its feature alone.
pub(crate) fn one_feature_off() -> Result<()> {
    let impossible = ProbeSettings {
        connections: u32::MAX,
        ..without_btf(None)
    };
    let probes = Probes::attach(&impossible)?;
    for status in &probes.features {
        match (status.feature, &status.state) {
            (Feature::Tcp, FeatureState::Off(reason)) => {
                ensure!(reason.contains("CLASSIC_CONNECTIONS"), "{reason}");
            }
            (Feature::Process | Feature::Identity, FeatureState::On) => {}
            (feature, FeatureState::Off(_)) if is_off(feature) => {}
            (feature, state) => anyhow::bail!("{feature:?} is {state:?}"),
        }
    }
    Ok(())
}

pub(crate) fn cgroups() -> Result<()> {
    let mut tap = Tap::attach(&without_btf(None))?;
    let cgroup = CgroupGuard::new()?;
    let id = cgroup.id();
    let name = cgroup.path().file_name().context("a name")?;
    let path = format!("/{}", name.to_str().context("UTF-8")?);
    workload::run(&cgroup, "sleep", &["0"])?;
    drop(cgroup);
    let told = |tap: &Tap| -> Result<Vec<(&'static str, Option<String>)>> {
        let events = tap.events()?.into_iter();
        let of = |event: Event<'_>| {
            let (what, cgroup) = match event.body {
                Body::CgroupMade(cgroup) => ("made", cgroup),
                Body::CgroupEntered(cgroup) => ("entered", cgroup),
                Body::CgroupRemoved(cgroup) => ("removed", cgroup),
                _ => return None,
            };
            Some((what, cgroup.path.map(str::to_owned)))
        };
        let ours = events.filter(|(event, _)| event.cgroup_id == id);
        Ok(ours.filter_map(|(event, _)| of(event)).collect())
    };
    tap.read_until("the removal", |tap| {
        Ok(told(tap)?.iter().any(|(what, _)| *what == "removed"))
    })?;
    let expected = ["made", "entered", "removed"].map(|what| (what, Some(path.clone())));
    assert_eq!(told(&tap)?, expected);
    Ok(())
}

pub(crate) fn processes() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(without_btf(Some(cgroup.id())))?;
    let events = live.collect_events(&["exec", "fork", "exit"])?;
    workload::run(&cgroup, "classic_lives", &[])?;
    let exits = |snapshot: &Snapshot| snapshot::total(snapshot, Metric::ProcessExits, &[]);
    let all = TRUE + COPIES + 1;
    let read = live.snapshot_when("all exits", |snapshot| exits(snapshot) >= all)?;
    let check = |metric, having: &[_], expected| {
        let found = snapshot::total(&read, metric, having);
        assert_eq!(found, expected, "{metric:?} {having:?}");
    };
    let called = [(Attr::ProcessExecutableName, "true")];
    check(Metric::ProcessExecs, &called, TRUE);
    check(Metric::ProcessExits, &called, TRUE);
    check(Metric::ProcessExecs, &[], TRUE + 1);
    check(Metric::ProcessForks, &[], TRUE + COPIES);
    check(Metric::ProcessExits, &[], all);
    // Nobody knows how long they lived and how they ended.
    assert_eq!(
        snapshot::points(&read, Metric::ProcessDuration, &[]).count(),
        0
    );
    for point in snapshot::points(&read, Metric::ProcessExits, &[]) {
        for attribute in [Attr::ProcessExitCode, Attr::ProcessSignal] {
            assert_eq!(snapshot::attribute(point, attribute), None);
        }
    }
    live.ensure_nothing_lost()?;
    let lines = live.stop(events)?;
    assert_eq!(i64::try_from(lines.len())?, 2 * all + TRUE);
    for line in lines {
        let event: Value = serde_json::from_str(&line)?;
        let attributes = event["attributes"].as_object().context("attributes")?;
        let path = attributes.get("process.executable.path");
        for absent in [
            "process.exit.code",
            "wellhead.process.signal",
            "wellhead.duration",
            "process.command_args",
        ] {
            assert!(!attributes.contains_key(absent), "{absent}: {line}");
        }
        if event["name"] == "wellhead.process.exec" {
            assert!(path.is_some(), "{line}");
            assert!(!attributes.contains_key("process.parent_pid"), "{line}");
        }
    }
    Ok(())
}

pub(crate) fn connections() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    // Accepted connections have no cgroup: they are told from others by their port.
    let live = Live::start(without_btf(None))?;
    let events = live.collect_events(&["connect", "accept", "tcp.close", "connect_failed"])?;
    let said = workload::run(&cgroup, "classic_attempts", &[])?;
    let port = said["port"].to_string();
    let source = [(Attr::Reporter, "source"), (Attr::DestinationPort, &*port)];
    let destination = [
        (Attr::Reporter, "destination"),
        (Attr::DestinationPort, &port),
    ];
    let read = live.snapshot_when("all ends", |snapshot| {
        let total = |metric, having: &[_]| snapshot::total(snapshot, metric, having);
        total(Metric::TcpConnectionsClosed, &source) >= CONNECTIONS
            && total(Metric::TcpConnectionsClosed, &destination) >= CONNECTIONS
            && total(Metric::TcpConnectionFailures, &source) >= REFUSED
    })?;
    let check = |metric, having: &[_], expected| {
        let found = snapshot::total(&read, metric, having);
        assert_eq!(found, expected, "{metric:?} {having:?}");
    };
    for reporter in [&source, &destination] {
        check(Metric::TcpConnectionsOpened, reporter, CONNECTIONS);
        check(Metric::TcpConnectionsClosed, reporter, CONNECTIONS);
        check(Metric::TcpConnectionsActive, reporter, 0);
        check(Metric::TcpConnectionDuration, reporter, CONNECTIONS);
    }
    check(Metric::TcpConnectDuration, &source, CONNECTIONS);
    check(Metric::TcpConnectionFailures, &source, REFUSED);
    let unknown = [source[0], source[1], (Attr::ErrorType, "_OTHER")];
    check(Metric::TcpConnectionFailures, &unknown, REFUSED);
    for metric in [
        Metric::TcpIo,
        Metric::TcpSegments,
        Metric::TcpRetransmits,
        Metric::TcpRtt,
    ] {
        assert_eq!(
            snapshot::points(&read, metric, &[]).count(),
            0,
            "{metric:?}"
        );
    }
    let lines = live.stop(events)?;
    let port: u16 = port.parse()?;
    let ours = lines
        .iter()
        .filter(|line| line.contains(&format!(".port\":{port}")));
    let mut closed = 0;
    for line in ours {
        let event: Value = serde_json::from_str(line)?;
        let attributes = event["attributes"].as_object().context("attributes")?;
        for absent in ["bytes_sent", "bytes_received", "retransmits", "rtt"] {
            let name = format!("wellhead.tcp.{absent}");
            assert!(!attributes.contains_key(&name), "{name}: {line}");
        }
        closed += i64::from(event["name"] == "wellhead.tcp.close");
    }
    assert_eq!(closed, 2 * CONNECTIONS);
    Ok(())
}

/// Who connected is known, who accepted is not.
pub(crate) fn owners() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut tap = Tap::attach(&without_btf(None))?;
    let said = workload::run(&cgroup, "classic_attempts", &[])?;
    let port = u16::try_from(said["port"].as_u64().context("a port")?)?;
    let ends = |tap: &Tap| -> Result<Vec<(Kind, u64, bool)>> {
        let mut ends = Vec::new();
        for (event, _) in tap.events()? {
            let (kind, connection) = match &event.body {
                Body::TcpOpen(connection) => (Kind::Opened, connection),
                Body::TcpClose(end) => (Kind::Closed, &end.connection),
                Body::TcpConnectFailed(end) => (Kind::Failed, &end.connection),
                _ => continue,
            };
            if connection.destination_port() == port {
                ends.push((kind, event.cgroup_id, connection.owner.is_some()));
            }
        }
        Ok(ends)
    };
    let (connections, refused) = (usize::try_from(CONNECTIONS)?, usize::try_from(REFUSED)?);
    let all = 4 * connections + refused;
    tap.read_until("all ends", |tap| Ok(ends(tap)?.len() >= all))?;
    let ends = ends(&tap)?;
    let check = |kind, cgroup_id, owned, expected: usize| {
        let found = ends.iter().filter(|end| **end == (kind, cgroup_id, owned));
        assert_eq!(found.count(), expected, "{kind:?} {cgroup_id} {owned}");
    };
    for kind in [Kind::Opened, Kind::Closed] {
        check(kind, cgroup.id(), true, connections);
        check(kind, 0, false, connections);
    }
    check(Kind::Failed, cgroup.id(), true, refused);
    assert_eq!(ends.len(), all);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Opened,
    Closed,
    Failed,
}
