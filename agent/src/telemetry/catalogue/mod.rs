//! Every metric, event, span and attribute of this version, defined once: the store, the exporters and the
//! reference documentation all read it from here.

mod attributes;
mod events;
mod invariants;
mod metrics;
mod span_events;

pub use self::attributes::{Attr, FLOW};
pub use self::events::{EVENT_ATTRIBUTES, EVENTS, EventAttribute, SPANS, Telling};
pub use self::invariants::Invariant;
pub use self::metrics::{Definition, Instrument, Metric, ValueKind};
pub use self::span_events::SPAN_EVENTS;

/// The version of the semantic conventions all names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

#[cfg(test)]
mod tests;
