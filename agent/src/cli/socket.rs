//! Talking to the running daemon over its Unix socket.

use std::io;
use std::path::Path;

use futures::Stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// No daemon runs here.
    #[error("no daemon listens")]
    Absent(#[source] io::Error),
    /// The socket is not ours to open.
    #[error("not permitted to open the daemon's socket")]
    Denied(#[source] io::Error),
    /// The conversation broke off.
    #[error("the daemon did not answer")]
    Http(#[from] hyper::Error),
    /// The request was not understood.
    #[error("the daemon answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
}

/// The body of the answer to `GET path`.
pub(super) async fn get(socket: &Path, path: &str) -> Result<Incoming, SocketError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SocketError::Denied(error),
            _ => SocketError::Absent(error),
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "wellhead")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| SocketError::Refused {
        status: StatusCode::BAD_REQUEST,
        message: error.to_string(),
    })?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body();
    if status.is_success() {
        return Ok(body);
    }
    let message = body.collect().await?.to_bytes();
    Err(SocketError::Refused {
        status,
        message: String::from_utf8_lossy(&message).trim().to_owned(),
    })
}

/// The chunks of a body as they come.
pub(super) fn chunks(body: Incoming) -> impl Stream<Item = Result<Bytes, hyper::Error>> + Unpin {
    use futures::StreamExt as _;
    BodyStream::new(body).filter_map(|frame| {
        std::future::ready(frame.map(|frame| frame.into_data().ok()).transpose())
    })
}
