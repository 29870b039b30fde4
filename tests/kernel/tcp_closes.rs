//! Every way a connection can be closed: one record of its opening and one of its end at both ends, bytes exact.

use std::mem::offset_of;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wellhead::events::{Body, Connection, ConnectionEnd, Role};
use wellhead_common::record;
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    workload,
};

/// States of `include/net/tcp_states.h`.
const ESTABLISHED: u32 = 1;
const FIN_WAIT2: u32 = 5;
const CLOSE_WAIT: u32 = 8;
const LAST_ACK: u32 = 9;
const CLOSING: u32 = 11;

/// What is to be seen of a kind besides what both ends say they moved: state before the end and socket error, client first.
fn expectation(kind: &str) -> Result<[(u32, i32); 2]> {
    Ok(match kind {
        "client" | "half" | "megabytes" | "loss" => [(FIN_WAIT2, 0), (LAST_ACK, 0)],
        "server" | "server_killed" => [(LAST_ACK, 0), (FIN_WAIT2, 0)],
        "simultaneous" => [(CLOSING, 0), (FIN_WAIT2, 0)],
        "orphaned" => [(FIN_WAIT2, 0), (CLOSE_WAIT, libc::EPIPE)],
        "linger_0" | "unread_data" => [(ESTABLISHED, 0), (ESTABLISHED, libc::ECONNRESET)],
        other => anyhow::bail!("no expectation for {other}"),
    })
}

pub(crate) fn check(kind: &str) -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut tap = Tap::attach(&settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "tcp_close", &[kind])?;
    tap.read_until("both ends", |tap| Ok(closes(tap)?.len() >= 2))?;

    let opens = opens(&tap)?;
    let closes = closes(&tap)?;
    let events = tap.events()?;
    let failures = events
        .iter()
        .filter(|(event, _)| matches!(event.body, Body::TcpConnectFailed(_)));
    assert_eq!((opens.len(), closes.len(), failures.count()), (2, 2, 0));
    let netns = said["netns"].as_u64().context("netns")?;
    let expected = expectation(kind)?;
    for (side, role, expected) in [
        ("client", Role::Source, expected[0]),
        ("server", Role::Destination, expected[1]),
    ] {
        let of_role = |connection: &Connection| connection.role == Some(role);
        let open = opens.iter().find(|open| of_role(open)).context("opened")?;
        let (end, state) = closes
            .iter()
            .find(|(end, _)| of_role(&end.connection))
            .context("closed")?;
        let other = if side == "client" { "server" } else { "client" };
        for connection in [open, &end.connection] {
            check_connection(connection, &said[side], &said[other], side)?;
            assert_eq!(u64::from(connection.netns), netns);
        }
        assert_eq!(open.socket_id, end.connection.socket_id);
        let moved = vec![end.totals.bytes_sent, end.totals.bytes_received];
        assert_eq!(moved, numbers(&said[side]["moved"])?, "bytes of the {side}");
        assert_eq!((*state, end.errno), expected, "end of the {side}");
        if kind == "loss" && side == "client" {
            assert!(end.totals.retransmits > 0, "nothing was lost");
        }
    }
    Ok(())
}

fn check_connection(connection: &Connection, own: &Value, other: &Value, side: &str) -> Result<()> {
    let address = |end: &Value| -> Result<String> {
        Ok(format!(
            "127.0.0.1:{}",
            end["port"].as_u64().context("port")?
        ))
    };
    assert_eq!(connection.local.to_string(), address(own)?);
    assert_eq!(connection.remote.to_string(), address(other)?);
    let owner = connection.owner.context("an owner")?;
    assert_eq!(Some(u64::from(owner.pid)), own["pid"].as_u64());
    let comm = format!("kt-{side}");
    ensure!(
        owner.comm.starts_with(comm.as_bytes()),
        "owner is not {comm}"
    );
    assert!(!connection.older_than_agent && !connection.open_lost);
    assert!(connection.started_ns <= connection.established_ns);
    Ok(())
}

fn numbers(value: &Value) -> Result<Vec<u64>> {
    let values = value.as_array().context("a list")?.iter();
    values
        .map(|value| value.as_u64().context("a number"))
        .collect()
}

fn opens(tap: &Tap) -> Result<Vec<Connection>> {
    let events = tap.events()?.into_iter();
    let open = |body| match body {
        Body::TcpOpen(connection) => Some(connection),
        _ => None,
    };
    Ok(events.filter_map(|(event, _)| open(event.body)).collect())
}

/// Ends, each with the state it came from.
fn closes(tap: &Tap) -> Result<Vec<(ConnectionEnd, u32)>> {
    let at = offset_of!(record::TcpClose, state);
    let mut closes = Vec::new();
    for (event, record) in tap.events()? {
        if let Body::TcpClose(end) = event.body {
            let state = record.get(at..at + 4).context("a whole record")?;
            closes.push((end, u32::from_ne_bytes(state.try_into()?)));
        }
    }
    Ok(closes)
}
