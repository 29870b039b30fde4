//! Look-ups of names: what programs ask DNS servers, and what they are told.
//!
//! `message` reads one DNS message, `lookups` matches answers to queries. Both take octets that anybody may have sent: neither panics
//! on them, and every table has a capacity.

pub mod lookups;
pub mod message;
#[cfg(test)]
pub(crate) mod testing;

use std::net::SocketAddr;

/// What carries a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message for each datagram.
    Udp,
    /// Messages in a stream, each after its length in two octets (RFC 1035, 4.2.2).
    Tcp,
}

/// One packet to or from a DNS server, as a socket's cgroup saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it passed, on the boot clock.
    pub boot_ns: u64,
    /// cgroup v2 id of the socket.
    pub cgroup_id: u64,
    /// Cookie of the socket, which no other socket has until the machine restarts.
    pub socket: u64,
    /// The socket sent it.
    pub is_egress: bool,
    /// What carries it.
    pub transport: Transport,
    /// The socket's end.
    pub local: SocketAddr,
    /// The other end. Where the namespace translates addresses, what is sent has the address after that, and what is received
    /// may have another.
    pub remote: SocketAddr,
    /// Octets of payload on the wire.
    pub length: u32,
    /// The first of them, at most 512.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// What was captured, and is part of the packet by its length.
    fn captured(&self) -> &'a [u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        self.payload.get(..length).unwrap_or(self.payload)
    }
}
