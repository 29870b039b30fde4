//! An agent in a PID namespace of its own, as in a container without `hostPID`: iterators show what is inside.

use anyhow::{Context as _, Result, ensure};
use rustix::thread::UnshareFlags;
use serde_json::{Value, json};
use wellhead::events::Body;
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    execute,
    steps::Steps,
    workload,
};

use crate::live::CONNECTIONS;

/// The workload: the first process of a PID namespace looks at what is there.
pub(crate) fn look_around(arguments: &[String]) -> Result<Value> {
    let [directory, cgroup] = arguments else {
        anyhow::bail!("where and whose?");
    };
    let cgroup = cgroup.parse()?;
    // SAFETY: a new PID namespace for children shares no memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }.context("unshare")?;
    let steps = Steps::at(directory);
    let inside = execute::fork(|| {
        let told = look(cgroup).and_then(|seen| steps.say("seen", &seen.to_string()));
        i32::from(told.is_err())
    })?;
    let seen = steps.hear("seen")?;
    execute::wait(inside)?;
    let seen: Value = serde_json::from_str(&seen)?;
    Ok(json!({ "inside": inside, "seen": seen }))
}

/// Pids of the processes of a cgroup that are told, and how many connections.
fn look(cgroup: u64) -> Result<Value> {
    let mut tap = Tap::attach(&settings(Some(cgroup)))?;
    tap.probes.live.tell_processes()?;
    tap.probes.programs.begin_snapshot();
    tap.probes.live.tell_connections()?;
    tap.drain();
    let mut features = tap.probes.features.iter();
    let by_holder = features.any(|status| status.mechanism == "iter/task_file");
    let (mut pids, mut connections) = (Vec::new(), 0);
    for (event, _) in tap.events()? {
        match event.body {
            Body::Found(found) => pids.push(found.process.pid),
            Body::TcpSnapshot(_) => connections += 1,
            _ => {}
        }
    }
    Ok(json!({ "pids": pids, "connections": connections, "by_holder": by_holder }))
}

pub(crate) fn show_what_is_inside() -> Result<()> {
    let (cgroup, steps) = (CgroupGuard::new()?, Steps::new()?);
    let outside = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    steps.hear("open")?;
    let id = cgroup.id().to_string();
    let said = workload::run(&cgroup, "look_around", &[steps.path()?, &id])?;
    // By the number it has outside.
    assert_eq!(said["seen"]["pids"], json!([said["inside"]]), "{said}");
    // Before Linux 5.11 they are told whoever holds them.
    let expected = if said["seen"]["by_holder"] == true {
        0
    } else {
        2 * CONNECTIONS
    };
    ensure!(said["seen"]["connections"] == expected, "{said}");

    let seen = look(cgroup.id())?;
    assert_eq!(seen["pids"], json!([outside.pid()]), "{seen}");
    ensure!(seen["connections"] == 2 * CONNECTIONS, "{seen}");
    Ok(())
}
