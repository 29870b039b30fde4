//! Every endpoint over real sockets, with requests written by hand.

mod access;

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::export::prometheus::page::Scope;
use crate::export::prometheus::standard::BuildInfo;
use crate::identity::{Resource, Value};
use crate::telemetry::handle::{ReadingRequest, SnapshotHandle};
use crate::telemetry::snapshot::Snapshot;
use crate::telemetry::store::Reading;

const READY: Readiness = Readiness {
    probes_attached: true,
    exporters_configured: true,
    kubernetes_listed: true,
};

/// An agent's HTTP listener with the rest of the agent played by the test.
struct Rig {
    address: SocketAddr,
    requests: mpsc::Receiver<ReadingRequest>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

async fn rig(limits: Limits, status: Option<Status>) -> Rig {
    rig_for(Access::default(), limits, status).await
}

async fn rig_for(access: Access, limits: Limits, status: Option<Status>) -> Rig {
    let (snapshots, requests) = SnapshotHandle::channel(16);
    let (readiness, watched) = watch::channel(Readiness::default());
    let build = BuildInfo {
        version: "1.2.3",
        revision: "abc",
    };
    let metrics = Metrics::new(snapshots, build, Scope::Left);
    let tls = access.tls();
    let router = router(Endpoints {
        metrics,
        readiness: watched,
        status,
        access,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, limits, tls, stop.clone()));
    Rig {
        address,
        requests,
        readiness,
        stop,
        server,
    }
}

impl Rig {
    /// Sends a request as HTTP/1.0, so that bodies are not chunked.
    async fn ask(&self, head: &str) -> Answer {
        ask(TcpStream::connect(self.address).await.unwrap(), head).await
    }

    /// The same in the background.
    fn start(&self, head: &'static str) -> JoinHandle<Answer> {
        let address = self.address;
        tokio::spawn(async move { ask(TcpStream::connect(address).await.unwrap(), head).await })
    }

    /// Answers the next snapshot request.
    async fn answer(&mut self) {
        self.requests
            .recv()
            .await
            .unwrap()
            .reply
            .send(reading())
            .unwrap();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> Answer {
    try_to_ask(stream, head).await.unwrap()
}

/// Fails where the connection does.
async fn try_to_ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
) -> io::Result<Answer> {
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head, body })
}

fn reading() -> Reading {
    let node = Resource {
        attributes: vec![(Arc::from("host.name"), Value::Static("node-1"))],
        labels: Vec::new(),
    };
    Snapshot {
        resources: vec![Arc::new(node)],
        ..Snapshot::default()
    }
    .into()
}

fn status() -> Status {
    Status::new(|| async { serde_json::json!({ "fine": true }) })
}

#[tokio::test]
async fn metrics_in_the_format_asked_for() {
    let mut rig = rig(Limits::HTTP, None).await;
    let openmetrics =
        rig.start("GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=1.0.0");
    rig.answer().await;
    let openmetrics = openmetrics.await.unwrap();
    assert_eq!(openmetrics.status, 200);
    assert!(openmetrics.head.contains(
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores\r\n"
    ));
    assert!(
        openmetrics
            .text()
            .contains("# TYPE target info\n# HELP target Resource of the agent itself.\ntarget_info{host_name=\"node-1\"} 1\n")
    );
    assert!(
        openmetrics
            .text()
            .contains("wellhead_build_info{version=\"1.2.3\",revision=\"abc\"} 1\n")
    );
    assert!(openmetrics.text().ends_with("# EOF\n"));

    let text = rig.start("GET /metrics HTTP/1.0");
    rig.answer().await;
    let text = text.await.unwrap();
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n")
    );
    assert!(text.head.contains("vary: accept"));
    assert!(text.text().contains("# TYPE target_info gauge\n"));
    assert!(!text.text().contains("# EOF"));
}

#[tokio::test]
async fn metrics_are_compressed_when_asked() {
    let mut rig = rig(Limits::HTTP, None).await;
    let answer = rig.start("GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip");
    rig.answer().await;
    let answer = answer.await.unwrap();
    assert!(answer.head.contains("content-encoding: gzip\r\n"));
    let mut page = String::new();
    GzDecoder::new(answer.body.as_slice())
        .read_to_string(&mut page)
        .unwrap();
    assert!(page.contains("target_info{host_name=\"node-1\"} 1\n"));
}

#[tokio::test]
async fn only_some_pages_are_written_at_once_and_all_in_the_end() {
    let mut rig = rig(Limits::HTTP, None).await;
    let scrapes: Vec<_> = (0..7).map(|_| rig.start("GET /metrics HTTP/1.0")).collect();
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(rig.requests.recv().await.unwrap());
    }
    for _ in 0..1_000 {
        yield_now().await;
    }
    assert!(rig.requests.try_recv().is_err(), "a fifth page was begun");
    for request in first {
        request.reply.send(reading()).unwrap();
    }
    for _ in 0..3 {
        rig.answer().await;
    }
    for scrape in scrapes {
        assert_eq!(scrape.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn without_a_pipeline_there_are_no_metrics_but_there_is_life() {
    let mut rig = rig(Limits::HTTP, None).await;
    rig.requests.close();
    assert_eq!(rig.ask("GET /metrics HTTP/1.0").await.status, 503);
    let health = rig.ask("GET /healthz HTTP/1.0").await;
    assert_eq!((health.status, health.text()), (200, "ok\n"));
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let rig = rig(Limits::HTTP, None).await;
    rig.readiness
        .send(Readiness {
            kubernetes_listed: false,
            ..READY
        })
        .unwrap();
    let waiting = rig.ask("GET /readyz HTTP/1.0").await;
    let expected = r#"{"ready":false,"missing":["kubernetes"]}"#;
    assert_eq!((waiting.status, waiting.text()), (503, expected));
    rig.readiness.send(READY).unwrap();
    let ready = rig.ask("GET /readyz HTTP/1.0").await;
    assert_eq!(
        (ready.status, ready.text()),
        (200, r#"{"ready":true,"missing":[]}"#)
    );
}

#[tokio::test]
async fn status_is_shown_only_where_wanted() {
    let hidden = rig(Limits::HTTP, None).await;
    assert_eq!(hidden.ask("GET /api/v1/status HTTP/1.0").await.status, 404);
    assert!(!hidden.ask("GET / HTTP/1.0").await.text().contains("status"));
    let shown = rig(Limits::HTTP, Some(status())).await;
    assert_eq!(
        shown.ask("GET /api/v1/status HTTP/1.0").await.text(),
        r#"{"fine":true}"#
    );
    assert!(
        shown
            .ask("GET / HTTP/1.0")
            .await
            .text()
            .contains("/api/v1/status")
    );

    for (address, expected) in [
        ("127.0.0.1:9464", true),
        ("[::1]:9464", true),
        ("[::ffff:127.0.0.1]:9464", true),
        ("0.0.0.0:9464", false),
        ("[::]:9464", false),
        ("10.0.0.1:9464", false),
    ] {
        assert_eq!(is_local(address.parse().unwrap()), expected, "{address}");
    }
}

#[tokio::test]
async fn status_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wellhead.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let router = status_router(status());
    let server = tokio::spawn(serve(
        listener,
        router,
        Limits::UNIX_SOCKET,
        None,
        stop.clone(),
    ));
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(
        ask(stream, "GET /api/v1/status HTTP/1.0").await.text(),
        r#"{"fine":true}"#
    );
    stop.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn other_requests_are_refused() {
    let rig = rig(Limits::HTTP, None).await;
    assert_eq!(rig.ask("GET /nothing HTTP/1.0").await.status, 404);
    let post = rig.ask("POST /metrics HTTP/1.0\r\nContent-Length: 0").await;
    assert_eq!(post.status, 405);
    assert!(post.head.contains("allow: get,head\r\n"), "{}", post.head);
    assert_eq!(rig.ask("complete nonsense").await.status, 400);
    let long = format!("GET /healthz HTTP/1.0\r\nX: {}", "x".repeat(15 << 10));
    assert_eq!(rig.ask(&long).await.status, 200);
    let many = format!("GET /healthz HTTP/1.0{}", "\r\nX: x".repeat(65));
    assert_eq!(rig.ask(&many).await.status, 431);
    let head = rig.ask("HEAD /healthz HTTP/1.0").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_head_too_large_ends_the_connection() {
    let rig = rig(Limits::HTTP, None).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    // The server may close before it has read everything, so a write may fail as well.
    let endless = vec![b'x'; 1 << 20];
    drop(stream.write_all(&endless).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(rig.ask("GET /healthz HTTP/1.0").await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_dropped() {
    let limits = Limits {
        head: Duration::from_millis(5),
        ..Limits::HTTP
    };
    let rig_for_heads = rig(limits, None).await;
    let mut slow = TcpStream::connect(rig_for_heads.address).await.unwrap();
    slow.write_all(b"GET /healthz HT").await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));

    let limits = Limits {
        whole: Some(Duration::from_millis(5)),
        connections: 1,
        ..Limits::HTTP
    };
    let rig = rig(limits, None).await;
    // Nobody answers the snapshot request, so only the limit can end this connection.
    let mut stuck = TcpStream::connect(rig.address).await.unwrap();
    stuck
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(stuck.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn the_oldest_that_asks_for_nothing_gives_way() {
    let limits = Limits {
        connections: 2,
        head: Duration::from_hours(1),
        whole: None,
        ..Limits::HTTP
    };
    let mut rig = rig(limits, None).await;
    let scrape = rig.start("GET /metrics HTTP/1.0");
    let request = rig.requests.recv().await.unwrap();
    let mut oldest = TcpStream::connect(rig.address).await.unwrap();
    oldest.write_all(b"GET /healthz HT").await.unwrap();
    assert_eq!(rig.ask("GET /healthz HTTP/1.0").await.status, 200);
    assert_eq!(oldest.read(&mut [0; 1]).await.unwrap_or_default(), 0);

    // A second scrape takes the last place; who comes now waits for one of them to be answered.
    let next = rig.start("GET /metrics HTTP/1.0");
    let next_request = rig.requests.recv().await.unwrap();
    let waiting = rig.start("GET /healthz HTTP/1.0");
    let waited = tokio::time::timeout(Duration::from_millis(20), waiting);
    assert!(waited.await.is_err());
    for request in [request, next_request] {
        request.reply.send(reading()).unwrap();
    }
    assert_eq!(scrape.await.unwrap().status, 200);
    assert_eq!(next.await.unwrap().status, 200);
    assert_eq!(rig.ask("GET /healthz HTTP/1.0").await.status, 200);
}

#[tokio::test]
async fn stopping_lets_a_request_under_way_finish() {
    let mut rig = rig(Limits::HTTP, None).await;
    let scrape = rig.start("GET /metrics HTTP/1.0");
    let request = rig.requests.recv().await.unwrap();
    let idle = TcpStream::connect(rig.address).await.unwrap();
    rig.stop.cancel();
    request.reply.send(reading()).unwrap();
    assert_eq!(scrape.await.unwrap().status, 200);
    rig.server.await.unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
    drop(idle);
}
