//! Wellhead: node telemetry from the kernel's own events, for OpenTelemetry and Prometheus.

pub mod counters;
pub mod identity;
pub mod telemetry;
