//! A router's word that a host cannot be reached, made by hand: loopback has no routers.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
};

use anyhow::{Result, bail};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};

/// Listens for TCP segments that arrive, and answers with errors.
pub(crate) struct Router {
    segments: OwnedFd,
    errors: OwnedFd,
}

impl Router {
    /// Needs `CAP_NET_RAW` in the network namespace.
    pub(crate) fn new() -> Result<Self> {
        let raw = |protocol| socket(AddressFamily::INET, SocketType::RAW, Some(protocol));
        Ok(Self {
            segments: raw(ipproto::TCP)?,
            errors: raw(ipproto::ICMP)?,
        })
    }

    /// Waits for the next segment from `from` to `to` and answers "destination unreachable" with this code (RFC 792).
    pub(crate) fn refuse(&self, from: u16, to: u16, code: u8) -> Result<()> {
        let mut packet = [0; 128];
        for _ in 0..1_000 {
            let (length, _) = recv(&self.segments, &mut packet, RecvFlags::empty())?;
            // IP header, then the ports.
            let Some(segment) = packet.get(..length).filter(|packet| packet.len() >= 28) else {
                continue;
            };
            let header = usize::from(segment[0] & 0xf) * 4;
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            if segment.get(header..header + 4) == Some(&ports[..]) {
                return self.send(code, &segment[..header + 8]);
            }
        }
        bail!("no segment from port {from} to {to}")
    }

    fn send(&self, code: u8, start_of_packet: &[u8]) -> Result<()> {
        let mut message = vec![3, code, 0, 0, 0, 0, 0, 0];
        message.extend(start_of_packet);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        sendto(&self.errors, &message, SendFlags::empty(), &to)?;
        Ok(())
    }
}

/// The checksum of RFC 1071.
pub(crate) fn checksum(message: &[u8]) -> u16 {
    let words = message
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
