//! What the state asks, and whom: the kernel while it captures, a recording when it is replayed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::causes::chain;
use crate::counters::Counters;
use crate::kernel::{
    AttachedPrograms, Conntrack, ConntrackError, LostHandshakes, ProgramStats, Transport,
};

/// Who answers.
pub(super) trait Source {
    /// Whether the kernel's table of open connections has this one.
    fn is_open(&self, socket: u64) -> bool;

    /// Records that found their ring full and whose totals are added up.
    fn losses(&self) -> u64;

    /// Takes a connection out of that table; says whether it was there.
    fn forget(&mut self, socket: u64) -> bool;

    /// Whether connections are known by the cookies of their sockets, which never come again.
    fn know_sockets_by_cookie(&self) -> bool;

    /// Tells the programs that somebody reads what they write. Says whether they worked until now.
    fn attend(&mut self) -> bool;

    /// Copies every number the kernel owns into the agent's counters.
    fn publish(&mut self, counters: &Counters);

    /// What each program did and cost.
    fn stats(&self) -> Vec<ProgramStats>;

    /// Whether [`Self::backend`] can be answered.
    fn knows_backends(&self) -> bool;

    /// Where a connection to a translated address really goes.
    fn backend(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        counters: &Counters,
    ) -> Option<SocketAddr>;

    /// Why a packet of the handshake that began with this number was dropped on this node, if one was.
    fn lost_handshake(&mut self, sequence: u32) -> Option<Arc<str>>;
}

/// The kernel.
pub(super) struct Kernel {
    pub(super) programs: AttachedPrograms,
    conntrack: Option<Conntrack>,
    lost_handshakes: Option<LostHandshakes>,
}

impl Kernel {
    pub(super) fn new(
        programs: AttachedPrograms,
        conntrack: Option<Conntrack>,
        lost_handshakes: Option<LostHandshakes>,
    ) -> Self {
        Self {
            programs,
            conntrack,
            lost_handshakes,
        }
    }
}

impl Source for Kernel {
    fn is_open(&self, socket: u64) -> bool {
        self.programs.is_open(socket)
    }

    fn losses(&self) -> u64 {
        self.programs.losses()
    }

    fn forget(&mut self, socket: u64) -> bool {
        self.programs.forget(socket)
    }

    fn know_sockets_by_cookie(&self) -> bool {
        self.programs.know_sockets_by_cookie()
    }

    fn attend(&mut self) -> bool {
        self.programs.attend().unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::error!(
                error,
                "the programs cannot be told that somebody reads what they write"
            );
            true
        })
    }

    fn publish(&mut self, counters: &Counters) {
        self.programs.publish(counters);
    }

    fn stats(&self) -> Vec<ProgramStats> {
        self.programs.stats()
    }

    fn knows_backends(&self) -> bool {
        self.conntrack.is_some()
    }

    fn backend(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        counters: &Counters,
    ) -> Option<SocketAddr> {
        let conntrack = self.conntrack.as_mut()?;
        match conntrack.translated(Transport::Tcp, local, remote, counters) {
            Ok(backend) => backend,
            Err(error @ (ConntrackError::Absent | ConntrackError::NotPermitted)) => {
                tracing::warn!(%error, "connection tracking is not asked any more");
                self.conntrack = None;
                None
            }
            Err(error) => {
                tracing::debug!(%error, "connection tracking does not say where a connection goes");
                None
            }
        }
    }

    fn lost_handshake(&mut self, sequence: u32) -> Option<Arc<str>> {
        self.lost_handshakes.as_mut()?.take(sequence)
    }
}

/// What a recording says the kernel said.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    cookies: bool,
    /// By both ends as they were asked for.
    backends: HashMap<(SocketAddr, SocketAddr), SocketAddr>,
    /// By the number that was asked for.
    lost_handshakes: HashMap<u32, Arc<str>>,
}

impl Recorded {
    pub(super) fn new(cookies: bool) -> Self {
        Self {
            cookies,
            ..Self::default()
        }
    }

    /// The kernel said where a connection really goes. It is asked for next, and once.
    pub(super) fn learn_backend(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        backend: SocketAddr,
    ) {
        self.backends.insert((local, remote), backend);
    }

    /// The kernel said why a handshake got lost. It is asked for next, and once.
    pub(super) fn learn_lost_handshake(&mut self, sequence: u32, reason: Arc<str>) {
        self.lost_handshakes.insert(sequence, reason);
    }
}

impl Source for Recorded {
    /// Who vanished is told.
    fn is_open(&self, _socket: u64) -> bool {
        true
    }

    /// What they come to is told.
    fn losses(&self) -> u64 {
        0
    }

    /// Only who was found to be gone is asked for where the answer matters.
    fn forget(&mut self, _socket: u64) -> bool {
        true
    }

    fn know_sockets_by_cookie(&self) -> bool {
        self.cookies
    }

    fn attend(&mut self) -> bool {
        true
    }

    /// They are told.
    fn publish(&mut self, _counters: &Counters) {}

    fn stats(&self) -> Vec<ProgramStats> {
        Vec::new()
    }

    fn knows_backends(&self) -> bool {
        true
    }

    fn backend(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        _counters: &Counters,
    ) -> Option<SocketAddr> {
        self.backends.remove(&(local, remote))
    }

    fn lost_handshake(&mut self, sequence: u32) -> Option<Arc<str>> {
        self.lost_handshakes.remove(&sequence)
    }
}
