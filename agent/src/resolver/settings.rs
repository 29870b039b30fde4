//! From the configuration to what the resolver wants to know.

use std::net::SocketAddr;

use crate::admin::AccessSettings;
use crate::config::Config;
use crate::tls::ServerFiles;

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
    pub tls: Option<ServerFiles>,
    /// Who may read `/metrics`.
    pub access: AccessSettings,
    /// Objects of each kind that are known at most.
    pub max_objects: usize,
}

impl ResolverSettings {
    /// Derives them.
    pub fn new(config: &Config) -> Self {
        let resolver = &config.resolver;
        let tls = resolver.tls.clone();
        let objects = config.memory_budget.bytes() / OBJECT_BYTES;
        Self {
            listen: resolver.listen.get(),
            http_listen: resolver.http_listen.get(),
            tls: ServerFiles::of(tls.cert_file, tls.key_file, tls.client_ca_file),
            access: AccessSettings::new(&config.prometheus),
            max_objects: usize::try_from(objects).unwrap_or(usize::MAX),
        }
    }
}
