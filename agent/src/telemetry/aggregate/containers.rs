//! Counting containers that end.

use std::sync::Arc;

use super::process::outcome;
use crate::identity::containers::Ended;
use crate::identity::{OwnerId, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::store::Store;

/// A container ended. What `owner` is called does not tell its `name`, where it has one: a container ends once, and what is
/// counted of it has to outlive it.
pub(super) fn ended(
    store: &mut Store,
    owner: OwnerId,
    name: Option<&Arc<str>>,
    ended: &Ended,
    now: u64,
) {
    let name = name.map(|name| (Attr::K8sContainerName, Value::Str(Arc::clone(name))));
    let (code, signal) = match ended.status.and_then(outcome) {
        Some(code @ (Attr::ProcessExitCode, _)) => (Some(code), None),
        other => (None, other),
    };
    let killed = (ended.oom_kills > 0).then_some((Attr::ContainerOomKilled, Value::Bool(true)));
    let attributes: Vec<_> = [name, code, killed, signal].into_iter().flatten().collect();
    let attributes = store.intern(&attributes);
    store.add(Metric::ContainerExits, owner, attributes, 1, now);
}
