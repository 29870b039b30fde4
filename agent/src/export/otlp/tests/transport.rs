//! What both clients have in common: silent, cut and missing connections.

use std::{net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;
use tokio::net::TcpListener;

use super::{
    super::{
        grouped::{self, Request},
        metrics::{Form, MetricRequests},
        outcome::{Accepted, Retry, SendError},
        queue::Finished,
        settings::{
            Compression, ConfiguredEndpoint, Protocol, SignalSettings, header_map, resolve_endpoint,
        },
        transport::{Client, Encoded, Transport as _, TransportError},
    },
    support,
};
use crate::{
    counters::{ExportFailure, Signal},
    tls::{ClientFiles, TlsError},
};

/// Long enough that only a receiver that never answers runs into it.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn settings(protocol: Protocol, signal: Signal, address: SocketAddr) -> SignalSettings {
    let base = format!("http://{address}");
    SignalSettings {
        endpoint: resolve_endpoint(ConfiguredEndpoint::Generic(&base), signal, protocol, false)
            .unwrap(),
        protocol,
        headers: header_map([("x-tenant", "blue"), ("authorization", "Bearer s3cret")]).unwrap(),
        compression: Compression::None,
        timeout: PATIENCE,
        interval: Duration::from_secs(10),
        queue_size: 1 << 20,
        spill: None,
        tls: ClientFiles::default(),
    }
}

pub(super) fn metrics() -> (Encoded, ExportMetricsServiceRequest) {
    let request = MetricRequests::new(support::snapshot(5, 3), Form::default(), 1 << 20)
        .next()
        .unwrap();
    let message = ExportMetricsServiceRequest::decode(request.body.clone()).unwrap();
    (
        Encoded {
            signal: Signal::Metrics,
            body: request.body,
            items: request.items,
        },
        message,
    )
}

pub(super) fn traces() -> (Encoded, ExportTraceServiceRequest) {
    let request = encoded(&support::span(1));
    let message = ExportTraceServiceRequest::decode(request.body.clone()).unwrap();
    (request, message)
}

pub(super) fn logs() -> Encoded {
    encoded(&support::event())
}

fn encoded<I: Finished>(item: &I) -> Encoded {
    let Request { body, items } = grouped::requests(&[item.encode()], 1 << 20)
        .requests
        .remove(0);
    Encoded {
        signal: I::SIGNAL,
        body,
        items,
    }
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(super) fn verdict(result: Result<Accepted, SendError>) -> (ExportFailure, Retry) {
    let error = result.unwrap_err();
    (error.failure, error.retry)
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

#[tokio::test]
async fn a_receiver_that_never_answers_runs_into_the_timeout() {
    for protocol in PROTOCOLS {
        // Connections are accepted by the kernel; nobody reads.
        let (_listener, address) = listener().await;
        let mut settings = settings(protocol, Signal::Metrics, address);
        settings.timeout = Duration::from_millis(50);
        let mut client = Client::new(&settings).unwrap();
        for _ in 0..2 {
            let expected = (ExportFailure::Timeout, Retry::Backoff);
            assert_eq!(
                verdict(client.send(&metrics().0).await),
                expected,
                "{protocol:?}"
            );
        }
    }
}

#[tokio::test]
async fn connections_refused_or_cut_are_worth_another_try() {
    for protocol in PROTOCOLS {
        let (listener, address) = listener().await;
        let settings = settings(protocol, Signal::Metrics, address);
        let mut client = Client::new(&settings).unwrap();
        let expected = (ExportFailure::Connection, Retry::Backoff);

        let cut = tokio::spawn(async move { drop(listener.accept().await) });
        assert_eq!(
            verdict(client.send(&metrics().0).await),
            expected,
            "{protocol:?}, cut"
        );
        cut.await.unwrap();
        assert_eq!(
            verdict(client.send(&metrics().0).await),
            expected,
            "{protocol:?}, refused"
        );
    }
}

#[tokio::test]
async fn a_missing_ca_file_is_an_error_at_start() {
    for protocol in PROTOCOLS {
        let (_listener, address) = listener().await;
        let mut settings = settings(protocol, Signal::Metrics, address);
        settings.endpoint = format!("https://{address}/").parse().unwrap();
        settings.tls.ca = Some("/nonexistent/ca.pem".into());
        let error = Client::new(&settings).err().unwrap();
        assert!(
            matches!(error, TransportError::Tls(TlsError::File { .. })),
            "{error}"
        );
    }
}
