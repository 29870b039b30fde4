//! Serving HTTP/1.1 so that no client, however slow or rude, holds more than its share.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::stalling::Stalling;

/// The size of a request line and its headers; a scraper's are a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How much a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the listener's backlog.
    pub connections: usize,
    /// Time for the request's head to arrive.
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
/// and a scrape is rare enough to open its own.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await.0)
        };
        let (permit, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let connection = connection::<L>(stream, router.clone(), limits, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::debug!("HTTP requests under way were cut off");
    }
}

async fn connection<L: Listener>(
    stream: L::Io,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let stream = Stalling::new(stream, limits.stall.unwrap_or(Duration::MAX));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut deadline = pin!(async {
        match limits.whole {
            Some(whole) => sleep(whole).await,
            None => pending().await,
        }
    });
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "an HTTP connection ended badly");
                }
                return;
            }
            () = &mut deadline => {
                tracing::debug!("an HTTP client took too long");
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
