//! Flows: what connections between the same two ends have in common, found once and then counted without a look-up.

use std::collections::HashSet;
use std::net::IpAddr;

use super::balance::Balance;
use super::ends::flow_attributes;
use super::{Attributes, Occurrence};
use wellhead_common::maps::Traffic;

use crate::events::{Connection, Role};
use crate::hash::HashMap;
use crate::identity::{Identity, OwnerId, PeerKey, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::store::{Measurement, SeriesId, Store};

/// The series every flow may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowSeries {
    Opened,
    Active,
    Closed,
    ConnectDuration,
    Duration,
    Rtt,
    BytesSent,
    BytesReceived,
    SegmentsSent,
    SegmentsReceived,
    RttMin,
    Handshake,
    Timeout,
    Probe,
    Fast,
    OtherRetransmits,
    OutOfOrder,
    ResetsSent,
    ResetsReceived,
    Busy,
    ReceiveWindow,
    SendBuffer,
    UdpBytesSent,
    UdpBytesReceived,
    UdpSent,
    UdpReceived,
    QuicBytesSent,
    QuicBytesReceived,
    QuicSent,
    QuicReceived,
}

const SERIES: usize = FlowSeries::QuicReceived as usize + 1;

impl FlowSeries {
    fn metric(self) -> Metric {
        match self {
            Self::Opened => Metric::TcpConnectionsOpened,
            Self::Active => Metric::TcpConnectionsActive,
            Self::Closed => Metric::TcpConnectionsClosed,
            Self::ConnectDuration => Metric::TcpConnectDuration,
            Self::Duration => Metric::TcpConnectionDuration,
            Self::Rtt => Metric::TcpRtt,
            Self::BytesSent | Self::BytesReceived => Metric::TcpIo,
            Self::SegmentsSent | Self::SegmentsReceived => Metric::TcpSegments,
            Self::RttMin => Metric::TcpRttMin,
            Self::Handshake | Self::Timeout | Self::Probe | Self::Fast | Self::OtherRetransmits => {
                Metric::TcpRetransmits
            }
            Self::OutOfOrder => Metric::TcpOutOfOrder,
            Self::ResetsSent | Self::ResetsReceived => Metric::TcpResets,
            Self::Busy | Self::ReceiveWindow | Self::SendBuffer => Metric::TcpLimited,
            Self::UdpBytesSent
            | Self::UdpBytesReceived
            | Self::QuicBytesSent
            | Self::QuicBytesReceived => Metric::UdpIo,
            Self::UdpSent | Self::UdpReceived | Self::QuicSent | Self::QuicReceived => {
                Metric::UdpDatagrams
            }
        }
    }

    /// The attribute it has beside those of the flow.
    fn own_attribute(self) -> Option<(Attr, Value)> {
        let (attribute, value) = match self {
            Self::BytesSent
            | Self::SegmentsSent
            | Self::ResetsSent
            | Self::UdpBytesSent
            | Self::UdpSent
            | Self::QuicBytesSent
            | Self::QuicSent => (Attr::NetworkIoDirection, "transmit"),
            Self::BytesReceived
            | Self::SegmentsReceived
            | Self::ResetsReceived
            | Self::UdpBytesReceived
            | Self::UdpReceived
            | Self::QuicBytesReceived
            | Self::QuicReceived => (Attr::NetworkIoDirection, "receive"),
            Self::Handshake => (Attr::TcpRetransmitReason, "handshake"),
            Self::Timeout => (Attr::TcpRetransmitReason, "timeout"),
            Self::Probe => (Attr::TcpRetransmitReason, "tail_loss_probe"),
            Self::Fast => (Attr::TcpRetransmitReason, "fast"),
            Self::OtherRetransmits => (Attr::TcpRetransmitReason, "_OTHER"),
            Self::Busy => (Attr::TcpLimit, "busy"),
            Self::ReceiveWindow => (Attr::TcpLimit, "receive_window"),
            Self::SendBuffer => (Attr::TcpLimit, "send_buffer"),
            Self::Opened
            | Self::Active
            | Self::Closed
            | Self::ConnectDuration
            | Self::Duration
            | Self::Rtt
            | Self::RttMin
            | Self::OutOfOrder => return None,
        };
        Some((attribute, Value::Static(value)))
    }

    /// What is carried, where that is known.
    fn protocol(self) -> Option<(Attr, Value)> {
        let is_quic = matches!(
            self,
            Self::QuicBytesSent | Self::QuicBytesReceived | Self::QuicSent | Self::QuicReceived
        );
        is_quic.then_some((Attr::NetworkProtocolName, Value::Static("quic")))
    }
}

/// Name of a flow. Valid until the next [`Flows::forget`], and beyond that while a connection of it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowId(usize);

/// What decides which flow a connection belongs to, as long as nobody is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    owner: OwnerId,
    /// `None`: what is known of an owner's connections, but not of which.
    ends: Option<Ends>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    role: Option<Role>,
    local_is_loopback: bool,
    remote: IpAddr,
    /// Who has that address, and who answers for it.
    peer: PeerKey,
    port: u16,
}

#[derive(Clone, Debug)]
struct Flow {
    owner: OwnerId,
    attributes: Attributes,
    series: [Option<SeriesId>; SERIES],
    /// Connections that were counted as opened under it and not yet as closed, or a moment ago.
    open: u32,
    /// Found by its key; otherwise it goes with its last open connection.
    current: bool,
}

/// An open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) flow: FlowId,
    /// What was counted of its traffic.
    pub(super) counted: Traffic,
    /// Inode number of its network namespace.
    pub(super) netns: u32,
}

/// All flows being counted, and which open connection belongs to which.
#[derive(Debug)]
pub(super) struct Flows {
    slots: Vec<Option<Flow>>,
    free: Vec<usize>,
    by_key: HashMap<Key, FlowId>,
    /// Connections to very many peers may have the same names all the same: then they are one flow.
    by_attributes: HashMap<(OwnerId, Attributes), FlowId>,
    /// By the id of the socket.
    open: HashMap<u64, Open>,
    /// Open connections of those who are left out: the inode number of their network namespace, by the id of the socket.
    left_out: HashMap<u64, u32>,
    /// Connections that were closed last, by the id of the socket, and where the next one's place is.
    closed: ([(u64, FlowId); JUST_CLOSED], usize),
    open_limit: usize,
    limit: usize,
    pub(super) balance: Balance,
}

/// A reset is sent at once after the state has changed, if it was not before: more than these do not end on all processors in
/// the meantime.
const JUST_CLOSED: usize = 256;

/// Open connections for each flow there is room for: most nodes talk to few peers, many times.
const CONNECTIONS_PER_FLOW: usize = 8;

impl Flows {
    /// No flows. At most `connections` open connections are remembered, and fewer if they are of very many flows.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            by_attributes: HashMap::default(),
            open: HashMap::default(),
            left_out: HashMap::default(),
            closed: ([(0, FlowId(usize::MAX)); JUST_CLOSED], 0),
            open_limit: connections.max(1),
            limit: (connections / CONNECTIONS_PER_FLOW).max(1),
            balance: Balance::default(),
        }
    }

    /// The flow a connection belongs to, under the names of now.
    pub(super) fn of(
        &mut self,
        identity: &mut Identity,
        occurrence: &Occurrence<'_>,
        connection: &Connection,
    ) -> FlowId {
        let ends = Ends {
            role: connection.role,
            local_is_loopback: connection.local.ip().is_loopback(),
            remote: connection.remote.ip(),
            peer: identity.peer_key(&occurrence.far_end(connection), occurrence.backend),
            port: connection.destination_port(),
        };
        let key = Key {
            owner: occurrence.owner,
            ends: Some(ends),
        };
        self.find_or_add(key, || flow_attributes(identity, occurrence, connection))
    }

    /// What connections of an owner have in common of which nothing else is known.
    pub(super) fn of_unknown_peers(&mut self, owner: OwnerId) -> FlowId {
        self.find_or_add(Key { owner, ends: None }, Attributes::new)
    }

    fn find_or_add(&mut self, key: Key, attributes: impl FnOnce() -> Attributes) -> FlowId {
        if let Some(known) = self.by_key.get(&key) {
            return *known;
        }
        if self.by_key.len() >= self.limit {
            self.forget();
        }
        let named = (key.owner, attributes());
        let known = self.by_attributes.get(&named).copied();
        let flow = known.unwrap_or_else(|| {
            let flow = self.add(Flow {
                owner: key.owner,
                attributes: named.1.clone(),
                series: [None; SERIES],
                open: 0,
                current: true,
            });
            self.by_attributes.insert(named, flow);
            flow
        });
        self.by_key.insert(key, flow);
        flow
    }

    /// Follows an open connection from now on; says whether there was room. It must not be followed already.
    pub(super) fn open(&mut self, socket: u64, open: Open) -> bool {
        self.left_out.remove(&socket);
        let flows = self.slots.len() - self.free.len();
        if !self.has_room() || flows > self.limit {
            return false;
        }
        self.open.insert(socket, open);
        if let Some(flow) = self.get_mut(open.flow) {
            flow.open += 1;
        }
        true
    }

    /// An open connection.
    pub(super) fn opened(&mut self, socket: u64) -> Option<&mut Open> {
        self.open.get_mut(&socket)
    }

    /// The inode number of an open connection's network namespace.
    pub(super) fn namespace_of(&self, socket: u64) -> Option<u32> {
        let followed = self.open.get(&socket).map(|open| open.netns);
        followed.or_else(|| self.left_out.get(&socket).copied())
    }

    /// Whether an open connection is followed under this id.
    pub(super) fn is_open(&self, socket: u64) -> bool {
        self.open.contains_key(&socket)
    }

    /// A connection is not open any more; the caller releases its flow.
    pub(super) fn close(&mut self, socket: u64) -> Option<Open> {
        self.left_out.remove(&socket);
        self.open.remove(&socket)
    }

    /// A connection of this flow was closed. As long as that is remembered the flow stays, whatever its ends are called since.
    pub(super) fn note_closed(&mut self, socket: u64, flow: FlowId) {
        if let Some(flow) = self.get_mut(flow) {
            flow.open += 1;
        }
        let (closed, next) = &mut self.closed;
        let (_, forgotten) = std::mem::replace(&mut closed[*next], (socket, flow));
        *next = (*next + 1) % JUST_CLOSED;
        self.release(forgotten);
    }

    /// Remembers nobody who was open a moment ago.
    pub(super) fn forget_closed(&mut self) {
        for place in 0..JUST_CLOSED {
            let nobody = (0, FlowId(usize::MAX));
            let (_, forgotten) = std::mem::replace(&mut self.closed.0[place], nobody);
            self.release(forgotten);
        }
    }

    /// The flow of a connection that is open, or was a moment ago.
    pub(super) fn of_latest(&self, socket: u64) -> Option<FlowId> {
        if let Some(open) = self.open.get(&socket) {
            return Some(open.flow);
        }
        // The latest first: where sockets are known by their addresses, these come again.
        let (closed, next) = &self.closed;
        let (later, earlier) = closed.split_at(*next);
        let mut latest = later.iter().rev().chain(earlier.iter().rev());
        let found = latest.find(|(id, _)| *id == socket);
        found.map(|(_, flow)| *flow)
    }

    /// A connection is open of somebody who is left out.
    pub(super) fn leave_out(&mut self, connection: &Connection) {
        self.balance.touch(connection.netns);
        self.note_left_out(connection.socket_id, connection.netns);
    }

    /// The same. Without room it is not known.
    pub(super) fn note_left_out(&mut self, socket: u64, netns: u32) {
        if self.has_room() {
            self.left_out.insert(socket, netns);
        }
    }

    /// Open connections of those who are left out, and the inode numbers of their network namespaces.
    pub(super) fn left_out(&self) -> impl ExactSizeIterator<Item = (u64, u32)> {
        self.left_out
            .iter()
            .map(|(socket, netns)| (*socket, *netns))
    }

    /// Open connections that are followed of these owners, and the inode numbers of their network namespaces.
    pub(super) fn open_of(&self, owners: &HashSet<OwnerId>) -> Vec<(u64, u32)> {
        let is_theirs = |flow| {
            self.get(flow)
                .is_some_and(|flow| owners.contains(&flow.owner))
        };
        let theirs = self.open.iter().filter(|(_, open)| is_theirs(open.flow));
        theirs.map(|(socket, open)| (*socket, open.netns)).collect()
    }

    /// All open connections that are followed.
    pub(super) fn all_open(&self) -> impl ExactSizeIterator<Item = (u64, &Open)> {
        self.open.iter().map(|(socket, open)| (*socket, open))
    }

    /// One connection fewer is open under a flow.
    pub(super) fn release(&mut self, id: FlowId) {
        let Some(flow) = self.get_mut(id) else { return };
        flow.open = flow.open.saturating_sub(1);
        if flow.open == 0 && !flow.current {
            self.remove(id);
        }
    }

    /// Forgets what everybody is called. Open connections keep their names until they are closed.
    pub(super) fn forget(&mut self) {
        self.by_key.clear();
        for id in std::mem::take(&mut self.by_attributes).into_values() {
            let Some(flow) = self.get_mut(id) else {
                continue;
            };
            flow.current = false;
            if flow.open == 0 {
                self.remove(id);
            }
        }
    }

    /// Whose flows are held.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.slots.iter().flatten().map(|flow| flow.owner)
    }

    /// The attributes of a flow and one more.
    pub(super) fn attributes_with(&self, id: FlowId, more: (Attr, Value)) -> Attributes {
        let mut attributes = self
            .get(id)
            .map_or_else(Attributes::new, |flow| flow.attributes.clone());
        attributes.push(more);
        attributes
    }

    /// Applies a measurement to one of a flow's series.
    pub(super) fn measure(
        &mut self,
        store: &mut Store,
        id: FlowId,
        which: FlowSeries,
        change: Measurement,
        now: u64,
    ) {
        self.balance.measured(which, change);
        let Some(flow) = self.get_mut(id) else { return };
        let handle = &mut flow.series[which as usize];
        if handle.is_some_and(|series| store.update(series, change, now)) {
            return;
        }
        let metric = which.metric();
        let attributes = match which.own_attribute() {
            None => store.intern(&flow.attributes),
            Some(own) => {
                let mut attributes = flow.attributes.clone();
                attributes.push(own);
                attributes.extend(which.protocol());
                store.intern(&attributes)
            }
        };
        store.measure(metric, flow.owner, attributes, change, now);
        *handle = store.known_series(metric, flow.owner, attributes);
    }

    fn has_room(&self) -> bool {
        self.open.len() + self.left_out.len() < self.open_limit
    }

    /// One of a flow's series, where something was counted in it.
    pub(super) fn series(&self, id: FlowId, which: FlowSeries) -> Option<SeriesId> {
        self.get(id)?.series[which as usize]
    }

    fn add(&mut self, flow: Flow) -> FlowId {
        if let Some(index) = self.free.pop() {
            self.slots[index] = Some(flow);
            return FlowId(index);
        }
        self.slots.push(Some(flow));
        FlowId(self.slots.len() - 1)
    }

    fn remove(&mut self, id: FlowId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            *slot = None;
            self.free.push(id.0);
        }
    }

    fn get(&self, id: FlowId) -> Option<&Flow> {
        self.slots.get(id.0)?.as_ref()
    }

    fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.0)?.as_mut()
    }
}
