//! What processes do, what they use, and how they end.

use wellhead_common::record::Usage;

use super::super::departing::Departed;
use super::super::outbox::Item;
use super::super::source::Source;
use super::State;
use crate::events::{Body, ConnectionEnd, Event, Exit, Freed, ProcessId, Totals, executable_name};
use crate::identity::{MemoryLeft, OwnerId, Process, is_runtimes_own};
use crate::kernel::ProcessUsage;
use crate::recording::Told;
use crate::telemetry::aggregate::{Aggregator, Occurrence};
use crate::telemetry::live::LiveEvent;
use crate::telemetry::spans::Place;
use crate::telemetry::store::Observed;

impl<S: Source> State<S> {
    /// Keeps the process table.
    pub(super) fn follow_process(&mut self, event: &Event<'_>, owner: OwnerId) {
        self.follow_container(event, owner);
        match &event.body {
            Body::Fork(fork) => self.processes.forked(fork.child, fork.parent, owner),
            Body::Exec(exec) => {
                let program = self.programs.of(exec);
                let by_runtime = is_runtimes_own(exec) && self.identity.container(owner).is_some();
                let left = self
                    .processes
                    .executed(exec, event.boot_ns, owner, program, by_runtime);
                self.left_memory(left, event.boot_ns);
            }
            Body::Exit(exit) => {
                let _untold = self.processes.exited(exit.process, event.boot_ns);
                self.place(exit.process, owner, event.boot_ns);
            }
            Body::OomKill(kill) => self.processes.oom_killed(kill.pid),
            Body::Found(found) => {
                let name = executable_name(&[], false, &found.comm);
                self.processes.found(found, owner, name.into());
            }
            Body::TcpClose(end) | Body::TcpConnectFailed(end) | Body::TcpSnapshot(end) => {
                self.follow_traffic(event, end);
            }
            _ => {}
        }
        let made_room = self.processes.take_made_room();
        self.left_memory(made_room, event.boot_ns);
    }

    fn left_memory(&mut self, left: Option<MemoryLeft>, boot_ns: u64) {
        if let Some(left) = left.filter(|left| !self.is_left_out(left.owner)) {
            let now = self.clock.unix_nano(boot_ns);
            Aggregator::left_memory(&mut self.store, &left, now);
        }
    }

    /// What a connection carried is also its process's.
    fn follow_traffic(&mut self, event: &Event<'_>, end: &ConnectionEnd) {
        let grown = end.totals.since(&Totals::from(&end.reported));
        let bytes = (grown.bytes_sent, grown.bytes_received);
        if bytes == (0, 0) {
            return;
        }
        let named = self.processes.named_by(event).map(|(id, _)| id);
        if let Some(process) = named {
            self.processes.carried(process, bytes);
        }
    }

    /// What processes used until now. Says whether to look for processes that are not known.
    pub(in super::super) fn count_usage(&mut self, usage: Vec<ProcessUsage>) -> bool {
        if usage.is_empty() {
            // They could not be looked at.
            return false;
        }
        let now = self.clock.now_unix_nano();
        let mut there = Vec::with_capacity(usage.len());
        let mut unknown = 0;
        for process in &usage {
            let id = ProcessId {
                pid: process.pid,
                start_ns: process.start_ns,
            };
            there.push(id);
            // Who has ended meanwhile has told more than that, and has no memory any more.
            if self.processes.get(id).is_some() {
                if let Some(owner) = self.identity.owner_of_cgroup(process.cgroup_id) {
                    self.place(id, owner, process.boot_ns);
                }
                self.count_used(id, &process.so_far(), process.resident_bytes, now);
            } else {
                unknown += 1;
            }
        }
        for id in self.processes.gone(&there) {
            // The record of its end may wait for its pod.
            let owner = self.processes.get(id).map(|known| known.owner);
            if owner.is_some_and(|owner| !self.waiting.awaits_pod(owner)) {
                self.count_used(id, &Usage::default(), 0, now);
                self.processes.exited(id, self.clock.now());
            }
        }
        self.note(|| Told::Usage(usage));
        self.processes.wants_to_look(unknown)
    }

    /// From then on it uses for whom it is with: it may have been moved.
    fn place(&mut self, id: ProcessId, owner: OwnerId, boot_ns: u64) {
        let left = self.processes.seen_in(id, owner, boot_ns);
        self.left_memory(left, boot_ns);
    }

    /// Counts what is new of what a process used.
    fn count_used(&mut self, id: ProcessId, usage: &Usage, resident: u64, now: u64) {
        let owner = self
            .processes
            .live_or_ended(id)
            .map(|known| known.used_by());
        let Some(owner) = owner else { return };
        let left_out = self.is_left_out(owner);
        // If they are not any more, everything they have is new.
        let resident = if left_out { 0 } else { resident };
        let Some((grown, process)) = self.processes.used(id, usage, resident) else {
            return;
        };
        if !left_out {
            Aggregator::count_used(&mut self.store, (owner, now), process, &grown);
        }
    }

    /// Counts the end of a process and what it used until then, and tells of it: now, or once all of that is known.
    pub(super) fn take_in_exit(&mut self, event: &Event<'_>, exit: &Exit, owner: OwnerId) {
        self.follow_container(event, owner);
        let ended = self.processes.exited(exit.process, event.boot_ns);
        let unix_nano = self.clock.unix_nano(event.boot_ns);
        self.trace_exit(event, exit, (owner, ended.as_ref()));
        let occurrence = Occurrence {
            event,
            unix_nano,
            owner,
            process: ended.as_ref(),
            backend: None,
            drop_reason: None,
        };
        self.store.forget_observed();
        self.aggregator
            .count(&mut self.store, &mut self.identity, &occurrence);
        let observed = self.store.observed().to_vec();
        self.place(exit.process, owner, event.boot_ns);
        self.count_used(exit.process, &exit.usage, 0, unix_nano);
        if !self.is_told(event) && !self.makes_spans() {
            return;
        }
        let departed = Departed {
            owner,
            boot_ns: event.boot_ns,
            unix_nano,
            cgroup_id: event.cgroup_id,
            exit: exit.clone(),
            process: ended,
            has_event: false,
            observed,
        };
        let has_to_go = if exit.process.started_ns().is_none() {
            // Without BTF nothing more is told.
            Some(departed)
        } else {
            self.departing.push(departed)
        };
        if let Some(departed) = has_to_go {
            self.tell_end(departed);
        }
    }

    /// The kernel let go of a process.
    pub(super) fn freed(&mut self, freed: &Freed, unix_nano: u64) {
        self.count_used(freed.process, &freed.usage, 0, unix_nano);
        let Some(mut departed) = self.departing.take(freed.process) else {
            return;
        };
        departed.exit.usage = freed.usage;
        self.tell_event_of_end(&mut departed);
        if !self.makes_spans() {
            return;
        }
        // What its last connections did is told after it, and belongs to its span.
        if let Some(departed) = self.departing.push(departed) {
            self.tell_end(departed);
        }
    }

    /// Tells of the ends of processes that were waited with for long enough.
    pub(super) fn tell_overdue_ends(&mut self) {
        while let Some(departed) = self.departing.next_due(self.patience()) {
            self.tell_end(departed);
        }
    }

    fn tell_end(&mut self, mut departed: Departed) {
        self.tell_event_of_end(&mut departed);
        self.bring_up_to_date(&mut departed);
        let about = (departed.owner, departed.process.as_ref());
        let place = self.place_process(&departed.exit, about, departed.boot_ns);
        let event = departed.event();
        let occurrence = departed.occurrence(&event);
        let span = self.finished_span(&occurrence, None, place);
        let span = span.map(|span| Item::Span(span, departed.observed));
        self.deliver_all(departed.owner, [span, None]);
    }

    fn tell_event_of_end(&mut self, departed: &mut Departed) {
        let event = departed.event();
        if departed.has_event || !self.is_told(&event) {
            return;
        }
        departed.has_event = true;
        self.bring_up_to_date(departed);
        let occurrence = departed.occurrence(&event);
        let live = LiveEvent::new(&occurrence, self.settings.live.arguments);
        self.deliver_all(departed.owner, [None, live.map(Item::Event)]);
    }

    /// Takes up what is known by now of a process that ended.
    fn bring_up_to_date(&self, departed: &mut Departed) {
        if let Some(latest) = self.processes.ended(departed.exit.process) {
            departed.process = Some(latest.clone());
        }
    }

    /// What is told of an event.
    pub(super) fn items(
        &self,
        occurrence: &Occurrence<'_>,
        (process, place): (Option<(ProcessId, &Process)>, Option<Place>),
        observed: Vec<Observed>,
    ) -> [Option<Item>; 2] {
        let span = self.finished_span(occurrence, process, place);
        let live = self
            .is_told(occurrence.event)
            .then(|| LiveEvent::new(occurrence, self.settings.live.arguments));
        [
            span.map(|span| Item::Span(span, observed)),
            live.flatten().map(Item::Event),
        ]
    }

    /// Sends on what is told, unless there is no memory for that.
    pub(super) fn deliver_all(&mut self, owner: OwnerId, items: [Option<Item>; 2]) {
        if self.gives_up_details(items.iter().flatten().count()) {
            return;
        }
        for item in items.into_iter().flatten() {
            self.deliver(owner, item);
        }
    }
}
