//! What the pipeline owns, and what it does with each record.

mod admit;
mod containers;
mod deliver;
mod dns;
mod losses;
mod memory;
mod news;
mod policy;
mod processes;
mod reading;
mod reconcile;
mod recorded;
mod spans;

use std::collections::HashSet;
use std::sync::Arc;

use super::about::About;
use super::crossed::Crossed;
use super::departing::Departing;
use super::invariants::Invariants;
use super::lives::Lives;
use super::outbox::{Item, Outbox};
use super::own::OwnProcess;
use super::pressure::Pressure;
use super::seam::Seam;
use super::settings::PipelineSettings;
use super::source::Source;
use super::suspects::Suspects;
use super::waiting::WaitingRecords;
use crate::counters::{Counters, Discard};
use crate::events::dns::lookups::Lookups;
use crate::events::{Body, Event, decode, written};
use crate::export::live::{Subscribers, Subscription};
use crate::export::otlp::Queue;
use crate::identity::{Identity, OwnerId, ProcessTable, Programs};
use crate::kernel::{Clock, map_memory};
use crate::memory::release_freed;
use crate::policy::{ArgumentRate, EventRates};
use crate::recording::{Recorder, Ring, Told};
use crate::telemetry::aggregate::{Aggregator, Occurrence};
use crate::telemetry::live::{LiveEvent, OwnedEvent};
use crate::telemetry::span::FinishedSpan;
use crate::telemetry::spans::Tracer;
use crate::telemetry::store::Store;

/// Id of the root of every hierarchy (`cgroup_setup_root`, kernel/cgroup/cgroup.c).
const ROOT_CGROUP: u64 = 1;

/// Seconds between two searches for idle series and owners nobody refers to.
const EXPIRY_SECONDS: u32 = 10;

/// One in this many of the processes remembered may be one that ended and of which not all is known.
const DEPARTING_SHARE: usize = 8;

/// Records that are handled until somebody looks at what memory is taken.
const UNMINDED: u32 = 256;

pub(super) struct State<S> {
    settings: PipelineSettings,
    counters: Arc<Counters>,
    clock: Clock,
    own: OwnProcess,
    about: About<S>,
    identity: Identity,
    processes: ProcessTable,
    departing: Departing,
    lives: Lives,
    programs: Programs,
    aggregator: Aggregator,
    lookups: Lookups,
    store: Store,
    waiting: WaitingRecords,
    outbox: Outbox,
    subscribers: Subscribers,
    spans: Option<Queue<FinishedSpan>>,
    /// If spans are made.
    tracer: Option<Tracer>,
    logs: Option<Queue<OwnedEvent>>,
    event_rates: EventRates,
    exported_arguments: ArgumentRate,
    watched_arguments: ArgumentRate,
    scan_wanted: bool,
    /// The agent is stopping: nothing is worth waiting for.
    settled: bool,
    seam: Seam,
    invariants: Invariants,
    suspects: Suspects,
    crossed: Crossed,
    opened_late: bool,
    pressure: Pressure,
    /// Records since somebody looked at it.
    unminded: u32,
    /// What the kernel's maps take, as it says.
    map_memory: Option<u64>,
    identity_lost: u64,
    overflowed: u64,
    seconds: u32,
    recorder: Option<Recorder>,
}

/// What a state begins with, beside what it knows.
pub(super) struct Beginning {
    pub(super) clock: Clock,
    pub(super) own: OwnProcess,
    pub(super) seam: Seam,
    pub(super) pressure: Pressure,
    /// Who writes down what the state is told.
    pub(super) recorder: Option<Recorder>,
}

impl<S: Source> State<S> {
    pub(super) fn new(
        mut identity: Identity,
        counters: Arc<Counters>,
        settings: PipelineSettings,
        about: About<S>,
        (spans, logs): (Option<Queue<FinishedSpan>>, Option<Queue<OwnedEvent>>),
        beginning: Beginning,
    ) -> Self {
        let Beginning {
            clock,
            own,
            seam,
            pressure,
            recorder,
        } = beginning;
        // Where only version 1 is mounted, everybody is in the root of the hierarchy that is not.
        identity.cgroup_created(ROOT_CGROUP, "/", clock.now());
        let builder = settings.spans.clone().filter(|_| spans.is_some());
        // What attaching the programs took is not needed any more.
        release_freed();
        Self {
            clock,
            own,
            about,
            identity,
            lives: Lives::new(settings.cgroups, settings.waiting_items, &counters),
            programs: Programs::default(),
            processes: ProcessTable::new(settings.processes, clock.now(), Arc::clone(&counters)),
            departing: Departing::new(settings.processes / DEPARTING_SHARE),
            aggregator: Aggregator::new(settings.connections),
            lookups: Lookups::new(settings.lookups),
            store: Store::new(settings.live.series, Arc::clone(&counters))
                .with_metric_limit(settings.live.series_per_metric)
                .with_buckets(settings.buckets)
                .with_observations(settings.spans.is_some() && spans.is_some())
                .with_ends(settings.exports_metrics),
            waiting: WaitingRecords::new(settings.waiting_bytes),
            outbox: Outbox::new(settings.waiting_items, Arc::clone(&counters)),
            subscribers: Subscribers::new(Arc::clone(&counters)),
            spans,
            tracer: builder.map(|builder| Tracer::new(builder, settings.processes)),
            logs,
            event_rates: EventRates::new(Arc::clone(&counters)),
            exported_arguments: ArgumentRate::new(Arc::clone(&counters)),
            watched_arguments: ArgumentRate::new(Arc::clone(&counters)),
            scan_wanted: false,
            settled: false,
            seam,
            invariants: Invariants::default(),
            suspects: Suspects::new(settings.missing_patience),
            crossed: Crossed::default(),
            opened_late: false,
            pressure,
            unminded: 0,
            map_memory: map_memory(),
            identity_lost: 0,
            overflowed: 0,
            seconds: 0,
            recorder,
            settings,
            counters,
        }
    }

    /// A record of the identity ring.
    pub(super) fn handle_cgroup(&mut self, record: &[u8]) {
        if let Some(event) = self.decode(record) {
            self.learn_cgroup(&event);
        }
        self.record(Ring::Identity, record);
    }

    /// Whether spans are made; those of connections are children of their process's.
    pub(super) fn makes_spans(&self) -> bool {
        self.tracer.is_some()
    }

    /// A record of any other ring. `learn_more` drains that of identity again if the record's cgroup is not known: it may
    /// have been made since that was drained.
    pub(super) fn handle(&mut self, record: &[u8], learn_more: impl FnOnce(&mut Self)) {
        let record = written(record);
        self.take_in_record(record, learn_more);
        self.record(Ring::Other, record);
    }

    fn take_in_record(&mut self, record: &[u8], learn_more: impl FnOnce(&mut Self)) {
        self.unminded += 1;
        if self.unminded >= UNMINDED {
            self.mind_memory();
        }
        let Some(event) = self.decode(record) else {
            return;
        };
        if self.seam.repeats(&event) || self.was_over(&event) {
            return;
        }
        let mut owner = self.owner_of(&event);
        if owner.is_none() {
            learn_more(self);
            owner = self.owner_of(&event);
        }
        let owner = owner.unwrap_or_else(|| {
            self.counters.discard(Discard::IdentityUnknownCgroup, 1);
            self.scan_wanted = true;
            OwnerId::NODE
        });
        match &event.body {
            // Nothing of a look-up is called by what the cluster tells.
            Body::Dns(packet) => self.take_in_dns(packet),
            _ => self.admit(&event, owner, record),
        }
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        self.subscribers.add(subscription);
    }

    /// Who is asked.
    pub(super) fn source(&mut self) -> &mut S {
        &mut self.about.source
    }

    /// Whether cgroups were missed, so that the tree has to be scanned again.
    pub(super) fn scan_wanted(&self) -> bool {
        self.scan_wanted
    }

    /// Such a scan has begun.
    pub(super) fn scan_started(&mut self) {
        self.scan_wanted = false;
    }

    /// Once a second: mirrors the kernel's counters, lets time pass in all tables.
    pub(super) fn look_after_tables(&mut self) {
        if let Some(nanoseconds) = self.clock.check() {
            self.wall_clock_moved(nanoseconds);
            self.note(|| Told::WallClockMoved { nanoseconds });
        }
        if !self.about.source.attend() {
            self.counters.discard(Discard::KernelGap, 1);
        }
        self.about.source.publish(&self.counters);
        let identity_lost = self.counters.discards(Discard::RingIdentityFull);
        if identity_lost > self.identity_lost {
            self.identity_lost = identity_lost;
            self.scan_wanted = true;
        }
        self.expire_lookups();
        let boot_ns = self.clock.now();
        let unix_nano = self.clock.unix_nano(boot_ns);
        self.aggregator
            .tell_hanging(&mut self.store, boot_ns, unix_nano);
        self.release_waiting();
        self.tell_overdue_ends();
        self.tell_overdue_starts();
        self.empty_outbox();
        self.subscribers.sweep();
        self.warn_of_overflow();
        self.seconds += 1;
        if self.seconds.is_multiple_of(EXPIRY_SECONDS) {
            self.expire();
            self.map_memory = map_memory();
        } else {
            self.save_memory();
        }
        self.note_second();
    }

    /// The wall clock was set.
    pub(super) fn wall_clock_moved(&mut self, nanoseconds: i64) {
        let now = self.clock.now_unix_nano();
        self.store.clock_moved(nanoseconds, now);
    }

    /// From now on nothing waits for metadata: what waits, and what still comes, goes as it is known.
    pub(super) fn settle(&mut self) {
        self.settled = true;
        self.release_waiting();
        self.tell_overdue_ends();
        self.empty_outbox();
    }

    fn decode<'a>(&self, record: &'a [u8]) -> Option<Event<'a>> {
        match decode(record) {
            Ok(event) => {
                self.counters.record(event.kind());
                Some(event)
            }
            Err(error) => {
                self.counters.discard(error.discard(), 1);
                tracing::debug!(%error, "a record cannot be decoded");
                None
            }
        }
    }

    fn learn_cgroup(&mut self, event: &Event<'_>) {
        let (id, at) = (event.cgroup_id, event.boot_ns);
        match &event.body {
            Body::CgroupMade(cgroup) => self.cgroup_made(id, cgroup.path, at),
            Body::CgroupRemoved(_) => {
                self.trace_cgroup_removed(id, at);
                self.cgroup_removed(id, at);
            }
            // Usually known; if its making was lost, this tells of it.
            Body::CgroupEntered(cgroup) if self.identity.owner_of_cgroup(id).is_none() => {
                self.cgroup_entered(id, cgroup.path, at);
            }
            _ => {}
        }
    }

    fn cgroup_seen(&mut self, id: u64, path: Option<&str>, at: u64) {
        match path {
            Some(path) => self.identity.cgroup_created(id, path, at),
            None => self.scan_wanted = true,
        }
    }

    fn owner_of(&self, event: &Event<'_>) -> Option<OwnerId> {
        if event.cgroup_id == 0 {
            // Kernels before 6.8 name an OOM victim by its pid alone.
            let process = match &event.body {
                Body::OomKill(kill) => self.processes.by_pid(kill.pid),
                _ => None,
            };
            return Some(process.map_or(OwnerId::NODE, |(_, process)| process.owner));
        }
        self.identity.owner_of_cgroup(event.cgroup_id)
    }

    /// Everything an event leads to, unless it is left out.
    fn take_in(&mut self, event: &Event<'_>, owner: OwnerId) {
        if self.leaves_out(event, owner) {
            self.leave_out(event, owner);
        } else {
            self.take_in_wanted(event, owner);
        }
    }

    fn take_in_wanted(&mut self, event: &Event<'_>, owner: OwnerId) {
        match &event.body {
            Body::Exit(exit) => return self.take_in_exit(event, exit, owner),
            Body::Freed(freed) => return self.freed(freed, self.clock.unix_nano(event.boot_ns)),
            _ => {}
        }
        let corrected = self.aggregator.as_end_of_open(event);
        let event = corrected.as_ref().unwrap_or(event);
        self.forget_unmet(event);
        self.follow_process(event, owner);
        self.trace(event, owner);
        let place = self.place_connection(event);
        let backend = self.backend(event);
        let drop_reason = self.drop_reason(event);
        let is_told = self.is_told(event);
        // Counting connections takes no process.
        let is_named = is_told || self.makes_spans() || matches!(event.body, Body::OomKill(_));
        let process = is_named.then(|| self.processes.named_by(event)).flatten();
        let unix_nano = self.clock.unix_nano(event.boot_ns);
        let executed = match &event.body {
            Body::Exec(exec) => self.processes.get(exec.process),
            _ => None,
        };
        let occurrence = Occurrence {
            event,
            unix_nano,
            owner,
            process: process.map(|(_, process)| process).or(executed),
            backend,
            drop_reason: drop_reason.as_ref(),
        };
        self.store.forget_observed();
        self.aggregator
            .count(&mut self.store, &mut self.identity, &occurrence);
        if self.own.caused(event) {
            return;
        }
        let observed = self.store.observed().to_vec();
        let items = self.items(&occurrence, (process, place), observed);
        self.deliver_all(owner, items);
    }

    /// Whether anybody wants to be told of an event.
    fn is_told(&self, event: &Event<'_>) -> bool {
        let name = LiveEvent::name_of(&event.body);
        !self.subscribers.is_empty() || name.is_some_and(|name| self.exports(name))
    }

    /// The boot time at which identity is asked what is worth waiting for.
    fn patience(&self) -> u64 {
        if self.settled {
            u64::MAX
        } else {
            self.clock.now()
        }
    }

    fn expire(&mut self) {
        self.end_left_out();
        let idle = u64::try_from(self.idle_timeout().as_nanos()).unwrap_or(u64::MAX);
        self.store.expire(self.clock.now_unix_nano(), idle);
        self.identity.expire(self.clock.now());
        self.aggregator.names_changed();
        let (boot_ns, unix_nano) = (self.clock.now(), self.clock.now_unix_nano());
        self.aggregator.expire(&mut self.store, boot_ns, unix_nano);
        self.processes.expire(boot_ns);
        let mut in_use: HashSet<OwnerId> = self.processes.owners().collect();
        in_use.extend(self.waiting.owners());
        in_use.extend(self.outbox.owners());
        in_use.extend(self.departing.owners());
        in_use.extend(self.aggregator.owners());
        in_use.extend(self.expire_containers());
        in_use.extend(self.tracer.iter().flat_map(Tracer::owners));
        let (store, now) = (&self.store, self.clock.now());
        let is_used = |owner| in_use.contains(&owner) || store.is_owner_used(owner);
        self.identity.retain_owners(is_used, now);
        if let Some(tracer) = &mut self.tracer {
            tracer.retain_owners(|owner| self.identity.owner(owner).whose.is_some());
        }
        // What a burst took is not kept for the next one.
        release_freed();
    }
}
