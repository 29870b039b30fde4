//! Who is left out.

use std::collections::HashSet;

use super::super::source::Source;
use super::State;
use crate::counters::Discard;
use crate::events::{Body, Event, Spilled};
use crate::identity::OwnerId;

impl<S: Source> State<S> {
    /// Whether telemetry of an owner is left out.
    pub(super) fn is_left_out(&mut self, owner: OwnerId) -> bool {
        let namespaces = &self.settings.live.namespaces;
        !namespaces.are_all() && namespaces.leave_out(&self.identity.namespace(owner))
    }

    /// Whether an event is left out. The end of a connection that is counted as active never is.
    pub(super) fn leaves_out(&mut self, event: &Event<'_>, owner: OwnerId) -> bool {
        self.is_left_out(owner) && !self.aggregator.follows(event)
    }

    /// What is done with an event that is left out: processes keep their names, and connections are known to be open.
    pub(super) fn leave_out(&mut self, event: &Event<'_>, owner: OwnerId) {
        self.follow_process(event, owner);
        self.forget_unmet(event);
        let now = self.clock.unix_nano(event.boot_ns);
        self.aggregator.leave_out(&mut self.store, event, now);
        // The others only tell how things are, or once more of an end.
        if !matches!(
            event.body,
            Body::Found(_)
                | Body::Freed(_)
                | Body::TcpSnapshot(_)
                | Body::TcpAttempt(_)
                | Body::TcpListener(_)
                | Body::TcpListen(_)
        ) {
            self.counters.discard(Discard::PolicyNamespace, 1);
        }
    }

    /// Whether what was added up of lost events is left out.
    pub(super) fn leaves_out_spilled(&mut self, spilled: &Spilled, owner: OwnerId) -> bool {
        self.leaves_out_counted(owner, spilled.events)
    }

    /// Whether so many of something that was only counted are left out.
    pub(super) fn leaves_out_counted(&mut self, owner: OwnerId, items: u64) -> bool {
        let left_out = self.is_left_out(owner);
        if left_out {
            self.counters.discard(Discard::PolicyNamespace, items);
        }
        left_out
    }

    /// Ends the series of owners that were not left out before: the configuration changed, or only now it is known who they
    /// are.
    pub(super) fn end_left_out(&mut self) {
        if self.settings.live.namespaces.are_all() {
            return;
        }
        let owners: HashSet<OwnerId> = self
            .store
            .owners()
            .chain(self.aggregator.owners())
            .collect();
        let ended: HashSet<OwnerId> = owners
            .into_iter()
            .filter(|owner| self.is_left_out(*owner))
            .collect();
        if ended.is_empty() {
            return;
        }
        let now = self.clock.now_unix_nano();
        self.aggregator.let_go(&mut self.store, &ended, now);
        self.store.remove_owners(&ended, now);
    }
}
