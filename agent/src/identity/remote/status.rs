//! How the client of a resolver is doing.

use std::sync::Arc;

/// State of the client; every counter only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteStatus {
    /// Whether a resolver is telling now.
    pub connected: bool,
    /// Whether all objects were told of once. What is known is kept when the resolver is away.
    pub listed: bool,
    /// Objects told of or told to be gone, those of snapshots included.
    pub events: u64,
    /// Snapshots taken in whole.
    pub snapshots: u64,
    /// Times the resolver went on where an earlier connection had ended.
    pub resumed: u64,
    /// Bytes of messages received.
    pub bytes: u64,
    /// Objects left out because they made no sense, or were more than the limit.
    pub skipped: u64,
    /// Connections that could not be made or broke.
    pub errors: u64,
    /// What failed last. Stays after recovery.
    pub last_error: Option<Arc<str>>,
}
