//! Opens that found their ring full: each is told again with the connection's end, and no other is.

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::events::Body;
use wellhead::kernel::ProbeSettings;
use wellhead_common::record::Kind;
use wellhead_tests::{
    capture::{DEADLINE, Tap, settings},
    cgroup::CgroupGuard,
    netns, workload,
};

use crate::many_live;

/// Connections; the records of both their ends fill the smallest ring several times.
const CONNECTIONS: usize = 60;

/// Between two ends, so that the reader keeps up with the smallest ring.
const PAUSE: Duration = Duration::from_millis(2);

/// The workload: opens connections, and closes them when the file named is gone.
pub(crate) fn open_and_wait(arguments: &[String]) -> Result<Value> {
    let file = Path::new(arguments.first().context("which file?")?);
    netns::isolate()?;
    let pairs = many_live::pairs(CONNECTIONS)?;
    while file.exists() {
        thread::sleep(PAUSE);
    }
    for (mut source, mut destination) in pairs {
        source.write_all(&[0; 7])?;
        drop(source);
        destination.read_to_end(&mut Vec::new())?;
        drop(destination);
        thread::sleep(PAUSE);
    }
    Ok(json!({}))
}

pub(crate) fn are_told_with_the_end() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let page = u32::try_from(rustix::param::page_size())?;
    let mut tap = Tap::attach(&ProbeSettings {
        network_ring: page,
        ..settings(Some(cgroup.id()))
    })?;
    let held = tempfile::NamedTempFile::new()?.into_temp_path();
    let path = held.to_str().context("UTF-8")?.to_owned();
    let running = workload::start(&cgroup, "open_and_wait", &[&path])?;

    let ends = 2 * CONNECTIONS as u64;
    let opens = |tap: &Tap| {
        let programs = &tap.probes.programs;
        (
            programs.submitted(Kind::TcpOpen),
            programs.lost(Kind::TcpOpen),
        )
    };
    let start = Instant::now();
    while opens(&tap).0 + opens(&tap).1 < ends {
        ensure!(start.elapsed() < DEADLINE, "opens: {:?}", opens(&tap));
        thread::sleep(PAUSE);
    }
    held.close()?;
    let closes = |tap: &Tap| -> Result<u64> {
        let events = tap.events()?;
        let closes = events
            .iter()
            .filter(|(event, _)| matches!(event.body, Body::TcpClose(_)));
        Ok(closes.count() as u64)
    };
    tap.read_until("all ends", |tap| Ok(closes(tap)? >= ends))?;
    running.finish()?;

    let (submitted, lost) = opens(&tap);
    ensure!(lost > 0, "nothing was lost");
    assert_eq!(submitted + lost, ends);
    assert_eq!(tap.probes.programs.lost(Kind::TcpClose), 0);
    let (mut opened, mut told_late) = (HashSet::new(), HashSet::new());
    for (event, _) in tap.events()? {
        match event.body {
            Body::TcpOpen(connection) => _ = opened.insert(connection.socket_id),
            Body::TcpClose(end) if end.connection.open_lost => {
                _ = told_late.insert(end.connection.socket_id);
            }
            _ => {}
        }
    }
    assert_eq!(
        (opened.len() as u64, told_late.len() as u64),
        (submitted, lost)
    );
    assert!(opened.is_disjoint(&told_late));
    Ok(())
}
