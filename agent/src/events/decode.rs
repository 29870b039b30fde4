//! From bytes to [`Event`].

mod process;

use std::{
    mem::{MaybeUninit, offset_of},
    net::SocketAddr,
    str,
};

use thiserror::Error;
use wellhead_common::{
    maps::Process,
    record::{self, Header, Kind, dns_flag, role, tcp_flag},
};

use self::process::{exec, exit, fork, found, freed, oom_kill};
use super::{
    dns::{Packet, Transport},
    model::{
        Body, Cgroup, Connection, ConnectionEnd, Event, Listener, Role, SocketOwner, Totals,
        canonical,
    },
};
use crate::counters::Discard;
use crate::kernel::TcpState;

/// A record that cannot be an event.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than its kind requires.
    #[error("record of {actual} bytes is shorter than the {needed} its kind needs")]
    Short {
        /// Bytes there are.
        actual: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// No such kind.
    #[error("unknown record kind {0}")]
    UnknownKind(u32),
    /// A length inside points past the end.
    #[error("a length of {length} inside the record points past its {available} bytes")]
    BadLength {
        /// The length.
        length: usize,
        /// What there is.
        available: usize,
    },
    /// A field has a value that cannot occur.
    #[error("field {field} holds {value}")]
    BadValue {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
}

impl DecodeError {
    /// Under which reason it is counted.
    pub fn discard(self) -> Discard {
        match self {
            Self::Short { .. } => Discard::DecodeShort,
            Self::UnknownKind(_) => Discard::DecodeUnknownKind,
            Self::BadLength { .. } => Discard::DecodeBadLength,
            Self::BadValue { .. } => Discard::DecodeBadValue,
        }
    }
}

/// Decodes one record.
///
/// # Errors
/// The bytes are not a record this version can read.
pub fn decode(bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
    let header: Header = read(bytes)?;
    let kind = Kind::from_number(header.kind).ok_or(DecodeError::UnknownKind(header.kind))?;
    let body = match kind {
        Kind::CgroupMkdir => Body::CgroupMade(cgroup(bytes)?),
        Kind::CgroupRmdir => Body::CgroupRemoved(cgroup(bytes)?),
        Kind::CgroupAttach => Body::CgroupEntered(cgroup(bytes)?),
        Kind::Fork => Body::Fork(fork(&read(bytes)?)),
        Kind::Exec => Body::Exec(exec(bytes)?),
        Kind::Exit => Body::Exit(exit(&read(bytes)?)),
        Kind::Freed => Body::Freed(freed(&read(bytes)?)),
        Kind::OomKill => Body::OomKill(oom_kill(&read(bytes)?)),
        Kind::TcpOpen => Body::TcpOpen(connection(&read::<record::TcpOpen>(bytes)?.socket)?),
        Kind::TcpClose => Body::TcpClose(connection_end(&read(bytes)?)?),
        Kind::TcpConnectFailed => Body::TcpConnectFailed(connection_end(&read(bytes)?)?),
        Kind::TcpSnapshot => {
            let end = connection_end(&read(bytes)?)?;
            if end.state == Some(TcpState::SynSent) {
                Body::TcpAttempt(end.connection)
            } else {
                Body::TcpSnapshot(end)
            }
        }
        Kind::Task => Body::Found(found(&read(bytes)?)),
        Kind::TcpReset => Body::TcpReset(connection(&read::<record::TcpOpen>(bytes)?.socket)?),
        Kind::Dns => Body::Dns(dns(bytes)?),
        Kind::TcpListener => Body::TcpListener(listener(&read(bytes)?)),
        Kind::TcpListen => Body::TcpListen(listener(&read(bytes)?)),
    };
    Ok(Event {
        boot_ns: header.boot_ns,
        cgroup_id: header.cgroup_id,
        body,
    })
}

/// Records without a text of variable length: plain integers and byte arrays, for which any bytes are valid.
///
/// # Safety
/// Only for `repr(C)` structures of integers and integer arrays without padding.
unsafe trait Plain: Copy {}
// SAFETY: see `wellhead_common::record`, which also asserts that there is no padding.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for record::Fork {}
// SAFETY: as above.
unsafe impl Plain for record::Exit {}
// SAFETY: as above.
unsafe impl Plain for record::Freed {}
// SAFETY: as above.
unsafe impl Plain for record::OomKill {}
// SAFETY: as above.
unsafe impl Plain for record::TcpOpen {}
// SAFETY: as above.
unsafe impl Plain for record::TcpClose {}
// SAFETY: as above.
unsafe impl Plain for record::Task {}
// SAFETY: as above.
unsafe impl Plain for record::TcpListener {}
/// The part of [`record::Cgroup`] before its text.
type CgroupFixed = [u64; record::CGROUP_FIXED / 8];
// SAFETY: integers.
unsafe impl Plain for CgroupFixed {}

fn read<T: Plain>(bytes: &[u8]) -> Result<T, DecodeError> {
    let needed = size_of::<T>();
    if bytes.len() < needed {
        return Err(DecodeError::Short {
            actual: bytes.len(),
            needed,
        });
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the source has at least the size of `T`, the destination exactly that, and they are distinct.
    unsafe {
        bytes
            .as_ptr()
            .copy_to_nonoverlapping(value.as_mut_ptr().cast(), needed);
    };
    // SAFETY: all bytes were written, and any bytes make a valid `T`.
    Ok(unsafe { value.assume_init() })
}

fn read_u32(bytes: &[u8], offset: usize) -> Result<u32, DecodeError> {
    let needed = offset + 4;
    let word = bytes
        .get(offset..needed)
        .and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(DecodeError::Short {
        actual: bytes.len(),
        needed,
    })
}

fn text(bytes: &[u8], from: usize, length: usize) -> Result<&[u8], DecodeError> {
    let available = bytes.len().saturating_sub(from);
    let to = from
        .checked_add(length)
        .ok_or(DecodeError::BadLength { length, available })?;
    bytes
        .get(from..to)
        .ok_or(DecodeError::BadLength { length, available })
}

fn cgroup(bytes: &[u8]) -> Result<Cgroup<'_>, DecodeError> {
    let _fixed: CgroupFixed = read(bytes)?;
    let length = read_u32(bytes, size_of::<Header>() + 4)? as usize;
    let path = text(bytes, record::CGROUP_FIXED, length)?;
    // The kernel cuts a path that is too long; half a path would name another cgroup.
    let whole = !path.is_empty() && length < wellhead_common::limits::CGROUP_PATH - 1;
    Ok(Cgroup {
        path: str::from_utf8(path).ok().filter(|_| whole),
    })
}

/// The part of [`record::Dns`] before what the packet carries.
#[derive(Clone, Copy)]
#[repr(C)]
struct DnsFixed {
    header: Header,
    socket: u64,
    length: u32,
    captured: u32,
    flags: u32,
    local_port: u16,
    remote_port: u16,
    local_address: [u8; 16],
    remote_address: [u8; 16],
}
const _: () = assert!(size_of::<DnsFixed>() == record::DNS_FIXED);
// SAFETY: integers and byte arrays without padding, as asserted.
unsafe impl Plain for DnsFixed {}

/// The part of a record that was written, as its header says: room in a ring is taken in one piece, and what is left of it holds
/// whatever was there before. What says anything that cannot be is left whole, for [`decode`] to judge.
pub fn written(record: &[u8]) -> &[u8] {
    let length = read_u32(record, offset_of!(Header, length)).unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let part = record
        .get(..length)
        .filter(|part| part.len() >= size_of::<Header>());
    part.unwrap_or(record)
}

fn dns(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let fixed: DnsFixed = read(bytes)?;
    let captured = usize::try_from(fixed.captured).unwrap_or(usize::MAX);
    Ok(Packet {
        boot_ns: fixed.header.boot_ns,
        cgroup_id: fixed.header.cgroup_id,
        socket: fixed.socket,
        is_egress: fixed.flags & dns_flag::EGRESS != 0,
        transport: if fixed.flags & dns_flag::TCP == 0 {
            Transport::Udp
        } else {
            Transport::Tcp
        },
        local: SocketAddr::new(canonical(fixed.local_address), fixed.local_port),
        remote: SocketAddr::new(canonical(fixed.remote_address), fixed.remote_port),
        length: fixed.length,
        payload: text(bytes, record::DNS_FIXED, captured)?,
    })
}

fn connection(socket: &record::Socket) -> Result<Connection, DecodeError> {
    let role = match socket.role {
        role::UNKNOWN => None,
        role::SOURCE => Some(Role::Source),
        role::DESTINATION => Some(Role::Destination),
        other => {
            return Err(DecodeError::BadValue {
                field: "role",
                value: u32::from(other),
            });
        }
    };
    Ok(Connection {
        socket_id: socket.id,
        netns: socket.netns,
        local: SocketAddr::new(canonical(socket.local_address.bytes()), socket.local_port),
        remote: SocketAddr::new(canonical(socket.remote_address.bytes()), socket.remote_port),
        role,
        owner: owner(&socket.owner),
        started_ns: known(socket.started_ns),
        established_ns: known(socket.established_ns),
        older_than_agent: socket.flags & tcp_flag::OLDER_THAN_AGENT != 0,
        unmet: socket.flags & tcp_flag::UNMET != 0,
        open_lost: socket.flags & tcp_flag::OPEN_LOST != 0,
        shut_down: socket.flags & tcp_flag::SHUT_DOWN != 0,
    })
}

fn owner(process: &Process) -> Option<SocketOwner> {
    (process.pid != 0).then_some(SocketOwner {
        pid: process.pid,
        comm: process.comm.bytes(),
    })
}

fn listener(record: &record::TcpListener) -> Listener {
    Listener {
        socket_id: record.id,
        netns: record.netns,
        local: SocketAddr::new(canonical(record.address.bytes()), record.port),
        owner: owner(&record.owner),
        queue: record.queue,
        limit: record.limit,
        drops: record.drops,
        syn_ack_retransmits: record.syn_ack_retransmits,
    }
}

fn connection_end(record: &record::TcpClose) -> Result<ConnectionEnd, DecodeError> {
    let errno = i32::try_from(record.error).map_err(|_overflow| {
        // An errno above i32::MAX is none.
        DecodeError::BadValue {
            field: "error",
            value: record.error,
        }
    })?;
    Ok(ConnectionEnd {
        connection: connection(&record.socket)?,
        totals: Totals {
            srtt_us: (record.srtt_us != 0).then_some(record.srtt_us),
            min_rtt_us: (record.min_rtt_us != 0).then_some(record.min_rtt_us),
            ..Totals::from(&record.traffic)
        },
        reported: record.reported,
        errno,
        state: TcpState::from_number(record.state),
        lifecycle_only: record.socket.flags & tcp_flag::LIFECYCLE_ONLY != 0,
        initial_sequence: (record.initial_sequence != 0).then_some(record.initial_sequence),
    })
}

/// Zero stands for unknown.
fn known(time: u64) -> Option<u64> {
    (time != 0).then_some(time)
}

#[cfg(test)]
mod tests;
