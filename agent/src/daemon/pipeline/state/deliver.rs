//! What was finished goes to whoever wants it, once it is known whose it is.

use std::sync::Arc;

use super::super::outbox::Item;
use super::super::source::Source;
use super::State;
use crate::identity::{OwnerId, Resolution, Resource};
use crate::telemetry::live::{LiveEvent, OwnedEvent};
use crate::telemetry::span::FinishedSpan;

impl<S: Source> State<S> {
    pub(super) fn exports(&self, name: &'static str) -> bool {
        let kinds = &self.settings.live.exported_events;
        self.logs.is_some() && (kinds.is_empty() || kinds.contains(&name))
    }

    /// Sends a finished thing on, or keeps it until its resource is known.
    pub(super) fn deliver(&mut self, owner: OwnerId, item: Item) {
        match self.identity.resolve(owner, self.patience()) {
            Resolution::Ready(resource) => self.send(item, &resource),
            Resolution::Pending => self.outbox.push(owner, item),
        }
    }

    /// Sends on what no longer has to wait.
    pub(super) fn empty_outbox(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let patience = self.patience();
        let Self {
            outbox, identity, ..
        } = self;
        for (item, resource) in outbox.ready(|owner| identity.resolve(owner, patience)) {
            self.send(item, &resource);
        }
    }

    fn send(&mut self, item: Item, resource: &Arc<Resource>) {
        match item {
            Item::Event(mut event) => {
                // First: what is exported does not depend on who watches.
                let is_exported = self.is_exported(&event, resource);
                if is_exported {
                    self.exported_arguments.show(&mut event);
                }
                let watched = &mut self.watched_arguments;
                let show = |event: &mut LiveEvent| watched.show(event);
                self.subscribers.publish(&mut event, resource, show);
                if let Some(logs) = self.logs.as_ref().filter(|_| is_exported) {
                    logs.push(OwnedEvent {
                        resource: Arc::clone(resource),
                        event,
                    });
                }
            }
            Item::Span(span, observed) => {
                if let Some(spans) = &self.spans {
                    // Only now is it certain that there is such a span.
                    self.store.exemplify(&observed, &span);
                    spans.push(FinishedSpan {
                        resource: Arc::clone(resource),
                        span,
                    });
                }
            }
        }
    }

    /// Whether an event is exported: if it is of a kind that is, and its workload has not too many of them.
    fn is_exported(&mut self, event: &LiveEvent, resource: &Resource) -> bool {
        let rate = self.settings.live.event_rate;
        self.exports(event.name) && self.event_rates.admit(rate, event, resource)
    }
}
