//! Receivers that misbehave, on real sockets: what is made of each, whether the request is sent again, and what is counted, for both
//! protocols and signals.
//!
//! Each script serves one attempt. A receiver that had all of a request and did not say so gets it again, which OTLP allows for; anything
//! else is sent once. Nobody is connected to twice for one attempt.
//!
//! Rows of the specification's tables that are proven elsewhere, and not again here:
//!
//! - every gRPC code with and without `RetryInfo`, every HTTP status, all forms of `Retry-After`: `tests/outcome.rs`;
//! - statuses in trailers alone, from a real server, and answers of more than 4 MiB: `tests/grpc.rs`, `tests/http.rs`;
//! - partial success: `tests/grpc.rs`, `tests/http.rs`, counted and not sent again: `tests/delivery.rs`;
//! - connections refused, or cut before anything was read, and silence from the start: `tests/transport.rs`;
//! - bodies that are cut, silent, packed badly, endless or bombs, for each kind of HTTP status: `http/answer/tests.rs`;
//! - backoff, its jitter, delays that receivers ask for, and the grace at shutdown: `tests/delivery.rs`, `backoff.rs`.

mod connections;
mod grpc;
mod http;
mod http2;

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::write::GzEncoder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        delivery::{Delivery, Sender},
        outcome::{Accepted, Retry, SendError},
        settings::{Compression, Protocol},
        shutdown::Shutdown,
        transport::{Client, Encoded, Transport},
    },
    transport::{PATIENCE, listener, logs, metrics, settings, traces},
};
use crate::counters::{Counters, Discard, ExportFailure, ExportStats, Signal};

const SIGNALS: [Signal; 3] = [Signal::Metrics, Signal::Traces, Signal::Logs];
const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

/// For receivers that never answer.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// More than fits between two sockets.
const MUCH: usize = 16 << 20;

/// What one attempt comes to: items the receiver refused, or the failure.
type Verdict = Result<u64, (ExportFailure, Retry)>;

const ACCEPTED: Verdict = Ok(0);

const fn retried(failure: ExportFailure) -> Verdict {
    Err((failure, Retry::Backoff))
}

const fn dropped(failure: ExportFailure) -> Verdict {
    Err((failure, Retry::Never))
}

/// One attempt at a request.
#[derive(Clone, Copy)]
struct Attempt {
    protocol: Protocol,
    timeout: Duration,
    /// Bytes to send in place of the real request.
    padding: usize,
    compression: Compression,
}

impl Attempt {
    const fn of(protocol: Protocol) -> Self {
        Self {
            protocol,
            timeout: PATIENCE,
            padding: 0,
            compression: Compression::None,
        }
    }

    const fn packed_by(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    const fn impatient(mut self) -> Self {
        self.timeout = IMPATIENCE;
        self
    }

    const fn with_much_to_send(mut self) -> Self {
        self.padding = MUCH;
        self
    }

    fn request(self, signal: Signal) -> Encoded {
        let mut request = match signal {
            Signal::Metrics => metrics().0,
            Signal::Traces => traces().0,
            Signal::Logs => logs(),
        };
        if self.padding > 0 {
            request.body = vec![0; self.padding].into();
        }
        request
    }

    /// Expects that a receiver with this script is judged so, and everything counted, for each signal.
    async fn meets<S, F>(self, what: &str, expected: Verdict, script: S)
    where
        S: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.meets_any(what, &[expected], script).await;
    }

    /// The same, where it is chance how much of the answer can be read.
    async fn meets_any<S, F>(self, what: &str, expected: &[Verdict], script: S)
    where
        S: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        for signal in SIGNALS {
            let what = format!("{what}, {:?}, {signal:?}", self.protocol);
            let (listener, address) = listener().await;
            let receiver = Receiver::start(listener, Arc::clone(&script));
            let mut settings = settings(self.protocol, signal, address);
            settings.timeout = self.timeout;
            settings.compression = self.compression;
            let mut exporter = Exporter::new(Client::new(&settings).unwrap(), signal);
            let request = self.request(signal);
            // The first attempt is made whenever that is; the next one would come too late.
            let delivery = exporter.sender.deliver(&request, Instant::now()).await;
            let verdict = exporter.verdict();
            assert!(expected.contains(&verdict), "{what}: {verdict:?}");
            exporter.check_counts(&what, delivery, verdict, request.items);
            // It is there; the receiver may not have had its turn yet.
            while receiver.connections() == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(receiver.connections(), 1, "{what}");
        }
    }
}

/// Runs a script for each connection.
struct Receiver {
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    fn start<S, F>(listener: TcpListener, script: Arc<S>) -> Self
    where
        S: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(script(stream));
            }
        });
        Self {
            connections,
            accepting,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A client that remembers its last verdict.
struct Watched {
    client: Client,
    last: Arc<Mutex<Option<Verdict>>>,
}

impl Transport for Watched {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        let result = self.client.send(request).await;
        let verdict = match &result {
            Ok(accepted) => Ok(accepted.rejected),
            Err(error) => Err((error.failure, error.retry)),
        };
        *self.last.lock().unwrap() = Some(verdict);
        result
    }
}

/// One signal's way to its receiver, and what it counts.
struct Exporter {
    sender: Sender<Watched>,
    signal: Signal,
    counters: Arc<Counters>,
    stats: Arc<ExportStats>,
    last: Arc<Mutex<Option<Verdict>>>,
}

impl Exporter {
    fn new(client: Client, signal: Signal) -> Self {
        let (counters, stats) = (Arc::<Counters>::default(), Arc::<ExportStats>::default());
        let last = Arc::default();
        let watched = Watched {
            client,
            last: Arc::clone(&last),
        };
        let shutdown = Shutdown::new(CancellationToken::new(), PATIENCE);
        let sender = Sender::new(
            watched,
            signal,
            "hostile".to_owned(),
            Arc::clone(&counters),
            Arc::clone(&stats),
            Arc::new(shutdown),
        );
        Self {
            sender,
            signal,
            counters,
            stats,
            last,
        }
    }

    fn verdict(&self) -> Verdict {
        self.last.lock().unwrap().unwrap()
    }

    /// Failed items by failure, where there are any.
    fn failures(&self) -> Vec<(ExportFailure, u64)> {
        let stats = self.stats.signal(self.signal);
        let all = ExportFailure::ALL.iter();
        all.map(|failure| (*failure, stats.failures(*failure)))
            .filter(|(_, items)| *items > 0)
            .collect()
    }

    /// Accepted, rejected, repeated and discarded items.
    fn counts(&self) -> [u64; 4] {
        let stats = self.stats.signal(self.signal);
        [
            stats.items(),
            stats.rejected(),
            stats.retries(),
            self.counters.discards(Discard::ExportFailed)
                + self.counters.discards(Discard::ExportRejected),
        ]
    }

    /// After one attempt at so many items: each is accepted, refused, discarded, or left to whoever tries again.
    fn check_counts(&self, what: &str, delivery: Delivery, verdict: Verdict, items: u64) {
        let (ended, failures, counts) = match verdict {
            Ok(rejected) => {
                // A receiver can refuse more than it got.
                let rejected = rejected.min(items);
                let accepted = items - rejected;
                (Delivery::Done, vec![], [accepted, rejected, 0, rejected])
            }
            Err((failure, Retry::Never)) => {
                let ended = match failure {
                    ExportFailure::InvalidResponse => Delivery::Unclear,
                    _ => Delivery::Refused,
                };
                (ended, vec![(failure, items)], [0, 0, 0, items])
            }
            Err((failure, _)) => (Delivery::GaveUp, vec![(failure, items)], [0; 4]),
        };
        assert_eq!(delivery, ended, "{what}");
        assert_eq!(self.failures(), failures, "{what}");
        assert_eq!(self.counts(), counts, "{what}");
    }
}

/// Reads one request of either protocol, and waits for no other.
async fn read_request(protocol: Protocol, stream: &mut TcpStream) {
    match protocol {
        Protocol::Grpc => http2::read_request(stream).await,
        Protocol::HttpProtobuf => http::read_request(stream).await,
    }
}

/// Writes as much as the client takes.
async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    drop(stream.write_all(bytes).await);
}

/// Says no more, and reads until the client has gone, too.
async fn leave(mut stream: TcpStream) {
    drop(stream.shutdown().await);
    drain(stream).await;
}

/// Stays, and says nothing.
async fn drain(mut stream: TcpStream) {
    let mut scratch = [0; 4096];
    while stream.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
}

/// Counts the scripts that have ended.
#[derive(Clone)]
struct Ends(Arc<Semaphore>);

impl Ends {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn add(&self) {
        self.0.add_permits(1);
    }

    /// Waits for those of one attempt for each signal.
    async fn all(&self) {
        let count = u32::try_from(SIGNALS.len()).unwrap();
        self.0.acquire_many(count).await.unwrap().forget();
    }
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Ends the connection as a crash does.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
