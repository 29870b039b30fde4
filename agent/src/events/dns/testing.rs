//! Messages and packets for tests.

use std::net::{IpAddr, SocketAddr};

use super::message::Question;
use super::{Packet, Transport};

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
const CNAME: u16 = 5;
const OPT: u16 = 41;

/// Answers refer to the question's name.
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 12];

/// A message to be written. Its counts tell the truth unless a test says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) questions: Vec<(Vec<u8>, u16, u16)>,
    pub(crate) answers: Vec<(u16, u16, u32, Vec<u8>)>,
    /// Upper bits of the response code.
    pub(crate) edns: Option<u8>,
}

impl Draft {
    /// A query of class IN.
    pub(crate) fn query(id: u16, name: &str, kind: u16) -> Self {
        Self {
            id,
            flags: 0x0100,
            questions: vec![(wire_name(name), kind, 1)],
            answers: Vec::new(),
            edns: None,
        }
    }

    /// A response without answers.
    pub(crate) fn response(id: u16, name: &str, kind: u16, rcode: u16) -> Self {
        Self {
            flags: 0x8180 | rcode,
            ..Self::query(id, name, kind)
        }
    }

    pub(crate) fn truncated(mut self) -> Self {
        self.flags |= 0x0200;
        self
    }

    pub(crate) fn alias(mut self, target: &str) -> Self {
        self.answers.push((CNAME, 1, 300, wire_name(target)));
        self
    }

    pub(crate) fn address(mut self, address: &str, ttl: u32) -> Self {
        let (kind, data) = match address.parse().unwrap() {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        };
        self.answers.push((kind, 1, ttl, data));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = |length: usize| u16::try_from(length).unwrap();
        let counts = [
            self.id,
            self.flags,
            count(self.questions.len()),
            count(self.answers.len()),
            0,
            u16::from(self.edns.is_some()),
        ];
        bytes.extend(counts.into_iter().flat_map(u16::to_be_bytes));
        for (name, kind, class) in &self.questions {
            bytes.extend(name);
            bytes.extend([*kind, *class].into_iter().flat_map(u16::to_be_bytes));
        }
        for (kind, class, ttl, data) in &self.answers {
            bytes.extend(POINTER_TO_QUESTION);
            bytes.extend([*kind, *class].into_iter().flat_map(u16::to_be_bytes));
            bytes.extend(ttl.to_be_bytes());
            bytes.extend(count(data.len()).to_be_bytes());
            bytes.extend(data);
        }
        if let Some(high) = self.edns {
            bytes.push(0);
            bytes.extend([OPT, 1232].into_iter().flat_map(u16::to_be_bytes));
            // No flags, and a cookie of eight octets.
            bytes.extend([high, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        bytes
    }

    /// With the length before it that TCP needs.
    pub(crate) fn framed(&self) -> Vec<u8> {
        let bytes = self.bytes();
        let length = u16::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes(), &*bytes].concat()
    }
}

/// A name as it is sent.
pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let labels: Vec<&[u8]> = name.split('.').map(str::as_bytes).collect();
    wire_labels(&labels)
}

pub(crate) fn wire_labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels.iter().filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(*label);
    }
    bytes.push(0);
    bytes
}

pub(crate) fn question(name: &str, kind: u16) -> Question {
    Question {
        name: name.into(),
        kind,
        class: 1,
    }
}

/// A datagram that a socket sent to a server.
pub(crate) fn packet(payload: &[u8]) -> Packet<'_> {
    Packet {
        boot_ns: 0,
        cgroup_id: 7,
        socket: 1,
        is_egress: true,
        transport: Transport::Udp,
        local: address("10.1.0.9:40000"),
        remote: address("10.96.0.10:53"),
        length: u32::try_from(payload.len()).unwrap(),
        payload,
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
