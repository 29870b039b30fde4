//! Spans: who has one, where it belongs, and what it tells of.

use super::super::outbox::Item;
use super::super::source::Source;
use super::State;
use crate::counters::Discard;
use crate::events::{Body, Event, Exit, ProcessId};
use crate::identity::{CgroupOwner, OwnerId, PodUpdate, Process};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::span::Span;
use crate::telemetry::spans::startup::{Ended, Step};
use crate::telemetry::spans::{Place, Placing, Tracer};

impl<S: Source> State<S> {
    /// Where the span of a connection belongs that an event ends, if it makes one.
    pub(super) fn place_connection(&mut self, event: &Event<'_>) -> Option<Place> {
        let tracer = self.tracer.as_ref()?;
        if self.own.caused(event) {
            return None;
        }
        tracer.place_connection(&mut self.processes, event)
    }

    /// What an event means for the span of the process that it names, or that executes a program; and for its container,
    /// if that starts.
    pub(super) fn trace(&mut self, event: &Event<'_>, owner: OwnerId) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        match &event.body {
            Body::Exec(exec) => tracer.began(&self.processes, exec.process),
            Body::Found(found) => tracer.began(&self.processes, found.process),
            _ => {
                if let Some((process, _)) = self.processes.named_by(event) {
                    tracer.note(&mut self.processes, process, event);
                }
            }
        }
        let (step, process) = match &event.body {
            // Not by the runtime, before the container's own program.
            Body::Exec(exec) => {
                let known = self.processes.get(exec.process);
                let is_first = known.is_some_and(Process::makes_span);
                (is_first.then_some(Step::Exec), Some(exec.process))
            }
            _ => (step(event), None),
        };
        if let Some(step) = step {
            tracer
                .startups()
                .stepped(owner, step, process, event.boot_ns);
        }
    }

    /// A process ended, of which not all is known yet.
    pub(super) fn trace_exit(
        &mut self,
        event: &Event<'_>,
        exit: &Exit,
        about: (OwnerId, Option<&Process>),
    ) {
        let (owner, process) = about;
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        tracer.exited(&mut self.processes, exit, process, event.boot_ns);
        let startups = tracer.startups();
        let ended = startups.exited(owner, exit.process, exit.status, event.boot_ns);
        self.tell_starts(ended);
    }

    /// Where the span of a process that ended belongs, if it is exported.
    pub(super) fn place_process(
        &mut self,
        exit: &Exit,
        about: (OwnerId, Option<&Process>),
        boot_ns: u64,
    ) -> Option<Place> {
        let (owner, process) = about;
        let tracer = self.tracer.as_mut()?;
        match tracer.place_process(&mut self.processes, exit, process, boot_ns) {
            Placing::At(place) => {
                let is_root = process.is_some_and(|process| process.root == exit.process);
                let session = is_root.then(|| self.session(owner, exit.process));
                Some(Place { session, ..place })
            }
            Placing::SampledOut => {
                self.counters.discard(Discard::PolicySpanSampling, 1);
                None
            }
            Placing::None => None,
        }
    }

    /// What kind of session the tree below a root is.
    fn session(&self, owner: OwnerId, root: ProcessId) -> &'static str {
        let Some(CgroupOwner::Container { .. }) = self.identity.owner(owner).whose else {
            return "host";
        };
        let tracer = self.tracer.as_ref();
        if !tracer.is_none_or(|tracer| tracer.is_first_session(owner, root)) {
            return "exec";
        }
        let workload = self.identity.workload(owner);
        if workload.is_some_and(|workload| &*workload.kind == "CronJob") {
            "cronjob"
        } else {
            "container"
        }
    }

    pub(super) fn finished_span(
        &self,
        occurrence: &Occurrence<'_>,
        process: Option<(ProcessId, &Process)>,
        place: Option<Place>,
    ) -> Option<Span> {
        let builder = self.tracer.as_ref()?.builder();
        builder.span(occurrence, process, place?)
    }

    /// A cgroup was made: perhaps a container starts.
    pub(super) fn trace_cgroup(&mut self, cgroup: u64, boot_ns: u64) {
        let Some(owner) = self.identity.owner_of_cgroup(cgroup) else {
            return;
        };
        let whose = self.identity.owner(owner).whose.as_ref();
        let Some(CgroupOwner::Container { pod_uid, .. }) = whose else {
            return;
        };
        let tracer = self.tracer.as_mut().filter(|it| it.traces_processes());
        let Some(tracer) = tracer else { return };
        let pod_uid = pod_uid.clone();
        let evicted = tracer.startups().made(owner, cgroup, pod_uid, boot_ns);
        self.tell_starts(evicted);
    }

    /// What the API server tells of pods: those that are ready now have started.
    pub(super) fn trace_pods(&mut self, update: &PodUpdate) {
        let now = self.moment();
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        for pod in update.pods() {
            if let Some(since) = pod.ready_since {
                let startups = tracer.startups();
                startups.pod_became_ready(&pod.uid, now.boot_at(since), now.boot);
            }
        }
    }

    /// A cgroup was removed.
    pub(super) fn trace_cgroup_removed(&mut self, cgroup: u64, boot_ns: u64) {
        if let Some(tracer) = &mut self.tracer {
            let ended = tracer.startups().removed(cgroup, boot_ns);
            self.tell_starts(ended);
        }
    }

    /// Tells of starts that were waited for long enough, and of those that have come to their end.
    pub(super) fn tell_overdue_starts(&mut self) {
        let (now, patience) = (self.clock.now(), self.patience());
        loop {
            let startups = self.tracer.as_mut().map(Tracer::startups);
            let due = startups.and_then(|startups| {
                let ready = startups.next_ready(patience);
                ready.or_else(|| startups.next_due(now))
            });
            if due.is_none() {
                return;
            }
            self.tell_starts(due);
        }
    }

    /// Tells of containers whose start is over.
    fn tell_starts(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for ended in ended {
            let Some(tracer) = &self.tracer else { return };
            let spans = ended.spans(tracer.builder(), |boot_ns| self.clock.unix_nano(boot_ns));
            if self.is_left_out(ended.owner) || self.gives_up_details(spans.len()) {
                continue;
            }
            for span in spans {
                self.deliver(ended.owner, Item::Span(span, Vec::new()));
            }
        }
    }
}

/// The step that a container comes to with what happens on its network.
fn step(event: &Event<'_>) -> Option<Step> {
    use crate::events::Role;
    match &event.body {
        Body::TcpListen(_) => Some(Step::Listen),
        Body::TcpOpen(connection) if connection.role == Some(Role::Destination) => {
            Some(Step::Accept)
        }
        _ => None,
    }
}
