mod context;
mod limits;
mod matching;
mod properties;
mod tcp;

use super::super::testing::{A, AAAA, Draft, address, packet, question};
use super::*;

const MS: u64 = 1_000_000;

impl Lookups {
    /// How much is in each table.
    fn remembered(&self) -> [usize; 5] {
        [
            self.pending.exchanges(),
            self.answered.len(),
            self.history.questions(),
            self.history.searches(),
            self.streams.len(),
        ]
    }
}

/// What is told of a series of packets.
struct Watch {
    lookups: Lookups,
    ended: Vec<Lookup>,
    ignored: Vec<Ignored>,
}

impl Watch {
    fn new(capacity: usize) -> Self {
        Self {
            lookups: Lookups::new(capacity),
            ended: Vec::new(),
            ignored: Vec::new(),
        }
    }

    fn takes_in(&mut self, packet: &Packet<'_>) {
        let Self {
            lookups,
            ended,
            ignored,
        } = self;
        lookups.take_in(packet, |outcome| match outcome {
            Outcome::Ended(lookup) => ended.push(lookup),
            Outcome::Ignored(reason) => ignored.push(reason),
        });
    }

    /// A datagram, sent if it is a query and received if it is a response, unless something about it is different.
    fn sees_other(&mut self, ms: u64, draft: &Draft, differ: impl FnOnce(&mut Packet<'_>)) {
        let bytes = draft.bytes();
        let mut packet = Packet {
            boot_ns: ms * MS,
            is_egress: draft.flags & 0x8000 == 0,
            ..packet(&bytes)
        };
        differ(&mut packet);
        self.takes_in(&packet);
    }

    fn sees(&mut self, ms: u64, draft: &Draft) {
        self.sees_other(ms, draft, |_| ());
    }

    fn waits_until(&mut self, ms: u64) {
        let ended = &mut self.ended;
        self.lookups.expire(ms * MS, |lookup| ended.push(lookup));
    }

    /// The one look-up that ended since this was asked last.
    fn only_ended(&mut self) -> Lookup {
        let mut ended = mem::take(&mut self.ended);
        assert_eq!(ended.len(), 1, "{ended:?}");
        ended.remove(0)
    }

    /// How look-ups ended since this was asked last: when they were asked, and how long that took, in milliseconds.
    fn ends(&mut self) -> Vec<(u64, Option<u64>, LookupEnd)> {
        let ended = mem::take(&mut self.ended).into_iter();
        let in_ms = ended.map(|lookup| {
            let took = lookup.took_ns.map(|ns| ns / MS);
            (lookup.asked_boot_ns / MS, took, lookup.end)
        });
        in_ms.collect()
    }

    fn ignores(&mut self) -> Vec<Ignored> {
        mem::take(&mut self.ignored)
    }
}

const FOUND: LookupEnd = answered(0);

const fn answered(rcode: u16) -> LookupEnd {
    LookupEnd::Answered {
        rcode,
        is_truncated: false,
    }
}

fn ask(id: u16, name: &str) -> Draft {
    Draft::query(id, name, A)
}

fn found(id: u16, name: &str) -> Draft {
    Draft::response(id, name, A, 0).address("192.0.2.1", 60)
}

fn missing(id: u16, name: &str) -> Draft {
    Draft::response(id, name, A, 3)
}
