//! What cannot be attached is off and named; the rest runs.

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde_json::{Value, json};
use wellhead::kernel::{AttachError, Feature, FeatureState, Hooks, ProbeSettings, Probes};
use wellhead::telemetry::catalogue::Metric;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    snapshot, workload,
};

/// More entries than the kernel has memory for: the map of connections cannot be made.
pub(crate) fn one_feature_off() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let impossible = ProbeSettings {
        connections: u32::MAX,
        ..settings(Some(cgroup.id()))
    };
    let probes = Probes::attach(&impossible)?;
    for status in &probes.features {
        match (status.feature, &status.state) {
            (Feature::Tcp, FeatureState::Off(reason)) => {
                ensure!(status.wanted, "TCP is wanted");
                ensure!(status.mechanism == "none", "TCP by {}", status.mechanism);
                ensure!(reason.contains("CONNECTIONS"), "the reason: {reason}");
            }
            (Feature::LiveConnections | Feature::TcpHealth, FeatureState::Off(reason)) => {
                ensure!(reason.contains("part of"), "the reason: {reason}");
            }
            (Feature::Restart | Feature::Conntrack, FeatureState::Off(_)) => {
                ensure!(!status.wanted, "{:?} is not asked for", status.feature);
            }
            (
                Feature::Process
                | Feature::Identity
                | Feature::LiveProcesses
                | Feature::Udp
                | Feature::Dns
                | Feature::Drops,
                FeatureState::On,
            ) => {}
            (feature, state) => anyhow::bail!("{feature:?} is {state:?}"),
        }
    }
    drop(probes);
    let live = Live::start(impossible)?;
    workload::run(&cgroup, "sleep", &["0"])?;
    let read = live.snapshot_when("the exit", |snapshot| {
        snapshot::total(snapshot, Metric::ProcessExits, &[]) >= 1
    })?;
    assert_eq!(snapshot::total(&read, Metric::ProcessExecs, &[]), 1);
    Ok(())
}

/// Beyond the end of every structure.
const BEYOND: u32 = 1_000_000;

/// Offsets the verifier does not accept: each switches off the one feature whose program reads the field, or, of a program that can
/// be done without, none.
pub(crate) fn broken_offsets() -> Result<()> {
    for (field, broken) in [
        ("TCP_SRTT", Some(Feature::Tcp)),
        ("SIGNAL_FLAGS", Some(Feature::Process)),
        ("CGROUP_ROOT_HIERARCHY", Some(Feature::Identity)),
        ("SOCK_ERRORS", None),
    ] {
        let settings = ProbeSettings {
            hooks: Hooks {
                offsets: vec![(field, BEYOND)],
                ..Hooks::default()
            },
            ..settings(None)
        };
        let probes = Probes::attach(&settings)?;
        for status in &probes.features {
            let off = matches!(status.state, FeatureState::Off(_));
            let expected = match status.feature {
                Feature::LiveProcesses => broken == Some(Feature::Process),
                Feature::LiveConnections | Feature::TcpHealth => broken == Some(Feature::Tcp),
                // Tests of programs keep nothing and ask nobody else.
                Feature::Restart | Feature::Conntrack => true,
                other => broken == Some(other),
            };
            assert_eq!(off, expected, "{field}: {status:?}");
        }
    }
    Ok(())
}

/// The workload: attaches with these capabilities and no other.
pub(crate) fn powerless(arguments: &[String]) -> Result<Value> {
    let mut kept = CapabilitySet::empty();
    for name in arguments {
        kept |= match name.as_str() {
            "CAP_BPF" => CapabilitySet::BPF,
            "CAP_PERFMON" => CapabilitySet::PERFMON,
            other => anyhow::bail!("not expected: {other}"),
        };
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("set_capabilities")?;
    let error = Probes::attach(&settings(None))
        .err()
        .context("it attached")?;
    let missing = match &error {
        AttachError::Privilege { missing, .. } => missing.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Ok(json!({ "missing": missing, "message": error.to_string() }))
}

pub(crate) fn without_privilege() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let all = ["CAP_BPF", "CAP_PERFMON"];
    for kept in [&[][..], &["CAP_BPF"], &["CAP_PERFMON"]] {
        let said = workload::run(&cgroup, "powerless", kept)?;
        let missing: Vec<&str> = all
            .into_iter()
            .filter(|name| !kept.contains(name))
            .collect();
        assert_eq!(said["missing"], json!(missing), "with {kept:?}: {said}");
        let message = said["message"].as_str().context("a message")?;
        for name in missing {
            ensure!(message.contains(name), "{message:?} does not name {name}");
        }
    }
    Ok(())
}
