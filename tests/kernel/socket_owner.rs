//! A socket belongs to the cgroup it was made in, whoever closes it.

use std::{
    fs,
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use serde_json::{Value, json};
use wellhead::events::{Body, Role};
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    execute, netns, workload,
};

/// Connects in its own cgroup and passes the socket to a process in the cgroup whose `cgroup.procs` is given.
pub(crate) fn hand_over(arguments: &[String]) -> Result<Value> {
    let procs = arguments.first().context("where to?")?;
    let netns = netns::isolate()?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = execute::fork(|| {
        let closed = fs::write(procs, "0")
            .map_err(Into::into)
            .and_then(|()| take_and_close(theirs));
        i32::from(closed.is_err())
    })?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut accepted, _) = listener.accept()?;
    // Closing it resets the connection: both ends are gone before `close(2)` returns to the other process.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    send_descriptor(&ours, &stream)?;
    drop(stream);
    ours.write_all(&[1])?;
    ensure!(accepted.read(&mut [0]).is_err(), "no reset came");
    let (_, status) = execute::wait(child)?;
    ensure!(status == 0, "the other process ended with {status}");
    Ok(json!({ "netns": netns }))
}

fn send_descriptor(to: &UnixStream, what: &TcpStream) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [what.as_fd()];
    let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
    ensure!(fits, "no room for a descriptor");
    sendmsg(to, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    Ok(())
}

fn take_and_close(mut from: UnixStream) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    recvmsg(&from, &mut parts, &mut control, RecvFlags::empty())?;
    let mut taken: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            taken.extend(descriptors);
        }
    }
    ensure!(taken.len() == 1, "{} descriptors came", taken.len());
    // Until the maker has let go of it.
    from.read_exact(&mut [0])?;
    drop(taken);
    Ok(())
}

pub(crate) fn is_its_cgroup() -> Result<()> {
    let maker = CgroupGuard::new()?;
    let closer = CgroupGuard::new()?;
    // Both cgroups have to be seen, so all are.
    let mut tap = Tap::attach(&settings(None))?;
    let procs = closer.procs();
    let procs = procs.to_str().context("UTF-8")?;
    let said = workload::run(&maker, "socket_owner", &[procs])?;
    let netns = said["netns"].as_u64().context("netns")?;
    tap.read_until("both ends", |tap| Ok(closes(tap, netns)?.len() >= 2))?;
    let mut found = closes(&tap, netns)?;
    found.sort_by_key(|(role, _)| *role == Some(Role::Destination));
    assert_eq!(
        found,
        [
            (Some(Role::Source), maker.id()),
            (Some(Role::Destination), maker.id())
        ],
        "made in {}, closed in {}",
        maker.id(),
        closer.id()
    );
    let exits = tap
        .events()?
        .into_iter()
        .filter(|(event, _)| event.cgroup_id == closer.id() && matches!(event.body, Body::Exit(_)));
    assert_eq!(exits.count(), 1, "the closing process was in its cgroup");
    Ok(())
}

/// Role and cgroup of each end closed in a network namespace.
fn closes(tap: &Tap, netns: u64) -> Result<Vec<(Option<Role>, u64)>> {
    let mut closes = Vec::new();
    for (event, _) in tap.events()? {
        if let Body::TcpClose(end) = &event.body
            && u64::from(end.connection.netns) == netns
        {
            closes.push((end.connection.role, event.cgroup_id));
        }
    }
    Ok(closes)
}
