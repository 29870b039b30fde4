//! From events to measurements in the store.

mod balance;
mod containers;
mod ends;
mod flows;
mod hanging;
mod listeners;
mod lookups;
mod process;
mod spilled;
mod tallied;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use self::flows::Flows;
use self::hanging::{Found, Hanging};
use self::listeners::Listeners;
use crate::counters::Discard;
use crate::events::dns::lookups::Lookup;
use crate::events::{Body, Connection, Event, Role, Spilled, executable_name};
use crate::identity::containers::Ended;
use crate::identity::{FarEnd, Grown, Identity, MemoryLeft, OwnerId, Process, Value};
use crate::kernel::{Dropped, TcpState, UdpFlow};
use crate::telemetry::catalogue::Attr;
use crate::telemetry::store::Store;

/// An event with everything that has to be known to count it.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence<'a> {
    /// What happened.
    pub event: &'a Event<'a>,
    /// When, on the wall clock, nanoseconds since the Unix epoch.
    pub unix_nano: u64,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The process it is about, where known: as it was before the event, of an execution as it is from now on.
    pub process: Option<&'a Process>,
    /// Whom the address that was dialled was translated to, where it is a Service's and that is known.
    pub backend: Option<SocketAddr>,
    /// Why this node dropped a packet of the handshake, of an attempt that failed, where it did.
    pub drop_reason: Option<&'a Arc<str>>,
}

impl Occurrence<'_> {
    /// The far end of a connection this event is about, when it was opened or as near to that as is known.
    pub(super) fn far_end(&self, connection: &Connection) -> FarEnd {
        let end = FarEnd::of(connection, self.event.boot_ns);
        // Whoever is connected to did not ask for the other's address.
        if connection.role == Some(Role::Destination) {
            return end;
        }
        end.asked_by(self.event.cgroup_id)
    }

    /// The name the process's program was called by, or its `comm` if it is older than the agent.
    pub(super) fn executable(&self, comm: &[u8]) -> Value {
        let known = self.process.and_then(|process| process.executable.clone());
        Value::Str(known.unwrap_or_else(|| executable_name(&[], false, comm).into()))
    }
}

/// A socket that snapshots tell of, and none told of for so long, has gone.
const GONE_AFTER_NS: u64 = 150_000_000_000;

/// Open connections for each listening socket there is room for.
const CONNECTIONS_PER_LISTENER: usize = 16;

/// Likewise for each connection that hangs.
const CONNECTIONS_PER_HANGING: usize = 16;

/// Counts events, and remembers what makes counting the next one cheap.
#[derive(Debug)]
pub struct Aggregator {
    flows: Flows,
    listeners: Listeners,
    hanging: Hanging,
}

impl Aggregator {
    /// One that remembers at most `connections` open connections.
    pub fn new(connections: usize) -> Self {
        Self {
            flows: Flows::new(connections),
            listeners: Listeners::new(connections / CONNECTIONS_PER_LISTENER),
            hanging: Hanging::new(connections / CONNECTIONS_PER_HANGING),
        }
    }

    /// Counts one event.
    pub fn count(
        &mut self,
        store: &mut Store,
        identity: &mut Identity,
        occurrence: &Occurrence<'_>,
    ) {
        self.follow_hanging(store, identity, occurrence);
        let flows = &mut self.flows;
        match &occurrence.event.body {
            Body::Fork(_) => process::forked(store, occurrence),
            Body::Exec(exec) => process::executed(store, occurrence, exec),
            Body::Exit(exit) => process::exited(store, occurrence, exit),
            Body::OomKill(kill) => process::killed_for_memory(store, occurrence, kill),
            Body::TcpOpen(connection) => {
                tcp::opened(flows, store, identity, occurrence, connection);
            }
            Body::TcpClose(end) => tcp::closed(flows, store, identity, occurrence, end),
            Body::TcpConnectFailed(end) => tcp::failed(flows, store, identity, occurrence, end),
            Body::TcpSnapshot(state) => {
                tcp::found_open(flows, store, identity, occurrence, state);
            }
            Body::TcpReset(connection) => {
                tcp::reset(flows, store, identity, occurrence, connection);
            }
            Body::TcpListener(listener) => {
                if !self.listeners.found(store, occurrence, listener) {
                    store.discard(Discard::StoreListenersFull);
                }
            }
            Body::CgroupMade(_)
            | Body::CgroupRemoved(_)
            | Body::CgroupEntered(_)
            | Body::Dns(_)
            | Body::TcpAttempt(_)
            | Body::TcpListen(_)
            | Body::Freed(_)
            | Body::Found(_) => {}
        }
    }

    /// Counts what a process used since that was counted last.
    pub fn count_used(store: &mut Store, about: (OwnerId, u64), process: &Process, grown: &Grown) {
        process::used(store, about, process, grown);
    }

    /// Takes off the memory that a process had as what it was before it executed a program.
    pub fn left_memory(store: &mut Store, left: &MemoryLeft, unix_nano: u64) {
        process::left_memory(store, left, unix_nano);
    }

    /// Takes notice of connections and attempts in a state that does not last.
    fn follow_hanging(
        &mut self,
        store: &mut Store,
        identity: &mut Identity,
        occurrence: &Occurrence<'_>,
    ) {
        let (connection, state, since_ns) = match &occurrence.event.body {
            Body::TcpSnapshot(end) => (&end.connection, end.state, None),
            Body::TcpAttempt(attempt) => (attempt, Some(TcpState::SynSent), attempt.started_ns),
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => (&end.connection, None, None),
            Body::TcpOpen(connection) => (connection, None, None),
            _ => return,
        };
        let named = state.and_then(|state| Some((state, hanging::name_of(state)?)));
        let Some((state, name)) = named else {
            self.hanging.over(connection.socket_id);
            return;
        };
        let found = Found {
            socket: connection.socket_id,
            state,
            since_ns,
            boot_ns: occurrence.event.boot_ns,
        };
        let flows = &mut self.flows;
        let whose = || {
            // An attempt's socket may have the number of one that was closed.
            let known = match state {
                TcpState::SynSent => None,
                _ => flows.of_latest(connection.socket_id),
            };
            let flow = known.unwrap_or_else(|| flows.of(identity, occurrence, connection));
            let state = (Attr::ConnectionState, Value::Static(name));
            (occurrence.owner, flows.attributes_with(flow, state))
        };
        if !self.hanging.found(&found, whose) {
            store.discard(Discard::StoreHangingFull);
        }
    }

    /// The end of an open connection, where the event tells of a failed attempt: the programs of an upgraded agent knew it
    /// as it was when it was copied to them, still being opened, and it ended before that was brought up to date.
    pub fn as_end_of_open<'a>(&self, event: &Event<'a>) -> Option<Event<'a>> {
        let Body::TcpConnectFailed(end) = &event.body else {
            return None;
        };
        let was_open = end.handshake_over() && self.flows.is_open(end.connection.socket_id);
        was_open.then(|| Event {
            body: Body::TcpClose(end.clone()),
            ..*event
        })
    }

    /// An event about a connection of somebody who is left out: nothing is counted, but that it is open is known.
    pub fn leave_out(&mut self, store: &mut Store, event: &Event<'_>, now: u64) {
        match &event.body {
            Body::TcpOpen(connection) => {
                tcp::vanished(&mut self.flows, store, connection.socket_id, now);
                self.flows.leave_out(connection);
            }
            Body::TcpSnapshot(end) => self.flows.leave_out(&end.connection),
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => {
                self.flows.balance.touch(end.connection.netns);
                self.flows.close(end.connection.socket_id);
            }
            _ => {}
        }
    }

    /// Whether an event goes on with a connection that is counted as active.
    pub fn follows(&self, event: &Event<'_>) -> bool {
        match &event.body {
            Body::TcpClose(end) | Body::TcpConnectFailed(end) | Body::TcpSnapshot(end) => {
                self.flows.is_open(end.connection.socket_id)
            }
            Body::TcpReset(connection) => self.flows.of_latest(connection.socket_id).is_some(),
            _ => false,
        }
    }

    /// These owners are left out from now on: none of their connections is active any more.
    pub fn let_go(&mut self, store: &mut Store, owners: &HashSet<OwnerId>, now: u64) {
        self.flows.forget();
        self.flows.forget_closed();
        self.hanging.let_go(owners);
        for (socket, netns) in self.flows.open_of(owners) {
            tcp::vanished(&mut self.flows, store, socket, now);
            self.flows.note_left_out(socket, netns);
        }
    }

    /// The connection of an event whose ends are not called anything yet: it is not followed.
    pub fn unnamed<'a>(&self, event: &'a Event<'_>) -> Option<&'a Connection> {
        let connection = match &event.body {
            Body::TcpOpen(connection) => connection,
            Body::TcpClose(end) | Body::TcpConnectFailed(end) | Body::TcpSnapshot(end) => {
                &end.connection
            }
            Body::TcpReset(connection) if self.flows.of_latest(connection.socket_id).is_none() => {
                connection
            }
            _ => return None,
        };
        (!self.flows.is_open(connection.socket_id)).then_some(connection)
    }

    /// Counts events whose details are lost.
    pub fn count_spilled(
        &mut self,
        store: &mut Store,
        identity: &mut Identity,
        owner: OwnerId,
        spilled: &Spilled,
        now: u64,
    ) {
        spilled::count(&mut self.flows, store, identity, (owner, now), spilled);
    }

    /// Counts a look-up that ended at this time, nanoseconds since the Unix epoch; with the name that was asked for, if that is wanted.
    pub fn count_lookup(store: &mut Store, owner: OwnerId, lookup: &Lookup, how: (u64, bool)) {
        lookups::ended(store, owner, lookup, how);
    }

    /// Counts a container that ended, for whoever outlives it: of a pod's, `name` says which one.
    pub fn count_container(
        store: &mut Store,
        owner: OwnerId,
        name: Option<&Arc<str>>,
        (ended, now): (&Ended, u64),
    ) {
        containers::ended(store, owner, name, ended, now);
    }

    /// Counts packets that were dropped.
    pub fn count_dropped(store: &mut Store, owner: OwnerId, dropped: &Dropped, now: u64) {
        tallied::dropped(store, owner, dropped, now);
    }

    /// Counts datagrams, taken at this time on the boot clock.
    pub fn count_datagrams(
        &mut self,
        store: &mut Store,
        identity: &mut Identity,
        (owner, now): (OwnerId, u64),
        udp: (&UdpFlow, u64),
    ) {
        tallied::datagrams(&mut self.flows, store, identity, (owner, now), udp);
    }

    /// A connection is not open any more, although nothing was told of its end.
    pub fn connection_vanished(&mut self, store: &mut Store, socket: u64, now: u64) {
        tcp::vanished(&mut self.flows, store, socket, now);
        self.hanging.over(socket);
    }

    /// The ids of all connections that are counted as active.
    pub fn open_connections(&self) -> impl ExactSizeIterator<Item = u64> {
        self.flows.all_open().map(|(socket, _)| socket)
    }

    /// The ids of all open connections of those who are left out.
    pub fn left_out_connections(&self) -> impl ExactSizeIterator<Item = u64> {
        self.flows.left_out().map(|(socket, _)| socket)
    }

    /// The network namespace of an open connection, by its inode number.
    pub fn namespace_of(&self, socket: u64) -> Option<u32> {
        self.flows.namespace_of(socket)
    }

    /// How many connections are open in each network namespace, by its inode number.
    pub fn open_by_namespace(&self) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        let active = self.flows.all_open().map(|(_, open)| open.netns);
        let left_out = self.flows.left_out().map(|(_, netns)| netns);
        for netns in active.chain(left_out) {
            *counts.entry(netns).or_default() += 1;
        }
        counts
    }

    /// Connections opened less those closed less those active, as they were counted: 0, or the counting is wrong. What was
    /// opened and not followed is left out, and what was followed without being counted as opened.
    pub fn imbalance(&self) -> i64 {
        let active = i64::try_from(self.flows.all_open().len()).unwrap_or(i64::MAX);
        self.flows.balance.drift(active)
    }

    /// From now on notes in which network namespaces connections come and go, for a short while.
    pub fn watch_namespaces(&mut self) {
        self.flows.balance.watch();
    }

    /// In which they came and went since.
    pub fn take_changed_namespaces(&mut self) -> HashSet<u32> {
        self.flows.balance.take_changed()
    }

    /// Lets time pass: what is not there any more is forgotten.
    pub fn expire(&mut self, store: &mut Store, boot_ns: u64, unix_nano: u64) {
        self.listeners.expire(store, boot_ns, unix_nano);
        self.flows.forget_closed();
    }

    /// Tells who hangs, which time alone changes.
    pub fn tell_hanging(&mut self, store: &mut Store, boot_ns: u64, unix_nano: u64) {
        self.hanging.tell(store, boot_ns, unix_nano);
    }

    /// To be called whenever somebody may be called something else from now on.
    pub fn names_changed(&mut self) {
        self.flows.forget();
    }

    /// Owners whose handles are remembered; one may come several times.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let listening = self.listeners.owners();
        let hanging = self.hanging.owners();
        self.flows.owners().chain(listening).chain(hanging)
    }
}

type Attributes = Vec<(Attr, Value)>;

/// Nanoseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration of 104 days is still exact to the nanosecond"
)]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// A kernel counter as the store's signed unit.
fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
