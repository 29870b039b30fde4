//! OTLP/gRPC over tonic.
//!
//! Requests arrive encoded, so that a retry copies nothing; the generated clients would want a message of their own
//! for each attempt. Their methods' paths and the codec are all that is taken from them here.

mod answer;

use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time;
use tonic::{
    Request,
    client::Grpc,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use self::answer::GrpcOnly;
pub(super) use self::answer::NotGrpc;
use super::{
    outcome::{self, Accepted, SendError},
    settings::{Compression, SignalSettings},
    transport::{Encoded, MAX_RESPONSE, Transport, TransportError, USER_AGENT},
};
use crate::{
    counters::{ExportFailure, Signal},
    grpc_status::ReadableStatus,
    lookup::{self, Lookup},
    raw_codec::RawCodec,
};

const LONGEST_TIMEOUT: Duration = Duration::from_hours(24);

/// An OTLP/gRPC client for one receiver.
pub(super) struct GrpcClient {
    endpoint: Endpoint,
    connector: HttpConnector<Lookup>,
    channel: Channel,
    metadata: MetadataMap,
    compression: Compression,
    timeout: Duration,
}

impl GrpcClient {
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let endpoint = endpoint(settings)?;
        let connector = lookup::connector();
        Ok(Self {
            channel: endpoint.connect_with_connector_lazy(connector.clone()),
            endpoint,
            connector,
            metadata: MetadataMap::from_headers(settings.headers.clone()),
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    async fn exchange(&self, request: &Encoded) -> Result<Accepted, SendError> {
        let client = Grpc::new(GrpcOnly(ReadableStatus(self.channel.clone())));
        let client = client.max_decoding_message_size(MAX_RESPONSE);
        let mut client = match self.compression {
            Compression::None => client,
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
            // Some receivers answer in kind, whatever they are told.
            Compression::Zstd => client
                .send_compressed(CompressionEncoding::Zstd)
                .accept_compressed(CompressionEncoding::Zstd),
        }
        .accept_compressed(CompressionEncoding::Gzip);
        client
            .ready()
            .await
            .map_err(|error| SendError::connection(error.as_ref()))?;

        let mut message = Request::new(request.body.clone());
        *message.metadata_mut() = self.metadata.clone();
        // Longer ones cannot be written in a request (tonic panics), and mean nothing else.
        message.set_timeout(self.timeout.min(LONGEST_TIMEOUT));
        let answer = client
            .unary(message, method(request.signal), RawCodec)
            .await
            .map_err(|status| outcome::grpc_error(&status, self.compression))?;
        outcome::accepted(request.signal, &answer.into_inner())
    }
}

impl Transport for GrpcClient {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        let outcome = time::timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or_else(|_elapsed| Err(SendError::timeout(self.timeout)));
        if outcome
            .as_ref()
            .is_err_and(|error| error.failure == ExportFailure::Timeout)
        {
            // The peer may have gone without a word; HTTP/2 would go on using the dead connection.
            let connector = self.connector.clone();
            self.channel = self.endpoint.connect_with_connector_lazy(connector);
        }
        outcome
    }
}

fn endpoint(settings: &SignalSettings) -> Result<Endpoint, TransportError> {
    let endpoint = Endpoint::new(settings.endpoint.clone())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(TransportError::Grpc)?
        // The attempt's own timeout strikes first. This one ends connections that nobody waits for any more.
        .connect_timeout(settings.timeout.saturating_mul(2));
    if !settings.is_secure() {
        return Ok(endpoint);
    }
    let tls = settings.tls.tonic()?;
    endpoint.tls_config(tls).map_err(TransportError::Grpc)
}

fn method(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    })
}
