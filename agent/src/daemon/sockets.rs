//! The Unix socket on which the daemon talks to the other commands.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::Router;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::DaemonError;
use crate::admin::{self, Limits};
use crate::supervised::Tasks;

/// Where the socket is.
pub fn socket_path(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("wellhead.sock")
}

/// The bound socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Sockets {
    listener: UnixListener,
    path: PathBuf,
}

impl Sockets {
    /// Binds the socket. To be called with the lock held: a file that is there is then a dead agent's.
    pub(super) fn bind(runtime_directory: &Path) -> Result<Self, DaemonError> {
        let path = socket_path(runtime_directory);
        let failed = |source| DaemonError::Socket {
            path: path.clone(),
            source,
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // Events carry arguments of processes: for root's eyes.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Serves until `stop`; then removes the socket, while streams of events go on to the last one.
    pub(super) fn serve(self, routes: Router, tasks: &Tasks, stop: &CancellationToken) {
        let Self { listener, path } = self;
        let serving = admin::serve(listener, routes, Limits::UNIX_SOCKET, None, stop.clone());
        tasks.spawn("socket", serving);
        let stop = stop.clone();
        tasks.spawn("socket's file", async move {
            stop.cancelled().await;
            // Left behind it would only be removed by the next start.
            drop(fs::remove_file(path));
        });
    }
}
