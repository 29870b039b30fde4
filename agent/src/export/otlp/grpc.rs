//! OTLP/gRPC over tonic.
//!
//! Requests arrive encoded, so that a retry copies nothing; the generated clients would want a message of their own
//! for each attempt. Their methods' paths and the codec are all that is taken from them here.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tokio::time;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    outcome::{self, Accepted, SendError},
    settings::{Compression, SignalSettings},
    tls,
    transport::{Encoded, MAX_RESPONSE, Transport, TransportError, USER_AGENT},
};
use crate::counters::{ExportFailure, Signal};

/// An OTLP/gRPC client for one receiver.
pub(super) struct GrpcClient {
    endpoint: Endpoint,
    channel: Channel,
    metadata: MetadataMap,
    compression: Compression,
    timeout: Duration,
}

impl GrpcClient {
    pub(super) fn new(settings: &SignalSettings) -> Result<Self, TransportError> {
        let endpoint = endpoint(settings)?;
        Ok(Self {
            channel: endpoint.connect_lazy(),
            endpoint,
            metadata: MetadataMap::from_headers(settings.headers.clone()),
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    async fn exchange(&self, request: &Encoded) -> Result<Accepted, SendError> {
        let mut client = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_RESPONSE)
            .accept_compressed(CompressionEncoding::Gzip);
        if self.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client
            .ready()
            .await
            .map_err(|error| SendError::connection(&error))?;

        let mut message = Request::new(request.body.clone());
        *message.metadata_mut() = self.metadata.clone();
        message.set_timeout(self.timeout);
        let answer = client
            .unary(message, method(request.signal), RawCodec)
            .await
            .map_err(|status| outcome::grpc_error(&status))?;
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
            self.channel = self.endpoint.connect_lazy();
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
    if settings.endpoint.scheme_str() != Some("https") {
        return Ok(endpoint);
    }
    let tls = match &settings.ca_file {
        Some(path) => {
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(tls::read_pem(path)?))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(TransportError::Grpc)
}

fn method(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    })
}

/// Passes messages through as they are.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
