//! Where a resolver is, and how it is trusted.

use std::time::Duration;

use http::Uri;
use tonic::transport::Endpoint;

use super::error::RemoteError;
use crate::tls::ClientFiles;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How often a connection that should be alive is asked whether it is, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Bytes that may be under way: a server keeps no more than that for a client that does not read.
const WINDOW: u32 = 256 << 10;

/// A resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// `http://host:port`, or `https`.
    pub url: Uri,
    /// For `https`.
    pub tls: ClientFiles,
    /// This node, for the resolver's log.
    pub node_name: String,
    /// Objects of all kinds that are told of at most.
    pub max_objects: usize,
}

impl RemoteSettings {
    /// Whether TLS is spoken.
    pub(crate) fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// An endpoint to connect to. Files are read each time, so that certificates may be replaced.
    pub(super) fn endpoint(&self) -> Result<Endpoint, RemoteError> {
        let agent = concat!("wellhead/", env!("CARGO_PKG_VERSION"));
        let (interval, timeout) = KEEP_ALIVE;
        let endpoint = Endpoint::new(self.url.clone())
            .and_then(|endpoint| endpoint.user_agent(agent))
            .map_err(RemoteError::Setup)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        if !self.is_secure() {
            return Ok(endpoint);
        }
        let tls = self.tls.tonic()?;
        endpoint.tls_config(tls).map_err(RemoteError::Setup)
    }
}
