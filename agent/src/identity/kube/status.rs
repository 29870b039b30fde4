//! How the watch is doing, for readiness, `doctor` and metrics.

use std::sync::Arc;

/// State of the watch; every counter only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeStatus {
    /// Whether the last request succeeded, or has been standing for longer than connecting may take.
    pub connected: bool,
    /// Whether the pods were listed once.
    pub listed: bool,
    /// Whether the server cannot stream lists, so that pods are listed first and then watched.
    pub list_then_watch: bool,
    /// Pods there are.
    pub objects: usize,
    /// Pods applied or deleted, listed ones included.
    pub events: u64,
    /// Lists after the first.
    pub relists: u64,
    /// Pods left out because they could not be read, or were more than the limit.
    pub skipped: u64,
    /// Requests and watches that failed.
    pub errors: u64,
    /// What failed last. Stays after recovery.
    pub last_error: Option<Arc<str>>,
}
