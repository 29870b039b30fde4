//! Processes and connections that a process table and a tracer are told of, as the pipeline does, and the spans that come out.

use std::collections::VecDeque;
use std::sync::Arc;

use wellhead_common::maps::{Signals, Traffic};
use wellhead_common::record::Usage;

use super::super::{Placing, SpanBuilder, Tracer};
use crate::counters::Counters;
use crate::events::{
    Body, Connection, ConnectionEnd, Event, Exec, Exit, ExitStatus, Found, ProcessId, Role,
    SocketOwner, Totals,
};
use crate::identity::{OwnerId, Process, ProcessTable, Program};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::sampling::Sampler;
use crate::telemetry::span::Span;

const OWNER: OwnerId = OwnerId(1);

/// Everything that spans come from.
pub(super) struct Rig {
    pub(super) table: ProcessTable,
    pub(super) tracer: Tracer,
    /// The boot clock: every event takes a millisecond.
    pub(super) now: u64,
    /// What the wall clock is ahead.
    pub(super) offset: u64,
    pub(super) spans: Vec<Span>,
    /// Who has ended, and is to be told of.
    departing: VecDeque<(Exit, u64, u64)>,
    pub(super) sampled_out: usize,
}

/// An id that belongs to a pid alone.
pub(super) fn id(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        start_ns: u64::from(pid) * 1_000,
    }
}

impl Rig {
    /// That samples this share, and lives of this many milliseconds.
    pub(super) fn new(ratio: f64, slow_ms: u64) -> Self {
        let builder = SpanBuilder::new("boot", true, Some(1_000_000_000))
            .with_sampler(Sampler::new(ratio, slow_ms * 1_000_000));
        Self {
            table: ProcessTable::new(4_096, 0, Arc::new(Counters::default())),
            tracer: Tracer::new(builder, 4_096),
            now: 1_000_000_000_000,
            offset: 1_000_000_000_000_000,
            spans: Vec::new(),
            departing: VecDeque::new(),
            sampled_out: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.now += 1_000_000;
        self.now
    }

    pub(super) fn fork(&mut self, child: u32, parent: u32) {
        self.tick();
        self.table.forked(id(child), id(parent), OWNER);
    }

    pub(super) fn exec(&mut self, pid: u32) {
        let exec = Exec {
            process: id(pid),
            ..Exec::default()
        };
        let program = Program {
            name: format!("p{pid}").into(),
            path: "/bin/p".into(),
        };
        let now = self.tick();
        self.table.executed(&exec, now, OWNER, program, false);
        self.tracer.began(&self.table, id(pid));
    }

    /// Forked and executed.
    pub(super) fn run(&mut self, child: u32, parent: u32) {
        self.fork(child, parent);
        self.exec(child);
    }

    /// An agent that begins finds it.
    pub(super) fn found(&mut self, pid: u32, parent: u32, only_forked: bool) {
        let found = Found {
            process: id(pid),
            parent: id(parent),
            only_forked,
            comm: [0; 16],
            real_uid: 0,
            permitted: 0,
        };
        self.table.found(&found, OWNER, "found".into());
        self.tracer.began(&self.table, id(pid));
    }

    pub(super) fn note(&mut self, pid: u32, body: Body<'_>) {
        let event = self.event(body);
        self.tracer.note(&mut self.table, id(pid), &event);
    }

    fn event<'a>(&mut self, body: Body<'a>) -> Event<'a> {
        Event {
            boot_ns: self.tick(),
            cgroup_id: 1,
            body,
        }
    }

    pub(super) fn exit(&mut self, pid: u32, status: ExitStatus) {
        self.exit_with(pid, status, Signals::default());
    }

    pub(super) fn exit_with(&mut self, pid: u32, status: ExitStatus, signals: Signals) {
        let exit = Exit {
            process: id(pid),
            parent_pid: 1,
            uid: 0,
            comm: [0; 16],
            status,
            dumped_core: false,
            usage: Usage::default(),
            signals,
        };
        let now = self.tick();
        let ended = self.table.exited(exit.process, now);
        self.tracer
            .exited(&mut self.table, &exit, ended.as_ref(), now);
        self.departing.push_back((exit, now, now + self.offset));
    }

    /// How many have ended and are not told of.
    pub(super) fn departing(&self) -> usize {
        self.departing.len()
    }

    /// Tells of one that ended.
    pub(super) fn tell(&mut self, number: usize) {
        let Some((exit, boot_ns, unix_nano)) = self.departing.remove(number) else {
            return;
        };
        let process = self.table.ended(exit.process).cloned();
        let placing = self
            .tracer
            .place_process(&mut self.table, &exit, process.as_ref(), boot_ns);
        let place = match placing {
            Placing::At(place) => place,
            Placing::SampledOut => {
                self.sampled_out += 1;
                return;
            }
            Placing::None => return,
        };
        let event = Event {
            boot_ns,
            cgroup_id: 1,
            body: Body::Exit(exit),
        };
        let occurrence = occurrence(&event, unix_nano, process.as_ref());
        let span = self.tracer.builder().span(&occurrence, None, place);
        self.spans
            .push(span.expect("a span where there is a place"));
    }

    pub(super) fn tell_all(&mut self) {
        while self.departing() > 0 {
            self.tell(0);
        }
    }

    /// One that ended and is told of at once.
    pub(super) fn end(&mut self, pid: u32, status: ExitStatus) {
        self.exit(pid, status);
        self.tell(self.departing() - 1);
    }

    /// A connection of a process is reset.
    pub(super) fn reset(&mut self, pid: u32) {
        let end = ConnectionEnd {
            errno: libc::ECONNRESET,
            ..end(pid, self.now)
        };
        let event = self.event(Body::TcpClose(end));
        let place = self.tracer.place_connection(&mut self.table, &event);
        let named = self.table.named_by(&event);
        let process = named.map(|(_, process)| process.clone());
        let named = named.map(|(id, _)| id).zip(process.as_ref());
        let unix_nano = event.boot_ns + self.offset;
        let occurrence = occurrence(&event, unix_nano, process.as_ref());
        let place = place.expect("it was reset");
        let span = self.tracer.builder().span(&occurrence, named, place);
        self.spans
            .push(span.expect("a span where there is a place"));
    }

    /// The span of a process.
    pub(super) fn span(&self, pid: u32) -> &Span {
        let name = format!("p{pid}");
        let found = self.spans.iter().find(|span| *span.name == *name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.names()))
    }

    /// What was exported, in that order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.spans.iter().map(|span| &*span.name).collect()
    }
}

/// A connection that a process opened.
pub(super) fn end(pid: u32, started_ns: u64) -> ConnectionEnd {
    ConnectionEnd {
        connection: connection(pid, started_ns, Role::Source),
        totals: Totals::default(),
        reported: Traffic::default(),
        errno: 0,
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
    }
}

pub(super) fn connection(pid: u32, started_ns: u64, role: Role) -> Connection {
    Connection {
        socket_id: started_ns,
        netns: 1,
        local: ([127, 0, 0, 1], 40_000).into(),
        remote: ([127, 0, 0, 1], 80).into(),
        role: Some(role),
        owner: Some(SocketOwner { pid, comm: [0; 16] }),
        started_ns: Some(started_ns),
        established_ns: Some(started_ns),
        older_than_agent: false,
        unmet: false,
        open_lost: false,
        shut_down: false,
    }
}

fn occurrence<'a>(
    event: &'a Event<'a>,
    unix_nano: u64,
    process: Option<&'a Process>,
) -> Occurrence<'a> {
    Occurrence {
        event,
        unix_nano,
        owner: OWNER,
        process,
        backend: None,
        drop_reason: None,
    }
}
