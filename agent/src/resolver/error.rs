//! What keeps the resolver from starting, or ends it.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::admin::AccessError;
use crate::identity::kube::KubeError;
use crate::supervised::Died;
use crate::tls::TlsError;

/// What keeps the resolver from starting, or ends it.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// Files of the TLS settings.
    #[error("resolver.tls")]
    Files(#[source] TlsError),
    /// Who may read `/metrics`.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// gRPC cannot be served with them.
    #[error("resolver.tls cannot be used")]
    Tls(#[source] tonic::transport::Error),
    /// An address cannot be had.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Where it was configured.
        key: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There is no cluster to watch.
    #[error("Kubernetes is required")]
    Kubernetes(#[source] KubeError),
    /// The signals that stop the resolver cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// It is of no use without that task.
    #[error(transparent)]
    Died(#[from] Died),
}
