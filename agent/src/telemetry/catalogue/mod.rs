//! Every metric, event, span and attribute of this version, defined once: the store, the exporters and the
//! reference documentation all read it from here.

mod attributes;
mod events;
mod invariants;
mod metrics;

pub use self::attributes::{Attr, FLOW};
pub use self::events::{EVENT_ATTRIBUTES, EVENTS, EventAttribute, SPANS, Telling};
pub use self::invariants::Invariant;
pub use self::metrics::{Definition, Instrument, Metric, ValueKind};

#[cfg(test)]
mod tests;
