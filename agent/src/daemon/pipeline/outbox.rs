//! Finished spans and live events that wait until everything about their resource is known.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::counters::{Counters, Discard};
use crate::identity::{OwnerId, Resolution, Resource};
use crate::telemetry::live::LiveEvent;
use crate::telemetry::span::Span;
use crate::telemetry::store::Observed;

/// Something finished.
#[derive(Debug)]
pub(super) enum Item {
    /// And where its event was counted.
    Span(Span, Vec<Observed>),
    Event(LiveEvent),
}

/// A bounded queue of things whose resource is pending; the oldest makes room and is counted.
#[derive(Debug)]
pub(super) struct Outbox {
    items: VecDeque<(OwnerId, Item)>,
    capacity: usize,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
            counters,
        }
    }

    pub(super) fn push(&mut self, owner: OwnerId, item: Item) {
        if self.items.len() >= self.capacity && self.items.pop_front().is_some() {
            self.counters.discard(Discard::QueuePodWaitFull, 1);
        }
        self.items.push_back((owner, item));
    }

    /// Takes out what can go, oldest first.
    pub(super) fn ready(
        &mut self,
        mut resolve: impl FnMut(OwnerId) -> Resolution,
    ) -> Vec<(Item, Arc<Resource>)> {
        let mut ready = Vec::new();
        let mut pending = VecDeque::new();
        for (owner, item) in self.items.drain(..) {
            match resolve(owner) {
                Resolution::Ready(resource) => ready.push((item, resource)),
                Resolution::Pending => pending.push_back((owner, item)),
            }
        }
        self.items = pending;
        ready
    }

    /// Whose things wait.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.items.iter().map(|(owner, _)| *owner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::live::Severity;

    fn event(name: &'static str) -> Item {
        Item::Event(LiveEvent {
            time_unix_nano: 0,
            name,
            severity: Severity::Info,
            attributes: Vec::new(),
            arguments: None,
        })
    }

    fn names(items: &[(Item, Arc<Resource>)]) -> Vec<&str> {
        let name = |item: &Item| match item {
            Item::Event(event) => event.name,
            Item::Span(..) => "span",
        };
        items.iter().map(|(item, _)| name(item)).collect()
    }

    #[test]
    fn items_leave_when_their_resource_is_known() {
        let counters = Arc::new(Counters::default());
        let mut outbox = Outbox::new(2, Arc::clone(&counters));
        outbox.push(OwnerId(1), event("a"));
        outbox.push(OwnerId(2), event("b"));
        outbox.push(OwnerId(1), event("c"));
        assert_eq!(counters.discards(Discard::QueuePodWaitFull), 1);
        let ready = outbox.ready(|owner| match owner {
            OwnerId(1) => Resolution::Ready(Arc::default()),
            _ => Resolution::Pending,
        });
        assert_eq!(names(&ready), ["c"]);
        assert_eq!(outbox.owners().collect::<Vec<_>>(), [OwnerId(2)]);
    }
}
