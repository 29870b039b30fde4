//! Connections that stay in a state that does not last, and attempts that nobody answers.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::{
    catalogue::{Attr, Metric},
    snapshot::Snapshot,
};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::total,
    steps::Steps,
    workload,
};

use crate::failures::Silent;

const HALF_CLOSED: usize = 2;
const UNANSWERED: usize = 3;

/// The workload: peers close, and nobody notices; a server that does not answer; and one connection that is as it should be.
pub(crate) fn hang(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let pair = || -> Result<[TcpStream; 2]> {
        let source = TcpStream::connect(listener.local_addr()?)?;
        Ok([source, listener.accept()?.0])
    };
    let whole = pair()?;
    let half_closed: Vec<_> = (0..HALF_CLOSED).map(|_| pair()).collect::<Result<_>>()?;
    for [_, destination] in &half_closed {
        destination.shutdown(Shutdown::Write)?;
    }
    let silent = Silent::new()?;
    let attempts: Vec<_> = (0..UNANSWERED)
        .map(|_| silent.attempt())
        .collect::<Result<_>>()?;
    steps.say("hanging", "")?;
    steps.hear("go on")?;
    drop((half_closed, attempts));
    steps.say("gone on", "")?;
    steps.hear("end")?;
    drop(whole);
    Ok(json!({}))
}

fn hanging(snapshot: &Snapshot, state: &str) -> i64 {
    let having = [(Attr::ConnectionState, state)];
    total(snapshot, Metric::TcpConnectionsHanging, &having)
}

pub(crate) fn is_told() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(200);
    })?;
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "hang", &[steps.path()?])?;
    steps.hear("hanging")?;
    let all = |expected: [i64; 3]| {
        move |snapshot: &Snapshot| {
            ["syn_sent", "close_wait", "fin_wait_2"].map(|state| hanging(snapshot, state))
                == expected
        }
    };
    let read = live.snapshot_when("who hangs", all([3, 2, 2]))?;
    assert_eq!(total(&read, Metric::TcpConnectionsHanging, &[]), 7);
    for state in ["syn_sent", "close_wait", "fin_wait_2"] {
        let having = [(Attr::ConnectionState, state)];
        let longest = total(&read, Metric::TcpConnectionsHangingLongest, &having);
        ensure!((10..30).contains(&longest), "{state}: {longest} s");
    }
    steps.say("go on", "")?;
    steps.hear("gone on")?;
    live.snapshot_when("nobody hanging", all([0, 0, 0]))?;
    steps.say("end", "")?;
    running.finish()?;
    live.ensure_nothing_lost()
}
