//! Look-ups that wait for their answer.

use std::net::SocketAddr;

use smallvec::SmallVec;

use super::super::message::Question;
use super::super::{Packet, Transport};
use super::{Lookup, LookupEnd, TIMEOUT_NS, is_over};
use crate::aged_map::AgedMap;
use crate::hash::HashMap;

/// Look-ups that may wait with the same id on the same socket. musl asks three servers twice each in five seconds; more
/// would let one socket make others' answers expensive to match.
const MOST_AT_ONCE: usize = 8;

/// What an answer has in common with its query, whatever is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exchange {
    socket: u64,
    transport: Transport,
    id: u16,
}

impl Exchange {
    pub(super) const fn of(packet: &Packet<'_>, id: u16) -> Self {
        Self {
            socket: packet.socket,
            transport: packet.transport,
            id,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    exchange: Exchange,
    lookup: Lookup,
    is_overtaken: bool,
}

/// Look-ups by when they were asked, each with a number of its own, and their numbers by exchange.
#[derive(Debug)]
pub(super) struct Pending {
    next: u64,
    by_age: AgedMap<u64, Waiting>,
    /// The latest last.
    by_exchange: HashMap<Exchange, SmallVec<[u64; 2]>>,
}

impl Pending {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            next: 0,
            by_age: AgedMap::new(capacity),
            by_exchange: HashMap::default(),
        }
    }

    /// Whether anything waits in an exchange.
    pub(super) fn contains(&self, exchange: Exchange) -> bool {
        self.by_exchange.contains_key(&exchange)
    }

    /// The latest that asks the same of the same server.
    pub(super) fn same(
        &self,
        exchange: Exchange,
        server: SocketAddr,
        question: Question<&str>,
    ) -> Option<&Lookup> {
        let mut waiting = self.latest_first(exchange).map(|(_, lookup)| lookup);
        waiting.find(|lookup| lookup.server == server && lookup.question.is(question))
    }

    /// Takes out the look-up that an answer from this server ends; an answer without a question ends any. Others that ask the
    /// same, of other servers, are overtaken.
    pub(super) fn answered(
        &mut self,
        exchange: Exchange,
        server: SocketAddr,
        question: Option<Question<&str>>,
    ) -> Option<Lookup> {
        let is_asked =
            |lookup: &Lookup| question.is_none_or(|question| lookup.question.is(question));
        let mut latest = None;
        let mut from_server = None;
        for (number, lookup) in self.latest_first(exchange) {
            if is_asked(lookup) {
                latest = latest.or(Some(number));
                if lookup.server == server {
                    from_server = from_server.or(Some(number));
                }
            }
        }
        let answered = self.remove(from_server.or(latest)?)?.lookup;
        self.overtake(exchange, &answered);
        Some(answered)
    }

    /// One more waits. Returns the one that gave up for it, if there was no room.
    pub(super) fn add(&mut self, exchange: Exchange, lookup: Lookup) -> Option<Lookup> {
        let numbers = self.by_exchange.entry(exchange).or_default();
        let first = numbers.first().copied();
        let crowded_out = first.filter(|_| numbers.len() >= MOST_AT_ONCE);
        let number = self.next;
        self.next += 1;
        numbers.push(number);
        let crowded_out = crowded_out.and_then(|first| self.remove(first));
        let waiting = Waiting {
            exchange,
            lookup,
            is_overtaken: false,
        };
        let oldest = self.by_age.insert(number, waiting);
        if let Some((number, waiting)) = &oldest {
            self.unlist(*number, waiting.exchange);
        }
        // If one was crowded out there was room.
        let waiting = crowded_out.or(oldest.map(|(_, waiting)| waiting))?;
        Some(waiting.ended(LookupEnd::GaveUp))
    }

    /// The oldest, if its time is over.
    pub(super) fn pop_overdue(&mut self, now_ns: u64) -> Option<Lookup> {
        let is_overdue =
            |waiting: &Waiting| is_over(waiting.lookup.asked_boot_ns, TIMEOUT_NS, now_ns);
        let (number, waiting) = self.by_age.pop_oldest_if(is_overdue)?;
        self.unlist(number, waiting.exchange);
        let end = if waiting.is_overtaken {
            LookupEnd::Overtaken
        } else {
            LookupEnd::TimedOut
        };
        Some(waiting.ended(end))
    }

    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    #[cfg(test)]
    pub(super) fn exchanges(&self) -> usize {
        self.by_exchange.len()
    }

    fn latest_first(&self, exchange: Exchange) -> impl Iterator<Item = (u64, &Lookup)> {
        let numbers = self.by_exchange.get(&exchange).into_iter().flatten();
        numbers.rev().filter_map(|number| {
            let waiting = self.by_age.get(number)?;
            Some((*number, &waiting.lookup))
        })
    }

    fn overtake(&mut self, exchange: Exchange, answered: &Lookup) {
        for number in self.by_exchange.get(&exchange).into_iter().flatten() {
            if let Some(waiting) = self.by_age.get_mut(number)
                && waiting.lookup.server != answered.server
                && waiting.lookup.question == answered.question
            {
                waiting.is_overtaken = true;
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.by_age.remove(&number)?;
        self.unlist(number, waiting.exchange);
        Some(waiting)
    }

    fn unlist(&mut self, number: u64, exchange: Exchange) {
        if let Some(numbers) = self.by_exchange.get_mut(&exchange) {
            numbers.retain(|listed| *listed != number);
            if numbers.is_empty() {
                self.by_exchange.remove(&exchange);
            }
        }
    }
}

impl Waiting {
    fn ended(self, end: LookupEnd) -> Lookup {
        Lookup { end, ..self.lookup }
    }
}
