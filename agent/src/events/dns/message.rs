//! One DNS message, as far as it was captured (RFC 1035, 4.1).
//!
//! Header and question are all a look-up needs, and they come first. So a message is read in steps: what was cut off by the capture,
//! or makes no sense further behind, costs the records behind it and nothing else.

mod records;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use domain::base::iana::Class;
use domain::base::wire::ParseError;
use domain::base::{self, Header, HeaderCounts, ParsedName, Rtype};
use domain::dep::octseq::Parser;
use thiserror::Error;

pub use self::records::Answers;
use self::records::Records;

/// Octets of a header (RFC 1035, 4.1.1).
pub const HEADER_LENGTH: usize = 12;

/// Longest text of a name: 250 octets in four labels, each octet escaped, and three dots. An ordinary name has 253 at most.
pub const LONGEST_NAME: usize = 4 * 250 + 3;

/// Octets that are no message, or not enough of one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum MessageError {
    /// Less than a header.
    #[error("a message of {0} octets has no header")]
    TooShort(usize),
    /// The question reaches past the end of what was captured.
    #[error("the question is cut off")]
    CutOff,
    /// The question's name is none: too long, an unknown kind of label, or a pointer that leads nowhere.
    #[error("the question's name is malformed")]
    BadName,
}

impl MessageError {
    /// The reason it is counted under.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort(_) => "too_short",
            Self::CutOff => "cut_off",
            Self::BadName => "bad_name",
        }
    }
}

/// What is asked (RFC 1035, 4.1.2).
///
/// The name is in lower case, since servers do not distinguish cases and some clients vary them to tell forged answers. It has no dot at
/// the end, but the root is ".". Octets that are not printable ASCII, spaces, and dots inside a label are written `\DDD` in decimal, quotes
/// and backslashes with a backslash before them (RFC 1035, 5.1). So each dot separates two labels. It is never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question<Text = Arc<str>> {
    /// The name, of at most [`LONGEST_NAME`] octets.
    pub name: Text,
    /// Type of the records asked for, see [`type_name`].
    pub kind: u16,
    /// Class of the records asked for; 1 is the Internet's.
    pub class: u16,
}

impl Question<&str> {
    /// The same, to keep.
    pub fn to_owned(self) -> Question {
        Question {
            name: self.name.into(),
            kind: self.kind,
            class: self.class,
        }
    }
}

impl Question {
    /// Whether it asks the same.
    pub fn is(&self, other: Question<&str>) -> bool {
        self.borrowed() == other
    }

    /// Whether it asks for addresses: those of IPv4 (RFC 1035, 3.4.1) or of IPv6 (RFC 3596, 2.1).
    pub fn is_for_addresses(&self) -> bool {
        matches!(Rtype::from_int(self.kind), Rtype::A | Rtype::AAAA)
            && Class::from_int(self.class) == Class::IN
    }

    /// The same, to look at.
    pub fn borrowed(&self) -> Question<&str> {
        Question {
            name: &self.name,
            kind: self.kind,
            class: self.class,
        }
    }
}

/// A query or a response.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Chosen by who asks, and repeated in the response.
    pub id: u16,
    /// It is a response.
    pub is_response: bool,
    /// Kind of query: 0 for an ordinary one (RFC 1035, 4.1.1).
    pub opcode: u8,
    /// Response code. With the eight further bits of EDNS (RFC 6891, 6.1.3) if that record was captured; it is usually the last.
    pub rcode: u16,
    /// There was more to answer than the response has room for (TC).
    pub is_truncated: bool,
    /// Questions there are, by the header's account.
    pub question_count: u16,
    /// The first question; `None` if there is none, as in an error that a server could say no more about.
    pub question: Option<Question<&'a str>>,
    /// Addresses in the answer section. All belong to the question's name: others that it stands for (CNAME) are on the way to them.
    pub answers: Answers<'a>,
}

impl<'a> Message<'a> {
    /// Reads a message of which `bytes` were captured. `text` is where the question's name is written to; what it held is lost.
    ///
    /// # Errors
    /// There is no whole header, or not the whole question that the header tells of.
    pub fn parse(bytes: &'a [u8], text: &'a mut String) -> Result<Self, MessageError> {
        let mut parser = Parser::from_ref(bytes);
        parser
            .advance(HEADER_LENGTH)
            .map_err(|_short| MessageError::TooShort(bytes.len()))?;
        // Any twelve octets are a header.
        let header = Header::for_message_slice(bytes);
        let counts = *HeaderCounts::for_message_slice(bytes);
        let question_count = counts.qdcount();
        let question = if question_count == 0 {
            None
        } else {
            Some(question(&mut parser, text)?)
        };
        let records = Records::behind(parser, question_count.saturating_sub(1));
        let is_response = header.qr();
        let high = if is_response {
            records.extended_rcode(counts)
        } else {
            0
        };
        Ok(Self {
            id: header.id(),
            is_response,
            opcode: header.opcode().to_int(),
            rcode: u16::from(high) << 4 | u16::from(header.rcode().to_int()),
            is_truncated: header.tc(),
            question_count,
            question,
            answers: records.answers(counts),
        })
    }
}

/// Whether these octets may be the beginning of a query, or of a response. Any twelve octets are a header; this asks for what ordinary
/// messages have: an opcode that is assigned (RFC 6895, 2.2), no more than one question, and the reserved bit unset.
pub fn may_begin_message(bytes: &[u8], is_response: bool) -> bool {
    let [_, _, flags, more_flags, count, count_low, ..] = *bytes else {
        return false;
    };
    (flags & 0x80 != 0) == is_response
        && (flags >> 3) & 0xf <= 6
        && more_flags & 0x40 == 0
        && u16::from_be_bytes([count, count_low]) <= 1
}

fn question<'a>(
    parser: &mut Parser<'_, [u8]>,
    text: &'a mut String,
) -> Result<Question<&'a str>, MessageError> {
    let question = base::Question::parse(parser).map_err(|error| match error {
        ParseError::ShortInput => MessageError::CutOff,
        ParseError::Form(_) => MessageError::BadName,
    })?;
    write_name(question.qname(), text);
    Ok(Question {
        name: text,
        kind: question.qtype().to_int(),
        class: question.qclass().to_int(),
    })
}

/// Writes a name as [`Question`] describes. (The library's own text keeps cases, and writes a dot inside a label as `\.`.)
fn write_name(name: &ParsedName<&[u8]>, text: &mut String) {
    text.clear();
    for label in name.iter().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label {
            match octet.to_ascii_lowercase() {
                octet @ (b'"' | b'\\') => text.extend(['\\', char::from(octet)]),
                octet if octet.is_ascii_graphic() && octet != b'.' => text.push(char::from(octet)),
                octet => {
                    // Writing to a string cannot fail.
                    let _written = write!(text, "\\{octet:03}");
                }
            }
        }
    }
    if text.is_empty() {
        text.push('.');
    }
}

/// What a response code says went wrong, as `error.type`; `None` if nothing did (RFC 1035, 4.1.1).
pub const fn rcode_error_type(rcode: u16) -> Option<&'static str> {
    match rcode {
        0 => None,
        1 => Some("formerr"),
        2 => Some("servfail"),
        3 => Some("nxdomain"),
        4 => Some("notimp"),
        5 => Some("refused"),
        _ => Some("_OTHER"),
    }
}

/// What a type of records is called: as IANA lists it, else by number (RFC 3597, 5).
pub fn type_name(kind: u16) -> Cow<'static, str> {
    let known = match Rtype::from_int(kind) {
        // The library leaves the hyphen out.
        Rtype::NSAPPTR => Some("NSAP-PTR"),
        other => other.to_mnemonic_str(),
    };
    known.map_or_else(|| Cow::Owned(format!("TYPE{kind}")), Cow::Borrowed)
}

#[cfg(test)]
mod tests;
