//! From the configuration to what the resolver wants to know.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::error::ResolverError;
use crate::config::Config;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bytes of the budget for each object: in the table, as known to its watch, in snapshots and in the log.
const OBJECT_BYTES: u64 = 512;

/// Settings of the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSettings {
    /// Where agents ask.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub http_listen: SocketAddr,
    /// `None`: without TLS.
    pub tls: Option<ServerTls>,
    /// Objects of each kind that are known at most.
    pub max_objects: usize,
}

/// Files to speak TLS with. They are read when the resolver starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate and its key.
    pub identity: (PathBuf, PathBuf),
    /// The authorities that must have signed agents' certificates; `None`: agents need none.
    pub client_ca_file: Option<PathBuf>,
}

impl ResolverSettings {
    /// Derives them.
    pub fn new(config: &Config) -> Self {
        let resolver = &config.resolver;
        let identity = resolver
            .tls
            .cert_file
            .clone()
            .zip(resolver.tls.key_file.clone());
        let objects = config.memory_budget.bytes() / OBJECT_BYTES;
        Self {
            listen: resolver.listen.get(),
            http_listen: resolver.http_listen.get(),
            tls: identity.map(|identity| ServerTls {
                identity,
                client_ca_file: resolver.tls.client_ca_file.clone(),
            }),
            max_objects: usize::try_from(objects).unwrap_or(usize::MAX),
        }
    }
}

impl ServerTls {
    /// Reads the files.
    pub(super) fn load(&self) -> Result<ServerTlsConfig, ResolverError> {
        let (certificate, key) = &self.identity;
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        let mut tls = ServerTlsConfig::new().timeout(HANDSHAKE).identity(identity);
        if let Some(path) = &self.client_ca_file {
            tls = tls.client_ca_root(Certificate::from_pem(read(path)?));
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ResolverError> {
    fs::read(path).map_err(|source| ResolverError::File {
        path: path.to_owned(),
        source,
    })
}
