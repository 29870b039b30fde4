//! What is told of look-ups.

use std::net::{IpAddr, SocketAddr};

use super::super::Transport;
use super::super::message::{MessageError, Question};

/// One query, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// When it was sent, on the boot clock.
    pub asked_boot_ns: u64,
    /// How long until its answer; `None` if none came.
    pub took_ns: Option<u64>,
    /// cgroup v2 id of who asked.
    pub cgroup_id: u64,
    /// Cookie of the socket.
    pub socket: u64,
    /// Where it was sent to, after translation in the namespace.
    pub server: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// What was asked.
    pub question: Question,
    /// How it ended.
    pub end: LookupEnd,
    /// Addresses in the answer, as far as it was captured, and for how many seconds each holds.
    pub answers: Vec<(IpAddr, u32)>,
    /// How many times this was asked before in vain: on this socket, or by this cgroup in this namespace in the last ten seconds.
    /// What is asked at the same time, of several servers or by several threads, has the same number.
    pub retry: u32,
    /// It was asked over TCP since an answer over UDP was truncated, less than five seconds before (RFC 7766, 5).
    pub after_truncation: bool,
    /// It follows an answer that another name does not exist, as going through a list of domains to search does (resolv.conf(5),
    /// `search` and `ndots`). What such a list costs in Kubernetes is told by these.
    pub is_search_retry: bool,
}

/// How a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupEnd {
    /// By an answer.
    Answered {
        /// Response code, see [`super::super::message::rcode_error_type`].
        rcode: u16,
        /// There was more to answer.
        is_truncated: bool,
    },
    /// No answer came in time.
    TimedOut,
    /// No answer came in time, but the same question was answered on the same socket by another server.
    Overtaken,
    /// Its place was needed for a later one. Whether an answer came nobody knows.
    GaveUp,
}

/// What a packet led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A look-up ended.
    Ended(Lookup),
    /// A message, or what should have been one, was ignored.
    Ignored(Ignored),
}

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is no message.
    Malformed(MessageError),
    /// It is no ordinary query and no answer to one: servers notify and update each other in this way.
    OtherOpcode,
    /// A query that asks nothing.
    NoQuestion,
    /// A query to a socket that asks, or an answer from one.
    WrongWay,
    /// An answer to nothing that was asked in the last five seconds.
    Unmatched,
    /// An answer to something else than was asked with its id on its socket. It may be forged.
    OtherQuestion,
    /// An answer that came before.
    Duplicate,
    /// A query that came before over the same TCP connection, on which nobody asks the same twice at once (RFC 7766, 6.2.1).
    Retransmitted,
    /// A message over TCP that is not captured in one segment up to the end of its question.
    Split,
    /// What ought to be the beginning of a message over TCP is none, or one is where none ought to be: a segment was missed or seen
    /// twice. The next segment is taken to begin with a message.
    Desynchronised,
}

impl Ignored {
    /// The reason it is counted under.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(error) => error.reason(),
            Self::OtherOpcode => "other_opcode",
            Self::NoQuestion => "no_question",
            Self::WrongWay => "wrong_way",
            Self::Unmatched => "unmatched",
            Self::OtherQuestion => "other_question",
            Self::Duplicate => "duplicate",
            Self::Retransmitted => "retransmitted",
            Self::Split => "split",
            Self::Desynchronised => "desynchronised",
        }
    }
}
