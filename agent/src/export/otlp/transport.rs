//! One request to one receiver: gRPC or HTTP, chosen by the settings.

use std::future::Future;

use bytes::Bytes;
use thiserror::Error;

use super::{
    grpc::GrpcClient,
    http::HttpClient,
    outcome::{Accepted, SendError},
    settings::{Protocol, SignalSettings},
};
use crate::{counters::Signal, tls::TlsError};

/// The most of an answer that is read, before and after decompression: the specification's limit.
pub(super) const MAX_RESPONSE: usize = 4 * 1024 * 1024;

/// The product, then the exporter, as the specification wants it.
pub(super) const USER_AGENT: &str = concat!(
    "wellhead/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust/",
    env!("CARGO_PKG_VERSION")
);

/// One OTLP request, encoded once and sent as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    /// What it carries.
    pub(super) signal: Signal,
    /// The protobuf message.
    pub(super) body: Bytes,
    /// Data points or spans in it.
    pub(super) items: u64,
}

/// Sends a request once.
pub(super) trait Transport: Send + 'static {
    /// One attempt, bounded by the configured timeout.
    fn send(
        &mut self,
        request: &Encoded,
    ) -> impl Future<Output = Result<Accepted, SendError>> + Send;
}

/// Why a connection to a receiver cannot be set up at all.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Files of certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// gRPC cannot be configured.
    #[error("cannot set up gRPC")]
    Grpc(#[source] tonic::transport::Error),
}

/// A client of either protocol.
pub(super) enum Client {
    Grpc(Box<GrpcClient>),
    Http(Box<HttpClient>),
}

impl Client {
    /// Prepares a client; it connects with the first request. Needs a running tokio runtime.
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        match settings.protocol {
            Protocol::Grpc => GrpcClient::new(settings).map(|client| Self::Grpc(Box::new(client))),
            Protocol::HttpProtobuf => {
                HttpClient::new(settings).map(|client| Self::Http(Box::new(client)))
            }
        }
    }
}

impl Transport for Client {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        match self {
            Self::Grpc(client) => client.send(request).await,
            Self::Http(client) => client.send(request).await,
        }
    }
}
