//! Spans of processes, of connections that went wrong, and of containers that start.
//!
//! Ids are derived from the boot id and the process, so that every part of the agent (and an agent started anew) gives
//! the same process the same ids.

mod connection;
mod ids;
mod lines;
mod moments;
mod process;
mod sessions;
pub mod startup;
#[cfg(test)]
mod tests;
mod tracer;

use std::sync::Arc;

use self::ids::Ids;
pub use self::tracer::{Placing, Tracer};
use super::aggregate::Occurrence;
use super::sampling::Sampler;
use super::span::Span;
use crate::events::{Body, Event, ProcessId};
use crate::identity::Process;

/// Makes spans, as far as they are wanted.
#[derive(Clone, Debug)]
pub struct SpanBuilder {
    ids: Ids,
    processes: bool,
    slow_connection_ns: Option<u64>,
    sampler: Sampler,
}

/// Where a span belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The process whose span is above it; that one is exported, or will be.
    pub parent: Option<ProcessId>,
    /// How it was sampled.
    pub trace_state: Arc<str>,
    /// `wellhead.session.kind`, of the root of a process tree.
    pub session: Option<&'static str>,
}

impl SpanBuilder {
    /// Spans of processes if `processes`; of failed and reset connections and those whose handshake took longer, if
    /// `slow_connection_ns` is given. `boot_id` is `/proc/sys/kernel/random/boot_id`.
    pub fn new(boot_id: &str, processes: bool, slow_connection_ns: Option<u64>) -> Self {
        Self {
            ids: Ids::new(boot_id),
            processes,
            slow_connection_ns,
            sampler: Sampler::everything(),
        }
    }

    /// The same, of which not everything is exported.
    #[must_use]
    pub fn with_sampler(self, sampler: Sampler) -> Self {
        Self { sampler, ..self }
    }

    /// The span that an event ends, if it ends one. `connection_process` is the process that owns the connection.
    pub fn span(
        &self,
        occurrence: &Occurrence<'_>,
        connection_process: Option<(ProcessId, &Process)>,
        place: Place,
    ) -> Option<Span> {
        match &occurrence.event.body {
            Body::Exit(exit) if self.processes => self.process(occurrence, exit, place),
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => {
                self.connection(occurrence, end, connection_process, place)
            }
            _ => None,
        }
    }
}

/// The wall-clock time of something that happened before an event. Nothing comes after it, and the clock may have been set
/// meanwhile: what lies between is right in any case.
fn before(event: &Event<'_>, unix_nano: u64, boot_ns: u64) -> u64 {
    unix_nano.saturating_sub(event.boot_ns.saturating_sub(boot_ns))
}
