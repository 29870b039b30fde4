//! What is kept from one event to the next for the sake of spans.

use super::lines::{From, Lines};
use super::moments;
use super::process::is_notable;
use super::sessions::Sessions;
use super::startup::Startups;
use super::{Place, SpanBuilder};
use crate::events::{Event, Exit, ProcessId};
use crate::identity::{OwnerId, Process, ProcessTable, SpanState};

/// Processes of which it is remembered that they had a span although their trace is not sampled, as a share of those that
/// may be alive.
const KEPT_SHARE: usize = 4;

/// Decides where spans belong, and which are exported.
#[derive(Debug)]
pub struct Tracer {
    builder: SpanBuilder,
    lines: Lines,
    sessions: Sessions,
    startups: Startups,
}

/// What becomes of the span of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placing {
    /// There is none.
    None,
    /// It is not exported.
    SampledOut,
    /// It is exported.
    At(Place),
}

impl Tracer {
    /// Nothing is known yet. At most so many processes are alive at once.
    pub fn new(builder: SpanBuilder, processes: usize) -> Self {
        Self {
            builder,
            lines: Lines::new(processes / KEPT_SHARE),
            sessions: Sessions::default(),
            startups: Startups::default(),
        }
    }

    /// Who makes the spans.
    pub fn builder(&self) -> &SpanBuilder {
        &self.builder
    }

    /// Whether processes have spans.
    pub fn traces_processes(&self) -> bool {
        self.builder.processes
    }

    /// A process executes a program, or was found. It is known to the table already.
    pub fn began(&mut self, processes: &ProcessTable, process: ProcessId) {
        let known = processes.get(process);
        if let Some(known) = known.filter(|known| known.root == process && known.makes_span()) {
            self.sessions.root_seen(known.owner, process);
        }
    }

    /// Whether the process tree below this root is the first of its owner.
    pub fn is_first_session(&self, owner: OwnerId, root: ProcessId) -> bool {
        self.sessions.is_first(owner, root)
    }

    /// Something happened to a process that its span may have to tell of.
    pub fn note(&self, processes: &mut ProcessTable, process: ProcessId, event: &Event<'_>) {
        if !self.builder.processes {
            return;
        }
        let Some(what) = moments::noted(event) else {
            return;
        };
        // One that only forked has no span of its own.
        let known = processes.live_or_ended(process);
        let teller = known.and_then(|known| {
            if known.makes_span() {
                Some(process)
            } else {
                known.parent
            }
        });
        if let Some(teller) = teller {
            processes.note(teller, event.boot_ns, what);
        }
    }

    /// A process ended, but not all is known of it. Who is above it has to be marked now: they may be told of earlier.
    pub fn exited(
        &self,
        processes: &mut ProcessTable,
        exit: &Exit,
        process: Option<&Process>,
        boot_ns: u64,
    ) {
        let sampler = &self.builder.sampler;
        let Some(process) = process.filter(|process| self.has_span(exit, process)) else {
            return;
        };
        if !sampler.takes_all() && is_notable(sampler, exit, process, boot_ns) {
            let _parent = self.lines.hold(processes, &From::process(process));
        }
    }

    /// Decides on the span of a process that ended, once.
    pub fn place_process(
        &mut self,
        processes: &mut ProcessTable,
        exit: &Exit,
        process: Option<&Process>,
        boot_ns: u64,
    ) -> Placing {
        let process = process.filter(|process| self.has_span(exit, process));
        let Some(process) = process else {
            return Placing::None;
        };
        processes.span_told(exit.process);
        let sampler = &self.builder.sampler;
        let is_sampled = sampler.takes(self.builder.ids.trace(process.root));
        let is_kept =
            process.span == SpanState::Wanted || is_notable(sampler, exit, process, boot_ns);
        if !is_sampled && !is_kept {
            return Placing::SampledOut;
        }
        let place = self.place(processes, &From::process(process), is_sampled, is_kept);
        if !is_sampled {
            self.lines.keep(exit.process);
        }
        Placing::At(place)
    }

    /// Decides on the span of a connection that an event ends; `None` if it makes none. Whoever has one is always exported.
    pub fn place_connection(
        &self,
        processes: &mut ProcessTable,
        event: &Event<'_>,
    ) -> Option<Place> {
        self.builder.ends_connection(event)?;
        let owner = processes.named_by(event);
        let owner = owner.filter(|(id, _)| id.started_ns().is_some() && self.builder.processes);
        let Some((id, process)) = owner else {
            return Some(Place {
                parent: None,
                trace_state: self.builder.sampler.always(),
                session: None,
            });
        };
        let is_sampled = self
            .builder
            .sampler
            .takes(self.builder.ids.trace(process.root));
        let from = From::below(id, process);
        Some(self.place(processes, &from, is_sampled, true))
    }

    fn place(
        &self,
        processes: &mut ProcessTable,
        from: &From,
        is_sampled: bool,
        is_kept: bool,
    ) -> Place {
        let sampler = &self.builder.sampler;
        // Marks are for the sake of what spans stand for, too.
        let held = (is_kept && !sampler.takes_all()).then(|| self.lines.hold(processes, from));
        let parent = match held {
            Some(held) if !is_sampled => held,
            _ => Lines::parent(processes, from),
        };
        Place {
            parent,
            trace_state: if is_kept {
                sampler.always()
            } else {
                sampler.by_rate()
            },
            session: None,
        }
    }

    fn has_span(&self, exit: &Exit, process: &Process) -> bool {
        self.builder.processes && exit.process.started_ns().is_some() && process.makes_span()
    }

    /// Forgets owners that are not known any more.
    pub fn retain_owners(&mut self, is_known: impl FnMut(OwnerId) -> bool) {
        self.sessions.retain(is_known);
    }

    /// Owners that are to be remembered.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.startups.owners()
    }

    /// Containers that start.
    pub fn startups(&mut self) -> &mut Startups {
        &mut self.startups
    }
}
