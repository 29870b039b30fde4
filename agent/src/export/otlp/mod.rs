//! OTLP over gRPC and HTTP: readings of the series store, spans, and events as log records.
//!
//! A receiver that is dead, slow, silent or wrong holds up nothing but its own exports: metrics are state, so the next
//! reading replaces what could not be sent; spans and log records wait, within bounds, and the oldest make room.

mod backlog;
mod backoff;
mod batch_task;
mod common;
mod delivery;
mod exporter;
mod grouped;
mod grpc;
mod health;
mod http;
mod ledger;
mod logs;
mod metrics;
mod metrics_task;
mod outcome;
mod own;
mod own_room;
mod packing;
mod queue;
mod renewed;
mod settings;
mod shutdown;
mod size;
mod spans;
mod spill;
#[cfg(test)]
mod tests;
mod transport;
mod volume;
mod wire;

pub use self::{
    exporter::{OtlpError, OtlpExporter},
    ledger::DeltaRequests,
    metrics::metric_requests,
    own::{OwnExport, OwnSettings, OwnTelemetry},
    queue::{Finished, Queue},
    settings::{
        Compression, ConfiguredEndpoint, EndpointError, HeaderError, OtlpSettings, Protocol,
        SignalSettings, SpillSettings, Temporality, header_map, resolve_endpoint,
    },
    transport::TransportError,
};
