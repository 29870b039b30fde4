//! Matches answers to queries.
//!
//! A *look-up* is one query message, counted at the socket that sent it, and it ends exactly once. An answer ends one look-up: on
//! its socket, with its id and its question, the latest that was sent to the address the answer comes from. If none was, the latest
//! sent to any address: in a namespace that translates addresses, a query is seen with the address behind a Service, and its answer
//! with that of the Service.
//!
//! Programs send a query again, with the same id from the same socket, when it remains unanswered. Most often it was lost then, and
//! the answer is to the latest: it took as long as that one waited, and the earlier one times out. Should both be answered, the
//! second answer ends the earlier look-up; what both took comes to the same as the other way round.
//!
//! musl sends a query to all servers at once, takes the first answer and closes the socket. So once one is answered, the same
//! question that waits for other servers is no longer said to time out, but to be overtaken.

mod history;
mod model;
mod pending;
mod streams;

use std::mem;

use super::message::{Message, Question};
use super::{Packet, Transport};
use crate::aged_map::AgedMap;

use self::history::History;
pub use self::model::{Ignored, Lookup, LookupEnd, Outcome};
use self::pending::{Exchange, Pending};
use self::streams::{Piece, Streams};

const SECOND_NS: u64 = 1_000_000_000;

/// How long an answer is waited for: as long as glibc and most others wait before they ask again (resolv.conf(5), `timeout`).
pub const TIMEOUT_NS: u64 = 5 * SECOND_NS;

/// Opcode of an ordinary query (RFC 1035, 4.1.1); others are between servers.
const QUERY: u8 = 0;

/// Look-ups that wait for their answer, and what has to be remembered of those that ended. All of it is bounded, and each
/// message takes a time that does not depend on how many there are.
#[derive(Debug)]
pub struct Lookups {
    pending: Pending,
    /// What was answered, to tell an answer that comes twice from one nobody asked for.
    answered: AgedMap<Exchange, Answered>,
    history: History,
    streams: Streams,
    /// Room for the name of the message at hand, so that each does not need its own.
    text: String,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    question: u64,
    boot_ns: u64,
}

impl Lookups {
    /// At most `capacity` look-ups wait, but always room for one; when one more is asked, the oldest gives up. As much is
    /// remembered, each in their own table, of exchanges, questions, names that do not exist, and TCP streams in the middle of a message.
    pub fn new(capacity: usize) -> Self {
        Self {
            pending: Pending::new(capacity),
            answered: AgedMap::new(capacity),
            history: History::new(capacity),
            streams: Streams::new(capacity),
            text: String::new(),
        }
    }

    /// Takes in a packet. Tells which look-ups ended by it or before it, and what in it was ignored: of a segment with several
    /// messages this can be several things, of a query that waits nothing.
    pub fn take_in(&mut self, packet: &Packet<'_>, mut each: impl FnMut(Outcome)) {
        self.expire(packet.boot_ns, |lookup| each(Outcome::Ended(lookup)));
        let mut text = mem::take(&mut self.text);
        match packet.transport {
            Transport::Udp => match Message::parse(packet.captured(), &mut text) {
                Ok(message) => self.message(packet, &message, &mut each),
                Err(error) => each(Outcome::Ignored(Ignored::Malformed(error))),
            },
            Transport::Tcp => self.segment(packet, &mut text, &mut each),
        }
        self.text = text;
    }

    /// Ends the look-ups whose time is over, and forgets what can no longer matter. Look-ups end in time if this is called now
    /// and then; that they end does not depend on it.
    pub fn expire(&mut self, now_boot_ns: u64, mut each: impl FnMut(Lookup)) {
        while let Some(lookup) = self.pending.pop_overdue(now_boot_ns) {
            each(lookup);
        }
        let is_old = |answered: &Answered| is_over(answered.boot_ns, TIMEOUT_NS, now_boot_ns);
        while self.answered.pop_oldest_if(is_old).is_some() {}
        self.history.expire(now_boot_ns);
        self.streams.expire(now_boot_ns);
    }

    /// Number of look-ups that wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn segment(&mut self, packet: &Packet<'_>, text: &mut String, each: &mut impl FnMut(Outcome)) {
        let mut segment = self.streams.begin(packet);
        while let Some(piece) = segment.next(text) {
            match piece {
                Piece::Message(message) => self.message(packet, &message, each),
                Piece::Split => each(Outcome::Ignored(Ignored::Split)),
                Piece::Nonsense => each(Outcome::Ignored(Ignored::Desynchronised)),
            }
        }
        let rest = segment.rest();
        self.streams.end(packet, rest);
    }

    fn message(
        &mut self,
        packet: &Packet<'_>,
        message: &Message<'_>,
        each: &mut impl FnMut(Outcome),
    ) {
        let outcome = if message.opcode != QUERY {
            Some(Outcome::Ignored(Ignored::OtherOpcode))
        } else if message.is_response == packet.is_egress {
            Some(Outcome::Ignored(Ignored::WrongWay))
        } else if message.is_response {
            Some(self.answer(packet, message))
        } else if let Some(question) = message.question {
            self.query(packet, message.id, question)
        } else {
            Some(Outcome::Ignored(Ignored::NoQuestion))
        };
        outcome.into_iter().for_each(each);
    }

    fn query(&mut self, packet: &Packet<'_>, id: u16, question: Question<&str>) -> Option<Outcome> {
        let exchange = Exchange::of(packet, id);
        let earlier = self.pending.same(exchange, packet.remote, question);
        let repeated = earlier.map(|earlier| earlier.retry);
        if repeated.is_some() && packet.transport == Transport::Tcp {
            return Some(Outcome::Ignored(Ignored::Retransmitted));
        }
        let asked = self.history.asked(packet, question, repeated);
        let lookup = Lookup {
            asked_boot_ns: packet.boot_ns,
            took_ns: None,
            cgroup_id: packet.cgroup_id,
            socket: packet.socket,
            server: packet.remote,
            transport: packet.transport,
            question: question.to_owned(),
            end: LookupEnd::GaveUp,
            answers: Vec::new(),
            retry: asked.retry,
            after_truncation: asked.after_truncation,
            is_search_retry: asked.is_search_retry,
        };
        self.pending.add(exchange, lookup).map(Outcome::Ended)
    }

    fn answer(&mut self, packet: &Packet<'_>, message: &Message<'_>) -> Outcome {
        let exchange = Exchange::of(packet, message.id);
        let question = match message.question {
            Some(question) => Some(question),
            // A server that cannot make sense of a query may send back the header alone.
            None if message.rcode != 0 => None,
            None => return Outcome::Ignored(self.why_unmatched(exchange, None)),
        };
        let Some(mut lookup) = self.pending.answered(exchange, packet.remote, question) else {
            return Outcome::Ignored(self.why_unmatched(exchange, question));
        };
        lookup.took_ns = Some(packet.boot_ns.saturating_sub(lookup.asked_boot_ns));
        lookup.end = LookupEnd::Answered {
            rcode: message.rcode,
            is_truncated: message.is_truncated,
        };
        lookup.answers = message.answers.clone().collect();
        self.history.answered(&lookup, packet.boot_ns);
        let answered = Answered {
            question: self.history.hash(lookup.question.borrowed()),
            boot_ns: packet.boot_ns,
        };
        let _oldest = self.answered.insert(exchange, answered);
        Outcome::Ended(lookup)
    }

    fn why_unmatched(&self, exchange: Exchange, question: Option<Question<&str>>) -> Ignored {
        let before = self.answered.get(&exchange);
        let is_duplicate = before.is_some_and(|before| {
            question.is_none_or(|question| self.history.hash(question) == before.question)
        });
        if is_duplicate {
            Ignored::Duplicate
        } else if self.pending.contains(exchange) {
            Ignored::OtherQuestion
        } else {
            Ignored::Unmatched
        }
    }
}

/// Whether so long has passed.
const fn is_over(since_ns: u64, length_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(since_ns) >= length_ns
}

#[cfg(test)]
mod tests;
