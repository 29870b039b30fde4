//! The records behind the question (RFC 1035, 4.1.3), as far as they were captured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::iana::Class;
use domain::base::wire::ParseError;
use domain::base::{HeaderCounts, ParsedName, Question, Rtype, Ttl};
use domain::dep::octseq::Parser;

/// One record; its name is left out.
pub(super) struct Record<'a> {
    kind: Rtype,
    class: Class,
    ttl: Ttl,
    data: &'a [u8],
}

/// Records, one after the other, until one is cut off or makes no sense.
///
/// The library's sections of records would follow the pointers in their names, and stop at the first name it does not like: only addresses
/// are wanted, and names are passed unread. Each record takes eleven octets or more, whatever number of them the header claims.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    /// At the next record.
    parser: Parser<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// The records of a message whose first question was read, and which has some `further` ones.
    pub(super) fn behind(mut parser: Parser<'a, [u8]>, further: u16) -> Self {
        let are_passed = (0..further).all(|_| Question::skip(&mut parser).is_ok());
        if !are_passed {
            parser.advance_to_end();
        }
        Self { parser }
    }

    pub(super) fn answers(self, counts: HeaderCounts) -> Answers<'a> {
        Answers {
            records: self,
            left: counts.ancount(),
        }
    }

    /// The upper eight bits of the response code, which EDNS keeps where other records have their time to live (RFC 6891, 6.1.3).
    pub(super) fn extended_rcode(&self, counts: HeaderCounts) -> u8 {
        let before = usize::from(counts.ancount()) + usize::from(counts.nscount());
        let additional = self
            .clone()
            .skip(before)
            .take(usize::from(counts.arcount()));
        let mut options = additional.filter(|record| record.kind == Rtype::OPT);
        options.next().map_or(0, |record| {
            let [high, ..] = record.ttl.as_secs().to_be_bytes();
            high
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let record = read(&mut self.parser).ok();
        if record.is_none() {
            self.parser.advance_to_end();
        }
        record
    }
}

fn read<'a>(parser: &mut Parser<'a, [u8]>) -> Result<Record<'a>, ParseError> {
    ParsedName::skip(parser)?;
    let kind = Rtype::parse(parser)?;
    let class = Class::parse(parser)?;
    let ttl = Ttl::parse(parser)?;
    let length = parser.parse_u16_be()?;
    let data = parser.parse_octets(usize::from(length))?;
    Ok(Record {
        kind,
        class,
        ttl,
        data,
    })
}

/// Addresses of an answer section, each with its time to live in seconds. As many as were captured: of 512 octets about thirty.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    records: Records<'a>,
    left: u16,
}

impl Iterator for Answers<'_> {
    type Item = (IpAddr, u32);

    fn next(&mut self) -> Option<(IpAddr, u32)> {
        while self.left > 0 {
            self.left -= 1;
            let record = self.records.next()?;
            if let Some(address) = address(&record) {
                return Some((address, time_to_live(record.ttl)));
            }
        }
        None
    }
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    if record.class != Class::IN {
        return None;
    }
    match record.kind {
        Rtype::A => {
            let octets: [u8; 4] = record.data.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        Rtype::AAAA => {
            let octets: [u8; 16] = record.data.try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// One with the uppermost bit set counts as 0 (RFC 2181, 8).
const fn time_to_live(ttl: Ttl) -> u32 {
    let ttl = ttl.as_secs();
    if ttl > i32::MAX.unsigned_abs() {
        0
    } else {
        ttl
    }
}
