//! Who is above whom among the spans that are exported.
//!
//! Where not all traces are, a span that is exported all the same takes its ancestors with it: those that have not ended are
//! marked in the process table. One that has ended without is passed over.

use std::sync::Arc;

use crate::aged_map::AgedMap;
use crate::events::ProcessId;
use crate::identity::{Ancestor, Process, ProcessTable, SpanState};

/// Ancestors that are marked at once. Of more, the furthest is asked again as it ends.
const MOST_MARKED: usize = 1_024;

/// Which processes of traces that are not sampled have had their span. Of too many the oldest is forgotten: who is below it
/// then has the next above it as its parent.
#[derive(Debug)]
pub(super) struct Lines {
    kept: AgedMap<ProcessId, ()>,
}

/// Where in a process tree a span begins to look for its parent.
pub(super) struct From {
    root: ProcessId,
    nearest: Option<ProcessId>,
    above: Option<Arc<[Ancestor]>>,
}

impl From {
    /// The span of this process.
    pub(super) fn process(process: &Process) -> Self {
        Self {
            root: process.root,
            nearest: process.parent,
            above: process.line_above(),
        }
    }

    /// A span below that of this process; one that only forked has that of the ancestor whose program it runs.
    pub(super) fn below(id: ProcessId, process: &Process) -> Self {
        if !process.makes_span() {
            return Self::process(process);
        }
        Self {
            nearest: Some(id),
            ..Self::process(process)
        }
    }
}

impl Lines {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            kept: AgedMap::new(capacity),
        }
    }

    /// A process of a trace that is not sampled has its span.
    pub(super) fn keep(&mut self, process: ProcessId) {
        let _forgotten = self.kept.insert(process, ());
    }

    /// The parent of a span in a trace of which everything is exported.
    pub(super) fn parent(processes: &mut ProcessTable, from: &From) -> Option<ProcessId> {
        let nearest = from.nearest?;
        match processes.live_or_ended(nearest) {
            // It has gone into another container, and another trace.
            Some(known) if known.root != from.root => None,
            Some(_) | None => Some(nearest),
        }
    }

    /// The nearest of those above that is exported or will be: all that are alive are from now on.
    pub(super) fn hold(&self, processes: &mut ProcessTable, from: &From) -> Option<ProcessId> {
        let mut above = from.above.clone();
        let (mut next, mut parent) = (from.nearest, None);
        for _ in 0..MOST_MARKED {
            let Some(id) = next else { break };
            if self.kept.get(&id).is_some() {
                return parent.or(Some(id));
            }
            let Some(known) = processes.live_or_ended(id) else {
                next = after(above.as_deref(), id);
                continue;
            };
            if known.root != from.root {
                break;
            }
            match known.span {
                // Whoever is above it is marked already.
                SpanState::Wanted => return parent.or(Some(id)),
                SpanState::Open if known.makes_span() => {
                    known.span = SpanState::Wanted;
                    parent = parent.or(Some(id));
                }
                SpanState::Open | SpanState::Told => {}
            }
            next = known.parent;
            above = known.line_above();
        }
        parent
    }
}

/// Who comes next in a line.
fn after(line: Option<&[Ancestor]>, process: ProcessId) -> Option<ProcessId> {
    let mut line = line?.iter().map(|ancestor| ancestor.process);
    line.find(|one| *one == process)?;
    line.next()
}
