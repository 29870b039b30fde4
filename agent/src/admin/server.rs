//! Serving HTTP/1.1 so that no client, however slow or rude, holds more than its share.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::access::Client;
use super::guests::{Asked, Guests};
use super::secure::Secure;
use super::stalling::Stalling;

/// The size of a request line and its headers; a scraper's are a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How much a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. Where there are more, those that have asked for nothing give way; others wait in the listener's backlog.
    pub connections: usize,
    /// Time for a TLS handshake, and then for the request's head to arrive.
    pub head: Duration,
    /// Time in which a client has to take something of what is written to it; `None` if it may leave it be.
    pub stall: Option<Duration>,
    /// Time for the whole connection, which carries one request; `None` for streams without an end.
    pub whole: Option<Duration>,
}

impl Limits {
    /// For the HTTP listener. Prometheus gives up a scrape after 10 s by default.
    pub const HTTP: Self = Self {
        connections: 64,
        head: Duration::from_secs(5),
        stall: Some(Duration::from_secs(5)),
        whole: Some(Duration::from_secs(30)),
    };
    /// For the Unix socket, where subscribers of events stay as long as they like.
    pub const UNIX_SOCKET: Self = Self {
        connections: 16,
        head: Duration::from_secs(5),
        stall: None,
        whole: None,
    };
}

/// How long requests under way may go on once the agent stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until the token is cancelled; then stops accepting and gives requests under way two seconds.
///
/// One request per connection: a connection without a second request needs no idle time-out of its own,
/// and a scrape is rare enough to open its own. With `tls`, connections are secured, or else ended.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    limits: Limits,
    tls: Option<Secure>,
    stop: CancellationToken,
) {
    let mut guests = Guests::new(limits.connections);
    let host = Host {
        router,
        limits,
        tls,
        stop,
    };
    loop {
        let accepted = async {
            let stream = listener.accept().await.0;
            guests.make_room().await;
            stream
        };
        let stream = tokio::select! {
            stream = accepted => stream,
            () = host.stop.cancelled() => break,
        };
        let asked = Asked::default();
        guests.receive(asked.clone(), host.clone().receive(stream, asked));
    }
    drop(listener);
    if timeout(DRAIN, guests.left()).await.is_err() {
        tracing::debug!("HTTP requests under way were cut off");
    }
}

/// What every connection meets.
#[derive(Clone)]
struct Host {
    router: Router,
    limits: Limits,
    tls: Option<Secure>,
    stop: CancellationToken,
}

impl Host {
    /// Has a connection for as long as it may last.
    async fn receive(self, stream: impl Stream, asked: Asked) {
        let stream = Stalling::new(stream, self.limits.stall.unwrap_or(Duration::MAX));
        let whole = self.limits.whole;
        let visit = async {
            match &self.tls {
                None => self.converse(stream, Client::default(), asked).await,
                Some(tls) => {
                    if let Some((stream, client)) = self.greet(tls, stream).await {
                        self.converse(stream, client, asked).await;
                    }
                }
            }
        };
        match whole {
            None => visit.await,
            Some(whole) => {
                if timeout(whole, visit).await.is_err() {
                    tracing::debug!("an HTTP client took too long");
                }
            }
        }
    }

    /// A handshake may take as long as the head of a request.
    async fn greet<S: Stream>(&self, tls: &Secure, stream: S) -> Option<(TlsStream<S>, Client)> {
        let greeted = tokio::select! {
            greeted = timeout(self.limits.head, tls.greet(stream)) => greeted,
            () = self.stop.cancelled() => return None,
        };
        match greeted {
            Ok(Ok(greeted)) => return Some(greeted),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
        None
    }

    /// Answers one request.
    async fn converse(&self, stream: impl Stream, client: Client, asked: Asked) {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            asked.note();
            request.extensions_mut().insert(client);
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .header_read_timeout(self.limits.head)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "an HTTP connection ended badly");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// What a connection is read from and written to.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}
