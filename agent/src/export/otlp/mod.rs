//! OTLP over gRPC and HTTP: readings of the series store, and spans.
//!
//! A receiver that is dead, slow, silent or wrong holds up nothing but its own exports: metrics are state, so the next
//! reading replaces what could not be sent; spans wait in a bounded queue that drops its oldest.

mod grpc;
mod http;
mod outcome;
mod settings;
mod tls;
mod transport;

pub use self::{
    settings::{
        Compression, ConfiguredEndpoint, EndpointError, HeaderError, OtlpSettings, Protocol,
        SignalSettings, header_map, resolve_endpoint,
    },
    transport::TransportError,
};
