//! How many TCP sockets the kernel itself counts in a network namespace, by state, and which: a `sock_diag(7)` dump.

mod answer;

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use thiserror::Error;

use self::answer::{Answer, Progress};

/// As much as the kernel puts into one datagram of a dump.
const BUFFER: usize = 32 << 10;

/// How often a dump that the kernel calls inconsistent is asked for, in all.
const ATTEMPTS: u32 = 3;

/// Why the kernel's count is not known.
#[derive(Debug, Error)]
pub enum SockDiagError {
    /// There can be no such socket.
    #[error("open a sock_diag socket: {0}")]
    Open(#[source] io::Error),
    /// The question cannot be sent.
    #[error("ask sock_diag: {0}")]
    Ask(#[source] io::Error),
    /// The answer cannot be read.
    #[error("read the answer of sock_diag: {0}")]
    Receive(#[source] io::Error),
    /// The kernel is built without it, or its module cannot be loaded.
    #[error("the kernel has no sock_diag for TCP (module tcp_diag)")]
    Absent,
    /// The kernel does not answer the question.
    #[error("sock_diag refuses: {0}")]
    Refused(#[source] io::Error),
    /// The answer is not as `sock_diag(7)` describes it.
    #[error("an answer of sock_diag that makes no sense: {0}")]
    Malformed(String),
    /// The sockets changed under every attempt.
    #[error("the sockets changed during each of {0} dumps")]
    Changing(u32),
}

/// States of a TCP socket, numbered as in `include/net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of RFC 9293")]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl TcpState {
    /// The states of a connection, and of an attempt to open one, from `connect(2)` to its end.
    pub const CONNECTING_OR_LIVE: [Self; 8] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::LastAck,
        Self::Closing,
    ];

    /// The state with this number, if it is one of these.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// The states of a connection that was opened and has not ended.
    pub const LIVE: [Self; 6] = [
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::LastAck,
        Self::Closing,
    ];
}

/// TCP sockets by state, over IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    by_state: [u64; 12],
}

impl TcpCounts {
    /// Sockets in a state.
    pub fn of(&self, state: TcpState) -> u64 {
        self.by_state[state as usize]
    }

    /// Sockets in the states of [`TcpState::LIVE`].
    pub fn live(&self) -> u64 {
        TcpState::LIVE.iter().map(|state| self.of(*state)).sum()
    }

    /// Counts a socket, unless there is no such state.
    fn add(&mut self, state: u8) -> Option<()> {
        *self.by_state.get_mut(usize::from(state))? += 1;
        Some(())
    }
}

/// Counts the TCP sockets of the calling thread's network namespace that are in one of `states`.
///
/// What is left of a closed connection counts as [`TcpState::TimeWait`], also where the other end has not closed yet and
/// the kernel calls it FIN_WAIT2: it is no full socket any more. With FIN_WAIT2 among `states`, the kernel tells those too.
///
/// The kernel walks its whole table of connections, once for IPv4 and once for IPv6, and connections that open and close
/// meanwhile may be missed or told twice: the count is exact when it is quiet.
///
/// # Errors
/// The kernel does not tell, or not in a way that can be understood.
pub fn count_tcp(states: &[TcpState]) -> Result<TcpCounts, SockDiagError> {
    visit_tcp(states, |_cookie| {})
}

/// As [`count_tcp`], and shows the cookie of every socket that is counted, but of what is left of closed connections. Where
/// the kernel has to be asked again, some are shown more than once.
///
/// The kernel gives a socket its number when somebody asks for it first, be it this or a program, and then keeps it.
///
/// # Errors
/// As [`count_tcp`].
pub(super) fn visit_tcp(
    states: &[TcpState],
    mut visit: impl FnMut(u64),
) -> Result<TcpCounts, SockDiagError> {
    let socket = Socket::new(NETLINK_SOCK_DIAG).map_err(SockDiagError::Open)?;
    let mut buffer = vec![0; BUFFER];
    for attempt in 0..ATTEMPTS {
        let mut answer = Answer::default();
        for (number, family) in (2 * attempt..).zip([AF_INET, AF_INET6]) {
            ask(&socket, number, family, states)?;
            answer.expect(number);
            read(&socket, &mut buffer, &mut answer, &mut visit)?;
        }
        if !answer.interrupted {
            return Ok(answer.counts);
        }
    }
    Err(SockDiagError::Changing(ATTEMPTS))
}

fn ask(socket: &Socket, number: u32, family: u8, states: &[TcpState]) -> Result<(), SockDiagError> {
    let bits = states
        .iter()
        .fold(0, |bits, state| bits | 1 << *state as u8);
    let question = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::from_bits_truncate(bits),
        // All zero: any socket.
        socket_id: SocketId::new_v4(),
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = number;
    let question = SockDiagMessage::InetRequest(question);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let kernel = SocketAddr::new(0, 0);
    let sent = uninterrupted(|| socket.send_to(&bytes, &kernel, 0));
    sent.map(drop).map_err(SockDiagError::Ask)
}

/// Reads datagrams up to the end of a dump.
fn read(
    socket: &Socket,
    buffer: &mut [u8],
    answer: &mut Answer,
    visit: &mut impl FnMut(u64),
) -> Result<(), SockDiagError> {
    loop {
        let received = uninterrupted(|| socket.recv_from(&mut &mut *buffer, libc::MSG_TRUNC));
        let (length, sender) = received.map_err(SockDiagError::Receive)?;
        if sender.port_number() != 0 {
            // Other processes may send to this socket; only the kernel is believed.
            continue;
        }
        let datagram = buffer
            .get(..length)
            .ok_or_else(|| SockDiagError::Malformed(format!("a datagram of {length} bytes")))?;
        let progress = answer.read(datagram)?;
        answer.cookies.drain(..).for_each(&mut *visit);
        if progress == Progress::Complete {
            return Ok(());
        }
    }
}

/// Repeats a call as long as signals interrupt it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
