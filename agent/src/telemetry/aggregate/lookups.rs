//! Counting look-ups of names.

use std::sync::Arc;

use super::{Attributes, seconds};
use crate::events::dns::lookups::{Lookup, LookupEnd, TIMEOUT_NS};
use crate::identity::{OwnerId, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::failure::lookup_failure;
use crate::telemetry::store::Store;

/// One that ended, by an answer or for want of one.
pub(super) fn ended(store: &mut Store, owner: OwnerId, lookup: &Lookup, (now, names): (u64, bool)) {
    let mut attributes = Attributes::new();
    if names {
        let name = Value::Str(Arc::clone(&lookup.question.name));
        attributes.push((Attr::DnsQuestionName, name));
    }
    if let Some(error) = lookup_failure(lookup) {
        attributes.push((Attr::ErrorType, Value::Static(error)));
    }
    let attributes = store.intern(&attributes);
    let took = match lookup.end {
        LookupEnd::TimedOut => TIMEOUT_NS,
        _ => lookup.took_ns.unwrap_or_default(),
    };
    store.record(
        Metric::DnsLookupDuration,
        owner,
        attributes,
        seconds(took),
        now,
    );
}
