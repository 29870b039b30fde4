//! What keeps the daemon from starting, or ends it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::{LockError, SettingsError};
use crate::admin::AccessError;
use crate::export::otlp::OtlpError;
use crate::identity::kube::KubeError;
use crate::kernel::AttachError;
use crate::recording::RecordingError;
use crate::supervised::Died;

/// What keeps the daemon from starting, or ends it.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The configuration is well-formed and still cannot be used.
    #[error("bad configuration")]
    Settings(#[from] SettingsError),
    /// Who may read `/metrics` cannot be told.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Another agent runs here, or that cannot be told.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The address to serve on cannot be had.
    #[error("cannot listen on {address} (prometheus.listen)")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The socket for `wellhead events` and `doctor` cannot be made.
    #[error("cannot make the socket {}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing can be captured.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// `kubernetes.mode: required`, and it cannot be used.
    #[error("Kubernetes is required")]
    Kubernetes(#[source] KubeError),
    /// An exporter cannot be set up.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The signals that stop the daemon cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// The pipeline's threads cannot be started.
    #[error("cannot start the pipeline's threads")]
    Threads(#[source] io::Error),
    /// The rings cannot be watched.
    #[error("cannot watch the rings")]
    Rings(#[source] io::Error),
    /// A recording cannot be made or used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// It is of no use without that task; what there was has been exported.
    #[error(transparent)]
    Died(#[from] Died),
}
