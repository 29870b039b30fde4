//! How many events of a workload are exported.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::bucket::{Bucket, SECOND};
use crate::aged_map::AgedMap;
use crate::counters::{Counters, Discard};
use crate::identity::{Resource, UNKNOWN_SERVICE, Value, Workload};
use crate::telemetry::live::{LiveEvent, Severity};

/// After so many nanoseconds in which nothing was left out, a workload that is limited again is told of again.
const QUIET: u64 = 60 * SECOND;

/// Workloads whose events are limited apart, each of which takes about a quarter of a kilobyte. Beyond, the one that came first is
/// forgotten, and begins anew with its next event.
const WORKLOADS: usize = 1_024;

/// Lets through as many events of each workload as may be exported. Time is that of the events: what is made of a recording does not
/// depend on when it is replayed.
#[derive(Debug)]
pub struct EventRates {
    workloads: AgedMap<Source, Allowance>,
    counters: Arc<Counters>,
}

/// Whose events are limited together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Workload(Workload),
    /// A service that is no workload's; where it has no name, one instance of it.
    Service(Value),
}

/// What one workload may still export.
#[derive(Debug)]
struct Allowance {
    usual: Bucket,
    /// Of events that say that something is wrong: others do not crowd them out.
    severe: Bucket,
    /// When the last event was left out.
    left_out: Option<u64>,
}

impl EventRates {
    /// Nothing is known of anybody.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            workloads: AgedMap::new(WORKLOADS),
            counters,
        }
    }

    /// Whether an event may be exported where so many are allowed in a second; `None` for any number. One that may not is counted.
    pub fn admit(
        &mut self,
        per_second: Option<NonZeroU32>,
        event: &LiveEvent,
        resource: &Resource,
    ) -> bool {
        let Some(per_second) = per_second else {
            return true;
        };
        let source = Source::of(resource);
        let now = event.time_unix_nano;
        if self.workloads.get(&source).is_none() {
            self.workloads.insert(source.clone(), Allowance::new(now));
        }
        let Some(allowance) = self.workloads.get_mut(&source) else {
            return true;
        };
        let bucket = match event.severity {
            Severity::Info => &mut allowance.usual,
            Severity::Warn | Severity::Error => &mut allowance.severe,
        };
        if bucket.take(now, SECOND / u64::from(per_second.get())) {
            return true;
        }
        self.counters.discard(Discard::PolicyEventRate, 1);
        if allowance.is_limited_anew(now) {
            source.tell(per_second);
        }
        false
    }
}

impl Source {
    fn of(resource: &Resource) -> Self {
        let label = |key: &str| {
            let found = resource.labels.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| Arc::clone(value))
        };
        let (namespace, kind, name) = (
            label("k8s_namespace_name"),
            label("k8s_workload_kind"),
            label("k8s_workload_name"),
        );
        if let (Some(namespace), Some(kind), Some(name)) = (namespace, kind, name) {
            return Self::Workload(Workload {
                namespace,
                name,
                kind,
            });
        }
        let attribute = |key: &str| {
            let found = resource.attributes.iter().find(|(name, _)| &**name == key);
            found.map(|(_, value)| value.clone())
        };
        let named = attribute("service.name").filter(|name| name.as_str() != Some(UNKNOWN_SERVICE));
        let service = named.or_else(|| attribute("service.instance.id"));
        Self::Service(service.unwrap_or(Value::Static(UNKNOWN_SERVICE)))
    }

    fn tell(&self, per_second: NonZeroU32) {
        let workload = match self {
            Self::Workload(Workload {
                namespace,
                name,
                kind,
            }) => format!("{namespace}/{kind}/{name}"),
            Self::Service(service) => service.as_str().unwrap_or_default().to_owned(),
        };
        tracing::warn!(
            workload,
            per_second,
            "events of a workload are left out of the export: it has more than events.rate_limit allows"
        );
    }
}

impl Allowance {
    fn new(now: u64) -> Self {
        let full = Bucket::full(now);
        Self {
            usual: full,
            severe: full,
            left_out: None,
        }
    }

    /// Whether an event that is left out now is the first in a while.
    fn is_limited_anew(&mut self, now: u64) -> bool {
        let before = self.left_out.replace(now);
        before.is_none_or(|before| before.abs_diff(now) > QUIET)
    }
}

#[cfg(test)]
mod tests;
