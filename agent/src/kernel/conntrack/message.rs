//! Questions to conntrack and its answers, as netlink messages.

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{
    ErrorMessage, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple},
};

use super::{ConntrackError, Transport};

/// A connection in one direction. Addresses are canonical, and both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) transport: Transport,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// What the kernel knows of a connection: how it was opened, and what answers to it look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) original: Direction,
    pub(super) reply: Direction,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It answers another question.
    Other,
    /// There is no entry.
    None,
    /// The entry.
    Entry(Entry),
}

impl Direction {
    /// `None` if no packet can have both addresses.
    pub(super) fn new(
        transport: Transport,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<Self> {
        let [source, destination] = [source, destination].map(canonical);
        (source.is_ipv4() == destination.is_ipv4()).then_some(Self {
            transport,
            source,
            destination,
        })
    }

    fn of(tuples: &[Tuple]) -> Option<Self> {
        let (mut addresses, mut ports, mut transport) = ([None; 2], [None; 2], None);
        for tuple in tuples {
            match tuple {
                Tuple::Ip(fields) => fields.iter().for_each(|field| match field {
                    IPTuple::SourceAddress(address) => addresses[0] = Some(*address),
                    IPTuple::DestinationAddress(address) => addresses[1] = Some(*address),
                    _ => {}
                }),
                Tuple::Proto(fields) => fields.iter().for_each(|field| match field {
                    ProtoTuple::Protocol(protocol) => transport = Transport::of(*protocol),
                    ProtoTuple::SourcePort(port) => ports[0] = Some(*port),
                    ProtoTuple::DestinationPort(port) => ports[1] = Some(*port),
                    _ => {}
                }),
                _ => {}
            }
        }
        let end = |end: usize| Some(SocketAddr::new(addresses[end]?, ports[end]?));
        Self::new(transport?, end(0)?, end(1)?)
    }
}

/// Without what conntrack does not know: the zone and flow of an IPv6 address, and that it is an IPv4 address in disguise.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Transport {
    fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
        }
    }

    fn of(protocol: Protocol) -> Option<Self> {
        [Self::Tcp, Self::Udp]
            .into_iter()
            .find(|transport| transport.protocol() == protocol)
    }
}

/// Asks for the entry of a connection that has this direction: the original or the reply's.
pub(super) fn question(number: u32, asked: Direction) -> Vec<u8> {
    let Direction {
        transport,
        source,
        destination,
    } = asked;
    let family = match source.ip() {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let tuple = ConntrackAttribute::CtaTupleOrig(vec![
        Tuple::Ip(vec![
            IPTuple::SourceAddress(source.ip()),
            IPTuple::DestinationAddress(destination.ip()),
        ]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(transport.protocol()),
            ProtoTuple::SourcePort(source.port()),
            ProtoTuple::DestinationPort(destination.port()),
        ]),
    ]);
    let message = NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        ConntrackMessage::Get(vec![tuple]),
    );
    let mut header = NetlinkHeader::default();
    // Without NLM_F_ACK: the kernel sends one message, the entry or an error.
    header.flags = NLM_F_REQUEST;
    header.sequence_number = number;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the first message of a datagram: the kernel puts no more into one.
pub(super) fn answer(datagram: &[u8], number: u32) -> Result<Answer, ConntrackError> {
    let malformed = |error: &dyn ToString| ConntrackError::Malformed(error.to_string());
    let message = NetlinkBuffer::new_checked(datagram).map_err(|error| malformed(&error))?;
    if message.sequence_number() != number {
        return Ok(Answer::Other);
    }
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(datagram);
    match message.map_err(|error| malformed(&error))?.payload {
        NetlinkPayload::Error(error) => refusal(&error),
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
            ..
        }) => match entry(&attributes) {
            Some(entry) => Ok(Answer::Entry(entry)),
            None => Err(malformed(&"an entry without its addresses")),
        },
        _ => Err(malformed(&"neither an entry nor an error")),
    }
}

fn entry(attributes: &[ConntrackAttribute]) -> Option<Entry> {
    let (mut original, mut reply) = (None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuples) => original = Direction::of(tuples),
            ConntrackAttribute::CtaTupleReply(tuples) => reply = Direction::of(tuples),
            _ => {}
        }
    }
    Some(Entry {
        original: original?,
        reply: reply?,
    })
}

fn refusal(error: &ErrorMessage) -> Result<Answer, ConntrackError> {
    // Negative on the wire. Saturating, since it may be any number at all.
    match error.raw_code().saturating_neg() {
        // An acknowledgement that nobody asked for.
        0 => Ok(Answer::Other),
        libc::ENOENT => Ok(Answer::None),
        libc::EPERM => Err(ConntrackError::NotPermitted),
        // Netfilter's word for a part of it that is not there. Questions are always well-formed.
        libc::EINVAL => Err(ConntrackError::Absent),
        code => Err(ConntrackError::Refused(io::Error::from_raw_os_error(code))),
    }
}
