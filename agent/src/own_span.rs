//! Spans of what the agent itself does (`traces.agent`). A leaf.

/// What they are told apart by from all else that is traced; they are not in the log.
pub(crate) const TARGET: &str = "wellhead::own_span";

/// A span that begins a trace: one of the few coarse things the agent does, never one per event. It ends when it is dropped.
macro_rules! own_span {
    ($name:literal $(, $($fields:tt)*)?) => {
        tracing::info_span!(target: crate::own_span::TARGET, parent: None, $name $(, $($fields)*)?)
    };
}
pub(crate) use own_span;
