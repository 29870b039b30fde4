//! The host's own addresses, looked at from time to time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::kernel::host_addresses;

/// Interfaces of hosts seldom change; those of pods are not read here.
const PAUSE: Duration = Duration::from_secs(30);

/// Reads in the background, one reading at a time.
#[derive(Debug)]
pub(super) struct HostAddresses {
    next: Interval,
    running: Option<JoinHandle<std::io::Result<BTreeSet<IpAddr>>>>,
    known: BTreeSet<IpAddr>,
}

impl HostAddresses {
    /// Starts the first reading. Needs a running tokio runtime.
    pub(super) fn watch() -> Self {
        let mut next = interval(PAUSE);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            next,
            running: None,
            known: BTreeSet::new(),
        }
    }

    /// Waits until they are others than before.
    pub(super) async fn changed(&mut self) -> BTreeSet<IpAddr> {
        loop {
            if self.running.is_none() {
                self.next.tick().await;
            }
            let running = self
                .running
                .get_or_insert_with(|| spawn_blocking(host_addresses));
            let read = running.await;
            self.running = None;
            match read {
                Ok(Ok(found)) if found != self.known => {
                    self.known.clone_from(&found);
                    return found;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the host's own addresses are not known");
                }
                // The same as before, or the runtime ends.
                _ => {}
            }
        }
    }
}
