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
                let rate = &mut self.argument_rate;
                let show = |event: &mut LiveEvent| rate.show(event);
                self.subscribers.publish(&mut event, resource, show);
                self.export(event, resource);
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

    /// Exports an event, if it is of a kind that is, and its workload has not too many of them.
    fn export(&mut self, mut event: LiveEvent, resource: &Arc<Resource>) {
        if !self.exports(event.name) {
            return;
        }
        let rate = self.settings.live.event_rate;
        let Some(logs) = &self.logs else { return };
        if self.event_rates.admit(rate, &event, resource) {
            self.argument_rate.show(&mut event);
            logs.push(OwnedEvent {
                resource: Arc::clone(resource),
                event,
            });
        }
    }
}
