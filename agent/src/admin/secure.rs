//! TLS for the connections of the HTTP listener.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::access::Client;

/// Secures connections with the newest certificate there is.
#[derive(Clone, Debug)]
pub struct Secure(watch::Receiver<Arc<ServerConfig>>);

impl Secure {
    pub(super) const fn new(current: watch::Receiver<Arc<ServerConfig>>) -> Self {
        Self(current)
    }

    /// The handshake, which takes as long as the client likes.
    pub(super) async fn greet<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Client)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.0.borrow());
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let client = Client {
            certified: certificates.is_some_and(|chain| !chain.is_empty()),
        };
        Ok((stream, client))
    }
}
