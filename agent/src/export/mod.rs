//! Where to: the forms telemetry leaves in.

pub mod console;
pub mod live;
pub mod otlp;
pub mod prometheus;
