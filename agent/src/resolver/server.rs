//! Serving gRPC, with or without TLS.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

use super::board::Board;
use super::service::ResolverService;

/// How often a connection is asked whether it is alive, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Requests on one connection at once; an agent has one.
const STREAMS: u32 = 4;

/// Bytes a client may send ahead on a connection; it has one small request.
const WINDOW: u32 = 64 << 10;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long clients may take to notice that the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// Serves what is on the board until `stop`.
///
/// # Errors
/// The TLS configuration cannot be used.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<ServerTlsConfig>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (interval, patience) = KEEP_ALIVE;
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(interval))
        .http2_keepalive_timeout(Some(patience))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS);
    if let Some(tls) = tls {
        server = server.tls_config(tls.timeout(HANDSHAKE))?;
    }
    let service = ResolverService::new(board, stop.clone());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stopped = stop.clone();
    let serving = server.serve_with_incoming_shutdown(service, incoming, stopped.cancelled_owned());
    let cut_off = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving => result,
        () = cut_off => Ok(()),
    }
}
