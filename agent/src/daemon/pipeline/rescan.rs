//! Scans of the cgroup tree: one at start, and one whenever cgroup events were lost.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::causes::chain;
use crate::identity::scan::{self, ScanError, Scanned};
use crate::kernel::Clock;

/// Losing cgroup events over and over must not mean scanning over and over.
const PAUSE: Duration = Duration::from_secs(10);

/// A scan that is done.
#[derive(Debug)]
pub(super) struct Found {
    /// Boot clock when it began.
    pub(super) started_ns: u64,
    pub(super) scanned: Scanned,
}

/// Scans in the background, one at a time.
#[derive(Debug)]
pub(super) struct Rescan {
    limit: usize,
    running: Option<JoinHandle<Result<Found, ScanError>>>,
    earliest: Instant,
    /// Without a mounted hierarchy there is nothing to try again.
    possible: bool,
}

impl Rescan {
    /// Starts the first scan, of at most `limit` cgroups.
    pub(super) fn start(limit: usize) -> Self {
        Self {
            limit,
            running: Some(spawn_blocking(move || scan_cgroups(limit))),
            earliest: Instant::now() + PAUSE,
            possible: true,
        }
    }

    /// Starts another one, unless one runs or has only just run. Returns whether it did.
    pub(super) fn again(&mut self) -> bool {
        let now = Instant::now();
        if self.running.is_some() || !self.possible || now < self.earliest {
            return false;
        }
        let limit = self.limit;
        self.running = Some(spawn_blocking(move || scan_cgroups(limit)));
        self.earliest = now + PAUSE;
        true
    }

    /// Waits for the running scan; forever, if none runs.
    pub(super) async fn found(&mut self) -> Option<Found> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let result = running.await;
        self.running = None;
        match result {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                self.possible = !matches!(error, ScanError::NotMounted);
                tracing::warn!(
                    error = %chain(&error),
                    "what runs in cgroups older than the agent counts for the node"
                );
                None
            }
            Err(error) => {
                tracing::error!(%error, "the scan of the cgroup tree died");
                None
            }
        }
    }
}

fn scan_cgroups(limit: usize) -> Result<Found, ScanError> {
    let started_ns = Clock::boot_ns();
    let mount = scan::find_mount()?;
    let scanned = scan::scan(&mount.path, limit)?.finish();
    Ok(Found {
        started_ns,
        scanned,
    })
}
