//! Spans of processes and of connections that went wrong.
//!
//! Ids are derived from the boot id and the process, so that every part of the agent (and an agent started anew) gives
//! the same process the same ids.

use std::sync::Arc;

use super::aggregate::Occurrence;
use super::failure::{connect_failure, error_type};
use super::live::connection_attributes;
use super::signals::signal_name;
use super::span::{Span, SpanKind};
use crate::events::{Body, ConnectionEnd, Exit, ExitStatus, ProcessId, Role};
use crate::identity::{Process, Value};

/// Makes spans, as far as they are wanted.
#[derive(Clone, Debug)]
pub struct SpanBuilder {
    boot: u64,
    processes: bool,
    slow_connection_ns: Option<u64>,
}

impl SpanBuilder {
    /// Spans of processes if `processes`; of failed and reset connections and those whose handshake took longer, if
    /// `slow_connection_ns` is given. `boot_id` is `/proc/sys/kernel/random/boot_id`.
    pub fn new(boot_id: &str, processes: bool, slow_connection_ns: Option<u64>) -> Self {
        Self {
            boot: mix_bytes(boot_id),
            processes,
            slow_connection_ns,
        }
    }

    /// The span that an event ends, if it ends one. `connection_process` is the process that owns the connection.
    pub fn span(
        &self,
        occurrence: &Occurrence<'_>,
        to_unix_nano: impl Fn(u64) -> u64,
        connection_process: Option<(ProcessId, &Process)>,
    ) -> Option<Span> {
        match &occurrence.event.body {
            Body::Exit(exit) if self.processes => self.process(occurrence, exit, to_unix_nano),
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => {
                self.connection(occurrence, end, to_unix_nano, connection_process)
            }
            _ => None,
        }
    }

    fn process(
        &self,
        occurrence: &Occurrence<'_>,
        exit: &Exit,
        to_unix_nano: impl Fn(u64) -> u64,
    ) -> Option<Span> {
        let process = occurrence.process?;
        let name = process.executable.clone()?;
        let mut attributes = vec![
            ("process.pid", Value::Int(i64::from(exit.process.pid))),
            ("process.parent_pid", Value::Int(i64::from(exit.parent_pid))),
            ("process.executable.name", Value::Str(Arc::clone(&name))),
        ];
        if let Some(path) = &process.path {
            attributes.push(("process.executable.path", Value::Str(Arc::clone(path))));
        }
        let error = match exit.status {
            ExitStatus::Code(code) => {
                attributes.push(("process.exit.code", Value::Int(i64::from(code))));
                (code != 0).then(|| code.to_string().into())
            }
            ExitStatus::Signal(signal) => {
                let name = signal_name(signal);
                let error = name.as_str().map(Arc::from);
                attributes.push(("wellhead.process.signal", name));
                error
            }
        };
        Some(Span {
            trace_id: self.trace_id(process.root),
            span_id: self.span_id(exit.process),
            parent_span_id: process.parent.map(|parent| self.span_id(parent)),
            name,
            kind: SpanKind::Internal,
            start_unix_nano: to_unix_nano(process.executed_ns?),
            end_unix_nano: occurrence.unix_nano,
            attributes,
            error,
        })
    }

    fn connection(
        &self,
        occurrence: &Occurrence<'_>,
        end: &ConnectionEnd,
        to_unix_nano: impl Fn(u64) -> u64,
        process: Option<(ProcessId, &Process)>,
    ) -> Option<Span> {
        let slow = self.slow_connection_ns?;
        let connection = &end.connection;
        let error = match &occurrence.event.body {
            Body::TcpConnectFailed(_) => Some(connect_failure(end)),
            _ if end.errno != 0 => Some(error_type(end.errno)),
            _ => None,
        };
        if error.is_none() && connection.connect_ns().is_none_or(|took| took < slow) {
            return None;
        }
        // The span of a process that only forked is that of the ancestor whose program it runs.
        let line = process.map(|(id, process)| {
            let span = if process.executed_ns.is_some() {
                Some(id)
            } else {
                process.parent
            };
            (process.root, span)
        });
        let own_id = mix(
            self.boot_part(3),
            connection.socket_id,
            occurrence.event.boot_ns,
        );
        let root = line.map(|(root, _)| root);
        let mut attributes = connection_attributes(connection);
        if let Some(took) = connection.connect_ns() {
            attributes.push((
                "wellhead.duration",
                Value::Int(i64::try_from(took).unwrap_or(i64::MAX)),
            ));
        }
        let (name, kind) = match connection.role {
            Some(Role::Destination) => ("tcp accept", SpanKind::Server),
            Some(Role::Source) | None => ("tcp connect", SpanKind::Client),
        };
        Some(Span {
            trace_id: root.map_or_else(
                || (u128::from(own_id) << 64 | u128::from(!own_id)).to_be_bytes(),
                |root| self.trace_id(root),
            ),
            span_id: own_id.to_be_bytes(),
            parent_span_id: line
                .and_then(|(_, span)| span)
                .map(|span| self.span_id(span)),
            name: name.into(),
            kind,
            start_unix_nano: to_unix_nano(connection.started_ns?),
            end_unix_nano: occurrence.unix_nano,
            attributes,
            error: error.map(Arc::from),
        })
    }

    fn trace_id(&self, root: ProcessId) -> [u8; 16] {
        let high = mix(self.boot_part(0), u64::from(root.pid), root.start_ns);
        let low = mix(self.boot_part(1), u64::from(root.pid), root.start_ns);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    fn span_id(&self, process: ProcessId) -> [u8; 8] {
        mix(self.boot_part(2), u64::from(process.pid), process.start_ns).to_be_bytes()
    }

    /// A different number for each use, all from the boot id.
    fn boot_part(&self, part: u64) -> u64 {
        spread(self.boot ^ part)
    }
}

/// A fixed, well-spreading function of three numbers that is never 0 (the finaliser of `splitmix64`, chained).
fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mixed = [b, c]
        .into_iter()
        .fold(spread(a), |state, value| spread(state ^ value));
    mixed.max(1)
}

fn mix_bytes(text: &str) -> u64 {
    text.bytes()
        .fold(0, |state, byte| spread(state ^ u64::from(byte)))
}

fn spread(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
