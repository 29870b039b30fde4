//! OTLP over gRPC and HTTP: readings of the series store, and spans.
//!
//! A receiver that is dead, slow, silent or wrong holds up nothing but its own exports: metrics are state, so the next
//! reading replaces what could not be sent; spans wait in a bounded queue that drops its oldest.

mod backoff;
mod common;
mod delivery;
mod exporter;
mod grpc;
mod health;
mod http;
mod metrics;
mod metrics_task;
mod outcome;
mod queue;
mod settings;
mod shutdown;
mod size;
mod spans;
mod spans_task;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

pub use self::{
    exporter::{OtlpError, OtlpExporter},
    queue::SpanQueue,
    settings::{
        Compression, ConfiguredEndpoint, EndpointError, HeaderError, OtlpSettings, Protocol,
        SignalSettings, header_map, resolve_endpoint,
    },
    transport::TransportError,
};
