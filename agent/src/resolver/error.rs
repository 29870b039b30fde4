//! What keeps the resolver from starting.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::identity::kube::KubeError;

/// What keeps the resolver from starting.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// A file of the TLS settings.
    #[error("cannot read {} (resolver.tls)", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in those files.
    #[error("certificates, key and authorities do not go together (resolver.tls)")]
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
}
