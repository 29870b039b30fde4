//! The kernel's answer to a question of `sock_diag(7)`: a stream of netlink messages.

use std::io;

use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkBuffer, Parseable as _};
use netlink_packet_sock_diag::{
    SOCK_DIAG_BY_FAMILY, TCP_TIME_WAIT,
    inet::{InetResponseHeader, Timer},
};

use super::{SockDiagError, TcpCounts};

/// Message types every netlink family has.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) counts: TcpCounts,
    /// Cookies of the sockets among them, to be taken out after each datagram.
    pub(super) cookies: Vec<u64>,
    /// The kernel says that the sockets changed during the dump.
    pub(super) interrupted: bool,
    /// The number of the question that is being answered.
    number: u32,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Complete,
}

impl Answer {
    /// Goes on with the answer to another question.
    pub(super) fn expect(&mut self, number: u32) {
        self.number = number;
    }

    /// Reads the messages of one datagram.
    pub(super) fn read(&mut self, mut datagram: &[u8]) -> Result<Progress, SockDiagError> {
        while !datagram.is_empty() {
            let message = NetlinkBuffer::new_checked(datagram)
                .map_err(|error| SockDiagError::Malformed(error.to_string()))?;
            // Not to take the end of one dump for that of the next.
            if message.sequence_number() == self.number {
                self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                let payload = message.payload();
                if self.take(message.message_type(), payload)? == Progress::Complete {
                    return Ok(Progress::Complete);
                }
            }
            // Messages begin at multiples of four; `new_checked` knows that the length is at least a header's.
            let next = (message.length() as usize).next_multiple_of(4);
            datagram = datagram.get(next..).unwrap_or_default();
        }
        Ok(Progress::More)
    }

    fn take(&mut self, kind: u16, payload: &[u8]) -> Result<Progress, SockDiagError> {
        match kind {
            SOCK_DIAG_BY_FAMILY => self.count(payload).map(|()| Progress::More),
            // Old kernels end a dump without an error number.
            NLMSG_DONE if payload.is_empty() => Ok(Progress::Complete),
            NLMSG_DONE | NLMSG_ERROR => finish(payload).map(|()| Progress::Complete),
            NLMSG_OVERRUN => Err(SockDiagError::Malformed("data was lost".to_owned())),
            // Anything else is no socket.
            _ => Ok(Progress::More),
        }
    }

    fn count(&mut self, payload: &[u8]) -> Result<(), SockDiagError> {
        let socket = InetResponseHeader::parse(payload)
            .map_err(|error| SockDiagError::Malformed(error.to_string()))?;
        // The remains of a socket are told by the state they stand for, which may be FIN_WAIT2. Only their timer tells
        // them from a socket: an orphan in FIN_WAIT2 has no inode and no owner either.
        let state = match socket.timer {
            Some(Timer::TimeWait) => TCP_TIME_WAIT,
            _ => socket.state,
        };
        self.counts
            .add(state)
            .ok_or_else(|| SockDiagError::Malformed(format!("a socket in state {state}")))?;
        // What is left of a connection has its cookie still.
        if state != TCP_TIME_WAIT {
            self.cookies.push(cookie(socket.socket_id.cookie));
        }
        Ok(())
    }
}

/// `idiag_cookie`: two halves, the lower first, each in the byte order of the machine.
fn cookie(halves: [u8; 8]) -> u64 {
    let number = u64::from_ne_bytes(halves);
    if cfg!(target_endian = "big") {
        number.rotate_left(32)
    } else {
        number
    }
}

/// The end of an answer: an error number, 0 if all went well.
fn finish(payload: &[u8]) -> Result<(), SockDiagError> {
    let code = payload
        .first_chunk()
        .ok_or_else(|| SockDiagError::Malformed("an end without its number".to_owned()))?;
    // Negative on the wire. Saturating, since it may be any number at all.
    match i32::from_ne_bytes(*code).saturating_neg() {
        0 => Ok(()),
        libc::ENOENT => Err(SockDiagError::Absent),
        code => Err(SockDiagError::Refused(io::Error::from_raw_os_error(code))),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_MULTIPART, NetlinkBuffer};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::TcpState;

    const NUMBER: u32 = 7;

    /// `struct inet_diag_msg` over IPv4, with one attribute as the kernel adds them.
    fn socket(state: u8, timer: u8) -> Vec<u8> {
        let mut payload = vec![0; 72];
        payload[..3].copy_from_slice(&[2, state, timer]);
        // Behind ports, addresses and interface.
        payload[44..48].copy_from_slice(&u32::from(state).to_ne_bytes());
        payload[48..52].copy_from_slice(&u32::from(timer).to_ne_bytes());
        payload.extend([5, 0, 8, 0, 3, 0, 0, 0]);
        payload
    }

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = 16 + payload.len();
        let mut bytes = vec![0; length.next_multiple_of(4)];
        let mut message = NetlinkBuffer::new(&mut bytes);
        message.set_length(u32::try_from(length).expect("short"));
        message.set_message_type(kind);
        message.set_flags(flags);
        message.set_sequence_number(NUMBER);
        message.payload_mut().copy_from_slice(payload);
        bytes
    }

    fn dumped(state: u8, timer: u8) -> Vec<u8> {
        message(SOCK_DIAG_BY_FAMILY, NLM_F_MULTIPART, &socket(state, timer))
    }

    fn done(code: i32) -> Vec<u8> {
        message(NLMSG_DONE, NLM_F_MULTIPART, &code.to_ne_bytes())
    }

    fn answer() -> Answer {
        let mut answer = Answer::default();
        answer.expect(NUMBER);
        answer
    }

    #[test]
    fn sockets_are_counted_by_state_over_several_datagrams() {
        let mut answer = answer();
        // Timers: none, keep-alive (as of an orphan), what is left of a connection, zero-window probe.
        let first = [dumped(1, 0), dumped(5, 2), dumped(5, 3)].concat();
        assert_eq!(answer.read(&first).expect("whole"), Progress::More);
        assert_eq!(answer.read(&[]).expect("nothing"), Progress::More);
        let second = [dumped(6, 3), dumped(4, 4), done(0), dumped(1, 0)].concat();
        assert_eq!(answer.read(&second).expect("whole"), Progress::Complete);
        for (state, expected) in [
            (TcpState::Established, 1),
            (TcpState::FinWait1, 1),
            (TcpState::FinWait2, 1),
            (TcpState::TimeWait, 2),
            (TcpState::CloseWait, 0),
        ] {
            assert_eq!(answer.counts.of(state), expected, "{state:?}");
        }
        assert_eq!(answer.counts.live(), 3);
        assert!(!answer.interrupted);
        // Of what is left of connections none is told.
        let cookies = [
            0x0000_0000_0000_0001,
            0x0000_0002_0000_0005,
            0x0000_0004_0000_0004,
        ];
        assert_eq!(answer.cookies, cookies);
    }

    #[test]
    fn messages_that_are_no_socket_are_passed_over() {
        let mut answer = answer();
        let mut other_question = dumped(1, 0);
        NetlinkBuffer::new(&mut other_question).set_sequence_number(NUMBER + 1);
        let noop = message(1, 0, &[1, 2, 3]);
        let datagram = [noop, other_question, dumped(8, 0)].concat();
        assert_eq!(answer.read(&datagram).expect("whole"), Progress::More);
        assert_eq!(answer.counts.live(), 1);
    }

    #[test]
    fn an_inconsistent_dump_is_noted() {
        let mut answer = answer();
        let flags = NLM_F_MULTIPART | NLM_F_DUMP_INTR;
        let end = message(NLMSG_DONE, flags, &[0; 4]);
        assert_eq!(answer.read(&end).expect("whole"), Progress::Complete);
        assert!(answer.interrupted);
    }

    #[test]
    fn errors_are_told_with_their_number() {
        let check = |bytes: Vec<u8>, expected: &str| {
            let error = answer().read(&bytes).expect_err("an error");
            assert!(error.to_string().contains(expected), "{error}");
        };
        let refusal = |code: i32| message(NLMSG_ERROR, 0, &code.to_ne_bytes());
        check(refusal(-libc::EPERM), "os error 1");
        check(refusal(-libc::ENOENT), "tcp_diag");
        check(refusal(i32::MIN), "os error");
        check(done(-libc::ENOMEM), "os error 12");
        check(message(NLMSG_OVERRUN, 0, &[]), "lost");
        check(message(NLMSG_ERROR, 0, &[0; 3]), "without its number");
        check(dumped(12, 0), "state 12");
        check(
            message(SOCK_DIAG_BY_FAMILY, 0, &[2; 71]),
            "Buffer too small",
        );
        let cut = dumped(1, 0);
        check(cut[..cut.len() - 1].to_vec(), "length");
        check(vec![0; 16], "length");
    }

    #[test]
    fn an_end_without_a_number_is_a_good_one() {
        let end = message(NLMSG_DONE, NLM_F_MULTIPART, &[]);
        assert_eq!(answer().read(&end).expect("whole"), Progress::Complete);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // Without a panic; what is counted had room in the datagram.
            let mut answer = answer();
            _ = answer.read(&bytes);
            prop_assert!(answer.counts.live() <= bytes.len() as u64 / 88);
        }

        #[test]
        fn a_damaged_dump_never_counts_more(
            states in prop::collection::vec((1_u8..12, 0_u8..6), 0..20),
            cut in any::<prop::sample::Index>(),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut bytes: Vec<u8> = states.iter().flat_map(|(state, timer)| dumped(*state, *timer)).collect();
            bytes.extend(done(0));
            let mut whole = answer();
            prop_assert_eq!(whole.read(&bytes).expect("whole"), Progress::Complete);
            let total = |answer: &Answer| answer.counts.by_state.iter().sum::<u64>();
            prop_assert_eq!(total(&whole), states.len() as u64);

            bytes.truncate(cut.index(bytes.len() + 1));
            let mut cut_off = answer();
            let progress = cut_off.read(&bytes);
            prop_assert!(total(&cut_off) <= total(&whole));
            if total(&cut_off) < total(&whole) {
                prop_assert!(!matches!(progress, Ok(Progress::Complete)));
            }
            if let (Some((at, value)), false) = (damage, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = value;
                let mut damaged = answer();
                _ = damaged.read(&bytes);
                prop_assert!(total(&damaged) <= bytes.len() as u64 / 88);
            }
        }
    }
}
