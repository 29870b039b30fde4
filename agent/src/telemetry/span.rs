//! Finished spans on their way to the exporter.

use std::sync::Arc;

use crate::identity::{Resource, Value};

/// A finished span together with the resource that produced it.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// Who produced it.
    pub resource: Arc<Resource>,
    /// What happened.
    pub span: Span,
}

/// A finished span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// The parent's span id; `None` for a root.
    pub parent_span_id: Option<[u8; 8]>,
    /// Low-cardinality name.
    pub name: Arc<str>,
    /// Which side of which relation it is.
    pub kind: SpanKind,
    /// Wall time, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// Wall time, not before the start.
    pub end_unix_nano: u64,
    /// Keys unique.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it ended badly, and in what way.
    pub error: Option<Arc<str>>,
}

/// The kinds of spans Wellhead makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside one process.
    Internal,
    /// It opened the connection.
    Client,
    /// It accepted the connection.
    Server,
}
