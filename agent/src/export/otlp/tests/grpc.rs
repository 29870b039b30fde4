//! gRPC against the generated services.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status, async_trait,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Server, server::TcpIncoming},
};

use super::{
    super::{
        OtlpExporter,
        outcome::{Accepted, Retry},
        settings::{Compression, OtlpSettings, Protocol, SignalSettings},
        transport::{Client, MAX_RESPONSE, Transport as _, USER_AGENT},
    },
    support::{self, retry_details},
    transport::{PATIENCE, listener, metrics, settings, traces, verdict},
};
use crate::{
    counters::{Counters, ExportFailure, ExportStats, Signal},
    supervised::Tasks,
    telemetry::handle::SnapshotHandle,
};

type Answer = Result<ExportMetricsServiceResponse, Status>;

/// Keeps what it receives; answers metrics by its script, then with success, and spans with success.
#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<Vec<Answer>>>,
    metrics: Arc<Mutex<Vec<(MetadataMap, ExportMetricsServiceRequest)>>>,
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

#[async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.metrics.lock().unwrap().push((metadata, message));
        let answer = self.answers.lock().unwrap().pop();
        answer
            .unwrap_or_else(|| Ok(ExportMetricsServiceResponse::default()))
            .map(Response::new)
    }
}

#[async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
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
        let metrics = MetricsServiceServer::new(self.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .max_encoding_message_size(usize::MAX);
        let server = Server::builder()
            .add_service(metrics)
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
    }
}

async fn client(receiver: &Receiver, change: impl FnOnce(&mut SignalSettings)) -> Client {
    let (listener, address) = listener().await;
    receiver.serve(listener);
    let mut settings = settings(Protocol::Grpc, Signal::Metrics, address);
    change(&mut settings);
    Client::new(&settings).unwrap()
}

#[tokio::test]
async fn data_and_headers_arrive_packed_or_not() {
    for (compression, encoding) in [
        (Compression::None, None),
        (Compression::Gzip, Some("gzip")),
        (Compression::Zstd, Some("zstd")),
    ] {
        let receiver = Receiver::default();
        let mut client = client(&receiver, |settings| settings.compression = compression).await;
        let (request, message) = metrics();
        assert_eq!(client.send(&request).await, Ok(Accepted::default()));
        assert_eq!(client.send(&request).await, Ok(Accepted::default()));

        let requests = receiver.metrics.lock().unwrap();
        assert_eq!(requests.len(), 2);
        for (metadata, got) in requests.iter() {
            let header = |name| metadata.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(*got, message);
            assert_eq!(header("x-tenant"), Some("blue"));
            assert_eq!(header("authorization"), Some("Bearer s3cret"));
            assert_eq!(header("grpc-encoding"), encoding);
            assert!(header("user-agent").unwrap().starts_with(USER_AGENT));
            assert!(header("grpc-timeout").is_some());
        }
    }
}

#[tokio::test]
async fn spans_arrive() {
    let receiver = Receiver::default();
    let mut client = client(&receiver, |_| {}).await;
    let (request, message) = traces();
    assert_eq!(client.send(&request).await, Ok(Accepted::default()));
    assert_eq!(*receiver.traces.lock().unwrap(), [message]);
}

#[tokio::test]
async fn answers_are_understood() {
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: 2,
        error_message: "two too old".to_owned(),
    };
    let huge = ExportMetricsPartialSuccess {
        rejected_data_points: 0,
        error_message: incompressible(MAX_RESPONSE + 1),
    };
    let answer = |partial| {
        Ok(ExportMetricsServiceResponse {
            partial_success: Some(partial),
        })
    };
    let delayed = |code| {
        Err(Status::with_details(
            code,
            "later",
            retry_details(7, 0).into(),
        ))
    };
    let seven = Retry::After(Duration::from_secs(7));
    let receiver = Receiver::scripted([
        answer(partial),
        Err(Status::unavailable("busy")),
        delayed(Code::Unavailable),
        delayed(Code::ResourceExhausted),
        Err(Status::resource_exhausted("full")),
        Err(Status::invalid_argument("what?")),
        answer(huge),
    ]);
    let mut client = client(&receiver, |_| {}).await;
    let (request, _) = metrics();
    let accepted = Accepted {
        rejected: 2,
        message: "two too old".to_owned(),
    };
    assert_eq!(client.send(&request).await, Ok(accepted));
    for expected in [
        (ExportFailure::Unavailable, Retry::Backoff),
        (ExportFailure::Unavailable, seven),
        (ExportFailure::Throttled, seven),
        (ExportFailure::Throttled, Retry::Never),
        (ExportFailure::Refused, Retry::Never),
        (ExportFailure::InvalidResponse, Retry::Never),
    ] {
        assert_eq!(verdict(client.send(&request).await), expected);
    }
    assert_eq!(client.send(&request).await, Ok(Accepted::default()));
}

/// Text that gzip cannot bring below half its length.
fn incompressible(length: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.alphanumeric())
        .take(length * 2)
        .collect()
}

#[tokio::test]
async fn a_receiver_that_appears_later_is_found() {
    let (listener, address) = listener().await;
    drop(listener);
    let mut client = Client::new(&settings(Protocol::Grpc, Signal::Metrics, address)).unwrap();
    let (request, _) = metrics();
    assert_eq!(
        verdict(client.send(&request).await).0,
        ExportFailure::Connection
    );
    let receiver = Receiver::default();
    receiver.serve(TcpListener::bind(address).await.unwrap());
    assert_eq!(client.send(&request).await, Ok(Accepted::default()));
}

#[tokio::test]
async fn a_connection_gone_silent_is_replaced() {
    let receiver = Receiver::default();
    let (listener, address) = listener().await;
    let mut settings = settings(Protocol::Grpc, Signal::Metrics, address);
    settings.timeout = Duration::from_millis(100);
    let mut client = Client::new(&settings).unwrap();
    let (request, _) = metrics();
    assert_eq!(
        verdict(client.send(&request).await).0,
        ExportFailure::Timeout
    );
    // That connection stays open, and nobody will ever read from it.
    let _silent = listener.accept().await.unwrap();
    receiver.serve(listener);
    for _ in 0..50 {
        if client.send(&request).await.is_ok() {
            return;
        }
    }
    panic!("the client stayed with the silent connection");
}

#[tokio::test]
async fn the_exporter_flushes_both_signals() {
    let receiver = Receiver::default();
    let (listener, address) = listener().await;
    receiver.serve(listener);
    let otlp = OtlpSettings {
        metrics: Some(settings(Protocol::Grpc, Signal::Metrics, address)),
        traces: Some(settings(Protocol::Grpc, Signal::Traces, address)),
        ..OtlpSettings::default()
    };
    let (snapshots, mut asked) = SnapshotHandle::channel(1);
    tokio::spawn(async move {
        while let Some(request) = asked.recv().await {
            drop(
                request
                    .reply
                    .send(Arc::unwrap_or_clone(support::snapshot(1, 3)).into()),
            );
        }
    });
    let (counters, stats) = (
        Arc::new(Counters::default()),
        Arc::new(ExportStats::default()),
    );
    let stop = CancellationToken::new();
    let exporter = OtlpExporter::start(
        &otlp,
        snapshots,
        &counters,
        &stats,
        stop.clone(),
        PATIENCE,
        &Tasks::default(),
    )
    .unwrap();
    let queue = exporter.spans().unwrap();
    for number in 0..7 {
        queue.push(support::span(number));
    }
    stop.cancel();
    assert!(exporter.finished().await);
    assert_eq!(receiver.metrics.lock().unwrap().len(), 1);
    assert_eq!(receiver.traces.lock().unwrap().len(), 1);
    assert_eq!(stats.signal(Signal::Metrics).items(), 3);
    assert_eq!(stats.signal(Signal::Traces).items(), 7);
}

#[tokio::test]
async fn nothing_configured_is_nothing_started() {
    let exporter = OtlpExporter::start(
        &OtlpSettings::default(),
        SnapshotHandle::channel(1).0,
        &Arc::default(),
        &Arc::default(),
        CancellationToken::new(),
        PATIENCE,
        &Tasks::default(),
    )
    .unwrap();
    assert!(exporter.spans().is_none());
    assert!(exporter.finished().await);
}
