//! Where a resolver is, and how it is trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::error::RemoteError;

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
    pub tls: RemoteTls,
    /// This node, for the resolver's log.
    pub node_name: String,
    /// Objects of all kinds that are told of at most.
    pub max_objects: usize,
}

/// How both ends trust each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteTls {
    /// PEM file of the authorities that may have signed the resolver's certificate; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the agent's own certificate and its key, if the resolver wants one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl RemoteSettings {
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
        if self.url.scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let mut tls = match &self.tls.ca_file {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.tls.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint.tls_config(tls).map_err(RemoteError::Setup)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RemoteError> {
    fs::read(path).map_err(|source| RemoteError::File {
        path: path.to_owned(),
        source,
    })
}
