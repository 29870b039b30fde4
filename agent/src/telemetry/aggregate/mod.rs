//! From events to measurements in the store.

mod process;
mod tcp;
#[cfg(test)]
mod tests;

use crate::events::{Body, Event};
use crate::identity::{Identity, OwnerId, Process, Value};
use crate::telemetry::catalogue::Attr;
use crate::telemetry::store::Store;

/// An event with everything that has to be known to count it.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence<'a> {
    /// What happened.
    pub event: &'a Event<'a>,
    /// When, on the wall clock, nanoseconds since the Unix epoch.
    pub unix_nano: u64,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The process it is about, as it was before the event, where known.
    pub process: Option<&'a Process>,
}

/// Counts one event.
pub fn count(store: &mut Store, identity: &mut Identity, occurrence: &Occurrence<'_>) {
    match &occurrence.event.body {
        Body::Fork(_) => process::forked(store, occurrence),
        Body::Exec(exec) => process::executed(store, occurrence, exec),
        Body::Exit(exit) => process::exited(store, occurrence, exit),
        Body::OomKill(kill) => process::killed_for_memory(store, occurrence, kill),
        Body::TcpOpen(connection) => tcp::opened(store, identity, occurrence, connection),
        Body::TcpClose(end) => tcp::closed(store, identity, occurrence, end),
        Body::TcpConnectFailed(end) => tcp::failed(store, identity, occurrence, end),
        Body::CgroupMade(_) | Body::CgroupRemoved(_) | Body::CgroupEntered(_) => {}
    }
}

type Attributes = Vec<(Attr, Value)>;

/// Nanoseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration of 104 days is still exact to the nanosecond"
)]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// A kernel counter as the store's signed unit.
fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
