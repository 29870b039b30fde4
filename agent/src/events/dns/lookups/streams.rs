//! Messages in a TCP stream, each after its length in two octets (RFC 1035, 4.2.2).
//!
//! Nothing of a stream is kept but how far it is into a message. A segment can hold several messages or a part of one; senders
//! should write length and message at once (RFC 7766, 8) but some do not, so the length may have a segment of its own.

use std::mem;

use super::super::message::{HEADER_LENGTH, Message, MessageError, may_begin_message};
use super::super::{Packet, Transport};
use super::{SECOND_NS, is_over};
use crate::aged_map::AgedMap;

/// How long a stream may pause in the middle of a message before it is forgotten.
const PATIENCE_NS: u64 = 30 * SECOND_NS;

/// Where in a stream its next segment begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Position {
    /// Before a message's length.
    #[default]
    Between,
    /// In the middle of the length, of which this was the first octet.
    InLength(u8),
    /// Between this length and its message.
    BeforeMessage(u16),
    /// In a message, so many octets from its end.
    InMessage(u32),
}

#[derive(Debug)]
struct Stream {
    position: Position,
    seen_ns: u64,
}

/// One direction of a socket.
type Direction = (u64, bool);

/// Streams that are in the middle of something; all others are taken to be between two messages.
#[derive(Debug)]
pub(super) struct Streams {
    by_direction: AgedMap<Direction, Stream>,
}

impl Streams {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            by_direction: AgedMap::new(capacity),
        }
    }

    /// Begins to read a segment, where its stream was. What is left in the end goes to [`Self::end`].
    pub(super) fn begin<'a>(&mut self, packet: &Packet<'a>) -> Segment<'a> {
        debug_assert_eq!(packet.transport, Transport::Tcp);
        let stream = self.by_direction.remove(&direction(packet));
        let mut segment = Segment {
            is_response: !packet.is_egress,
            payload: packet.captured(),
            left: packet.length,
            position: stream.map(|stream| stream.position).unwrap_or_default(),
            is_found_again: false,
        };
        segment.find_again();
        segment
    }

    pub(super) fn end(&mut self, packet: &Packet<'_>, position: Position) {
        if position != Position::Between {
            let stream = Stream {
                position,
                seen_ns: packet.boot_ns,
            };
            let _oldest = self.by_direction.insert(direction(packet), stream);
        }
    }

    /// Forgets streams of which nothing was seen for long: their sockets may be closed.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_old = |stream: &Stream| is_over(stream.seen_ns, PATIENCE_NS, now_ns);
        while self.by_direction.pop_oldest_if(is_old).is_some() {}
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_direction.len()
    }
}

fn direction(packet: &Packet<'_>) -> Direction {
    (packet.socket, packet.is_egress)
}

/// What is in a segment.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A message, at least up to the end of its question.
    Message(Message<'a>),
    /// The beginning of a message whose question is elsewhere, or messages that were not captured.
    Split,
    /// No message, here or before. If here, the rest of the segment is lost, for nobody knows where the next begins.
    Nonsense,
}

/// The part of a segment that was not read yet.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    is_response: bool,
    /// Captured octets, perhaps fewer than are left.
    payload: &'a [u8],
    /// Octets on the wire.
    left: u32,
    position: Position,
    is_found_again: bool,
}

impl<'a> Segment<'a> {
    /// A segment that is just one message, as most are, begins with it wherever its stream was thought to be. Octets in the
    /// middle of a message that look the same are rare; but once a segment was seen twice, a length can be taken from anywhere, and
    /// up to 64 kB would pass for the rest of a message.
    fn find_again(&mut self) {
        let Some((length, message)) = self.payload.split_first_chunk() else {
            return;
        };
        let is_one_message = u32::from(u16::from_be_bytes(*length)) + 2 == self.left
            && message.len() >= HEADER_LENGTH
            && may_begin_message(message, self.is_response);
        if is_one_message && self.position != Position::Between {
            self.position = Position::Between;
            self.is_found_again = true;
        }
    }

    /// Reads on. Each piece but the first takes at least an octet that was captured, or is the last.
    pub(super) fn next<'t>(&mut self, text: &'t mut String) -> Option<Piece<'t>>
    where
        'a: 't,
    {
        if mem::take(&mut self.is_found_again) {
            return Some(Piece::Nonsense);
        }
        while self.left > 0 {
            let high = match self.position {
                Position::InMessage(rest) => {
                    self.pass(rest);
                    continue;
                }
                Position::BeforeMessage(length) => return Some(self.message(length, text)),
                Position::Between => None,
                Position::InLength(high) => Some(high),
            };
            let Some(octet) = self.octet() else {
                return Some(self.give_up(Piece::Split));
            };
            self.position = match high.map(|high| u16::from_be_bytes([high, octet])) {
                None => Position::InLength(octet),
                Some(length) if usize::from(length) >= HEADER_LENGTH => {
                    Position::BeforeMessage(length)
                }
                Some(_) => return Some(self.give_up(Piece::Nonsense)),
            };
        }
        None
    }

    /// Where the stream is, after all pieces.
    pub(super) const fn rest(&self) -> Position {
        self.position
    }

    fn message<'t>(&mut self, length: u16, text: &'t mut String) -> Piece<'t>
    where
        'a: 't,
    {
        let whole = usize::from(length);
        let captured = self.payload.get(..whole).unwrap_or(self.payload);
        let is_whole = captured.len() == whole;
        let header = captured.get(..HEADER_LENGTH);
        if header.is_some_and(|header| !may_begin_message(header, self.is_response)) {
            return self.give_up(Piece::Nonsense);
        }
        self.pass(u32::from(length));
        match Message::parse(captured, text) {
            Ok(message) => Piece::Message(message),
            Err(MessageError::TooShort(_) | MessageError::CutOff) if !is_whole => Piece::Split,
            Err(_) => self.give_up(Piece::Nonsense),
        }
    }

    /// The next octet, if it was captured.
    fn octet(&mut self) -> Option<u8> {
        let (octet, payload) = self.payload.split_first()?;
        self.payload = payload;
        self.left -= 1;
        Some(*octet)
    }

    /// Goes so many octets on, or to the end of the segment.
    fn pass(&mut self, octets: u32) {
        let passed = octets.min(self.left);
        self.left -= passed;
        let captured = usize::try_from(passed).unwrap_or(usize::MAX);
        self.payload = self.payload.get(captured..).unwrap_or_default();
        let rest = octets - passed;
        self.position = if rest > 0 {
            Position::InMessage(rest)
        } else {
            Position::Between
        };
    }

    /// Leaves out the rest of the segment, for this reason.
    fn give_up<'t>(&mut self, reason: Piece<'t>) -> Piece<'t> {
        self.left = 0;
        self.payload = &[];
        self.position = Position::Between;
        reason
    }
}
