//! Where to: the forms telemetry leaves in.

pub mod otlp;
pub mod prometheus;
