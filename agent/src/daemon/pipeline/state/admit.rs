//! Whether a record is handled at once, or waits until it is known who it is about.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::source::Source;
use super::super::waiting::{For, Waiting};
use super::State;
use crate::events::{Body, ConnectionEnd, Event, Role, decode};
use crate::identity::cluster::Moment;
use crate::identity::{FarEnd, OwnerId};
use crate::recording::Told;

impl<S: Source> State<S> {
    /// Handles an event now, or keeps its record until it can be.
    pub(super) fn admit(&mut self, event: &Event<'_>, owner: OwnerId, record: &[u8]) {
        if let Body::TcpOpen(connection) = &event.body {
            self.identity.seen(owner, connection, event.boot_ns);
        }
        if self.awaits_pod(owner, event.boot_ns) {
            self.keep(owner, For::Pod, record);
        } else {
            self.admit_of_known_pod(event, owner, record);
        }
    }

    /// The same for an event whose owner is known, or will not be.
    fn admit_of_known_pod(&mut self, event: &Event<'_>, owner: OwnerId, record: &[u8]) {
        if self.leaves_out(event, owner) {
            self.leave_out(event, owner);
        } else if let Some(end) = self.awaited_peer(event) {
            self.keep(owner, For::Peer(end), record);
        } else {
            self.take_in_wanted(event, owner);
        }
    }

    fn keep(&mut self, owner: OwnerId, reason: For, record: &[u8]) {
        let waiting = Waiting {
            owner,
            reason,
            record: record.into(),
        };
        for evicted in self.waiting.push(waiting) {
            if let Some(event) = self.wake(&evicted) {
                self.take_in(&event, evicted.owner);
            }
        }
    }

    /// Somebody may be called something else from now on.
    pub(super) fn names_changed(&mut self) {
        self.aggregator.names_changed();
        self.release_waiting();
        self.empty_outbox();
    }

    /// Handles the records that need not wait any longer, and tells of containers what waited likewise.
    pub(super) fn release_waiting(&mut self) {
        self.release_records();
        self.close_containers();
    }

    fn release_records(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (now, settled, identity) = (self.clock.now(), self.settled, &mut self.identity);
        let released = self.waiting.release(|waiting| match &waiting.reason {
            _ if settled => false,
            For::Pod => identity.awaits_pod(waiting.owner, now),
            For::Peer(end) => identity.awaits_peer(end, now),
        });
        for waiting in released {
            let Some(event) = self.wake(&waiting) else {
                continue;
            };
            match waiting.reason {
                // Who is at its far end may not be known either.
                For::Pod => self.admit_of_known_pod(&event, waiting.owner, &waiting.record),
                For::Peer(_) => self.take_in(&event, waiting.owner),
            }
        }
    }

    /// Who answers a connection to a Service's address, when it is told of first.
    pub(super) fn backend(&mut self, event: &Event<'_>) -> Option<SocketAddr> {
        if !self.about.source.knows_backends() {
            return None;
        }
        let connection = self.aggregator.unnamed(event)?;
        let end = FarEnd::of(connection, event.boot_ns);
        if connection.role == Some(Role::Destination) || !self.identity.is_service(&end) {
            return None;
        }
        let (local, remote) = (connection.local, connection.remote);
        let source = &mut self.about.source;
        let backend = source.backend(local, remote, &self.counters)?;
        self.note(|| Told::Backend {
            local,
            remote,
            backend,
        });
        Some(backend)
    }

    /// Why this node dropped a packet of the handshake, of an attempt that failed.
    pub(super) fn drop_reason(&mut self, event: &Event<'_>) -> Option<Arc<str>> {
        let Body::TcpConnectFailed(ConnectionEnd {
            initial_sequence: Some(sequence),
            ..
        }) = event.body
        else {
            return None;
        };
        let reason = self.about.source.lost_handshake(sequence)?;
        self.note(|| Told::LostHandshake {
            sequence,
            reason: Arc::clone(&reason),
        });
        Some(reason)
    }

    /// Now, on both clocks.
    pub(super) fn moment(&self) -> Moment {
        let boot = self.clock.now();
        Moment {
            boot,
            unix: self.clock.unix_nano(boot),
        }
    }

    /// The event of a record that waited, decoded and counted when it came.
    fn wake<'a>(&mut self, waiting: &'a Waiting) -> Option<Event<'a>> {
        let event = decode(&waiting.record).ok()?;
        self.opened_late |= matches!(event.body, Body::TcpOpen(_));
        Some(event)
    }

    fn awaits_pod(&mut self, owner: OwnerId, now: u64) -> bool {
        let waits = self.waiting.awaits_pod(owner) || self.identity.awaits_pod(owner, now);
        waits && !self.settled
    }

    fn awaited_peer(&mut self, event: &Event<'_>) -> Option<FarEnd> {
        if self.settled {
            return None;
        }
        let connection = self.aggregator.unnamed(event)?;
        let end = FarEnd::of(connection, event.boot_ns);
        let waits =
            self.waiting.awaits_peer(end.ip) || self.identity.awaits_peer(&end, event.boot_ns);
        waits.then_some(end)
    }
}
