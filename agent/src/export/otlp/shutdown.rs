//! When to stop, and how long stopping may take.

use std::{sync::OnceLock, time::Duration};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

/// Shared by the tasks of an exporter: one moment from which the grace counts.
#[derive(Debug)]
pub(super) struct Shutdown {
    stop: CancellationToken,
    grace: Duration,
    deadline: OnceLock<Instant>,
}

impl Shutdown {
    pub(super) const fn new(stop: CancellationToken, grace: Duration) -> Self {
        Self {
            stop,
            grace,
            deadline: OnceLock::new(),
        }
    }

    pub(super) fn is_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns once the exporter is to stop. Every task that waits for anything waits for this too.
    pub(super) async fn requested(&self) -> Instant {
        self.stop.cancelled().await;
        *self.deadline.get_or_init(|| Instant::now() + self.grace)
    }

    /// Returns once the grace has passed.
    pub(super) async fn expired(&self) {
        let deadline = self.requested().await;
        time::sleep_until(deadline).await;
    }
}
