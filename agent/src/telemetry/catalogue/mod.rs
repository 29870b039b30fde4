//! Every metric and attribute of this version, defined once: the store, the exporters and the
//! reference documentation all read it from here.

mod attributes;
mod metrics;

pub use self::attributes::{Attr, FLOW};
pub use self::metrics::{Definition, Instrument, Metric, ValueKind};

#[cfg(test)]
mod tests;
