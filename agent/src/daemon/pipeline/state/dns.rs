//! Look-ups of names: whoever asked gets them counted, and addresses their names.

use super::super::source::Source;
use super::{Item, State};
use crate::counters::Discard;
use crate::events::dns::Packet;
use crate::events::dns::lookups::{Ignored, Lookup, LookupEnd, Outcome};
use crate::telemetry::aggregate::Aggregator;
use crate::telemetry::live::{LOOKUP, LiveEvent};

impl<S: Source> State<S> {
    /// A packet to or from a server.
    pub(super) fn take_in_dns(&mut self, packet: &Packet<'_>) {
        let mut outcomes = Vec::new();
        self.lookups
            .take_in(packet, |outcome| outcomes.push(outcome));
        for outcome in outcomes {
            match outcome {
                Outcome::Ended(lookup) => self.looked_up(&lookup),
                Outcome::Ignored(why) => self.counters.discard(discard(why), 1),
            }
        }
    }

    /// Lets time pass for those who wait for their answers.
    pub(super) fn expire_lookups(&mut self) {
        let mut ended = Vec::new();
        self.lookups
            .expire(self.clock.now(), |lookup| ended.push(lookup));
        for lookup in ended {
            self.looked_up(&lookup);
        }
        let forgotten = self.identity.take_forgotten_names();
        self.counters.discard(Discard::StoreNamesFull, forgotten);
    }

    fn looked_up(&mut self, lookup: &Lookup) {
        self.identity.looked_up(lookup);
        match lookup.end {
            LookupEnd::Answered { .. } | LookupEnd::TimedOut => {}
            LookupEnd::GaveUp => {
                self.counters.discard(Discard::StoreLookupsFull, 1);
                return;
            }
            // Another server answered first: nobody waited for this one.
            LookupEnd::Overtaken => return,
        }
        let owner = self.owner_or_node(lookup.cgroup_id);
        if self.leaves_out_counted(owner, 1) {
            return;
        }
        let ended = lookup
            .asked_boot_ns
            .saturating_add(lookup.took_ns.unwrap_or_default());
        let unix_nano = self.clock.unix_nano(ended);
        let names = self.settings.live.question_names;
        Aggregator::count_lookup(&mut self.store, owner, lookup, (unix_nano, names));
        if self.subscribers.is_empty() && !self.exports(LOOKUP) {
            return;
        }
        if !self.gives_up_details(1) {
            let event = LiveEvent::of_lookup(lookup, unix_nano);
            self.deliver(owner, Item::Event(event));
        }
    }
}

/// Under what a message is counted that was ignored.
fn discard(why: Ignored) -> Discard {
    match why {
        Ignored::Malformed(_) | Ignored::NoQuestion => Discard::DecodeDnsMalformed,
        Ignored::Split | Ignored::Desynchronised => Discard::DecodeDnsSplit,
        Ignored::OtherOpcode
        | Ignored::WrongWay
        | Ignored::Unmatched
        | Ignored::OtherQuestion
        | Ignored::Duplicate
        | Ignored::Retransmitted => Discard::DecodeDnsUnmatched,
    }
}
