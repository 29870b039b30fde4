//! Where to: the forms telemetry leaves in.

pub mod prometheus;
