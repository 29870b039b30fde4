//! HTTP against an axum server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{HeaderMap, Method, StatusCode, Uri};
use axum::{Router, body::Bytes as Body, extract::DefaultBodyLimit, response::IntoResponse as _};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    },
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;
use tokio::net::TcpListener;

use super::{
    super::{
        outcome::{Accepted, Retry},
        packing::Packing,
        settings::{Compression, Protocol},
        transport::{Client, MAX_RESPONSE, Transport as _, USER_AGENT},
    },
    transport::{listener, metrics, settings, traces, verdict},
};
use crate::counters::{ExportFailure, Signal};

/// What arrived.
type Arrived = (Method, Uri, HeaderMap, Body);

/// Status, headers, body.
type Answer = (u16, Vec<(&'static str, &'static str)>, Vec<u8>);

#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<Vec<Answer>>>,
    received: Arc<Mutex<Vec<Arrived>>>,
}

impl Receiver {
    fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self {
            answers: Arc::new(Mutex::new(answers)),
            ..Self::default()
        }
    }

    fn serve(&self, listener: TcpListener) {
        let receiver = self.clone();
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Body| async move {
            receiver
                .received
                .lock()
                .unwrap()
                .push((method, uri, headers, body));
            let answer = receiver.answers.lock().unwrap().pop();
            let (status, headers, body) =
                answer.unwrap_or_else(|| (200, vec![PROTOBUF], Vec::new()));
            let mut response = body.into_response();
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().clear();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        };
        let router = Router::new()
            .fallback(handler)
            .layer(DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

async fn client(receiver: &Receiver, signal: Signal, compression: Compression) -> Client {
    let (listener, address) = listener().await;
    receiver.serve(listener);
    let mut settings = settings(Protocol::HttpProtobuf, signal, address);
    settings.compression = compression;
    Client::new(&settings).unwrap()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    Packing::Gzip.pack(plain).unwrap()
}

#[tokio::test]
async fn data_and_headers_arrive_packed_or_not() {
    for (compression, encoding, accepted) in [
        (Compression::None, None, "gzip"),
        (Compression::Gzip, Some("gzip"), "gzip"),
        (Compression::Zstd, Some("zstd"), "zstd"),
    ] {
        let receiver = Receiver::default();
        let mut client = client(&receiver, Signal::Metrics, compression).await;
        let (request, message) = metrics();
        assert_eq!(client.send(&request).await, Ok(Accepted::default()));
        assert_eq!(client.send(&request).await, Ok(Accepted::default()));

        let requests = receiver.received.lock().unwrap();
        assert_eq!(requests.len(), 2);
        for (method, uri, headers, body) in requests.iter() {
            let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!((method.as_str(), uri.path()), ("POST", "/v1/metrics"));
            assert_eq!(header("content-type"), Some("application/x-protobuf"));
            assert_eq!(header("content-encoding"), encoding);
            assert_eq!(header("accept-encoding"), Some(accepted));
            assert_eq!(header("user-agent"), Some(USER_AGENT));
            assert_eq!(header("x-tenant"), Some("blue"));
            assert_eq!(header("authorization"), Some("Bearer s3cret"));
            let plain = match Packing::of(compression) {
                Some(packing) => packing.unpack(body, 1 << 20).0,
                None => body.to_vec(),
            };
            assert_eq!(
                ExportMetricsServiceRequest::decode(&plain[..]).unwrap(),
                message
            );
        }
    }
}

#[tokio::test]
async fn spans_arrive() {
    let receiver = Receiver::default();
    let mut client = client(&receiver, Signal::Traces, Compression::None).await;
    let (request, message) = traces();
    assert_eq!(client.send(&request).await, Ok(Accepted::default()));
    let requests = receiver.received.lock().unwrap();
    let (_, uri, _, body) = &requests[0];
    assert_eq!(uri.path(), "/v1/traces");
    assert_eq!(
        ExportTraceServiceRequest::decode(body.clone()).unwrap(),
        message
    );
}

#[tokio::test]
async fn successes_are_understood() {
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 2,
            error_message: "two too old".to_owned(),
        }),
    }
    .encode_to_vec();
    let with_parameter = ("content-type", "Application/X-Protobuf; charset=utf-8");
    let receiver = Receiver::scripted([
        (200, vec![PROTOBUF], partial.clone()),
        (202, vec![with_parameter], partial.clone()),
        (200, vec![PROTOBUF, GZIP], gzip(&partial)),
        (
            200,
            vec![PROTOBUF, ("content-encoding", "zstd")],
            Packing::Zstd.pack(&partial).unwrap(),
        ),
        (
            200,
            vec![("content-type", "application/json")],
            b"{}".to_vec(),
        ),
        (204, vec![], Vec::new()),
    ]);
    let mut client = client(&receiver, Signal::Metrics, Compression::None).await;
    for rejected in [2, 2, 2, 2, 0, 0] {
        assert_eq!(client.send(&metrics().0).await.unwrap().rejected, rejected);
    }
}

#[tokio::test]
async fn failures_are_understood() {
    let delay = ("retry-after", "7");
    let seven = Retry::After(Duration::from_secs(7));
    let cases = [
        (
            (503, vec![], Vec::new()),
            (ExportFailure::Unavailable, Retry::Backoff),
        ),
        (
            (503, vec![delay], Vec::new()),
            (ExportFailure::Unavailable, seven),
        ),
        (
            (429, vec![delay], Vec::new()),
            (ExportFailure::Throttled, seven),
        ),
        (
            (400, vec![delay], Vec::new()),
            (ExportFailure::Refused, Retry::Never),
        ),
        (
            (500, vec![], b"oops".to_vec()),
            (ExportFailure::Other, Retry::Never),
        ),
        (
            (307, vec![("location", "/")], Vec::new()),
            (ExportFailure::Other, Retry::Never),
        ),
        (
            (200, vec![PROTOBUF], b"<html>".to_vec()),
            (ExportFailure::InvalidResponse, Retry::Never),
        ),
        (
            (200, vec![PROTOBUF, GZIP], b"plain".to_vec()),
            (ExportFailure::InvalidResponse, Retry::Never),
        ),
        (
            (200, vec![], vec![0; MAX_RESPONSE + 1]),
            (ExportFailure::InvalidResponse, Retry::Never),
        ),
        (
            (503, vec![GZIP], gzip(&vec![0; MAX_RESPONSE + 1])),
            (ExportFailure::Unavailable, Retry::Backoff),
        ),
    ];
    let receiver = Receiver::scripted(cases.iter().map(|(answer, _)| answer.clone()));
    let mut client = client(&receiver, Signal::Metrics, Compression::None).await;
    for (answer, expected) in &cases {
        assert_eq!(
            verdict(client.send(&metrics().0).await),
            *expected,
            "{} {:?}",
            answer.0,
            answer.1
        );
    }
    assert_eq!(client.send(&metrics().0).await, Ok(Accepted::default()));
    assert_eq!(receiver.received.lock().unwrap().len(), cases.len() + 1);
}

#[tokio::test]
async fn a_receiver_that_appears_later_is_found() {
    let (listener, address) = listener().await;
    drop(listener);
    let mut client =
        Client::new(&settings(Protocol::HttpProtobuf, Signal::Metrics, address)).unwrap();
    assert_eq!(
        verdict(client.send(&metrics().0).await).0,
        ExportFailure::Connection
    );
    Receiver::default().serve(TcpListener::bind(address).await.unwrap());
    assert_eq!(client.send(&metrics().0).await, Ok(Accepted::default()));
}
