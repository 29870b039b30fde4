//! Waking up when a ring fills faster than the timer empties it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::kernel::{Ring, Rings};

/// The rings' file descriptors: readable once a program found its ring filled past the mark.
pub(super) struct FillMarks {
    rings: [AsyncFd<OwnedFd>; 4],
}

impl FillMarks {
    pub(super) fn new(rings: &Rings) -> io::Result<Self> {
        let watch = |ring: &Ring| {
            let fd = ring.as_fd().try_clone_to_owned()?;
            // SAFETY: the descriptor is owned by the `AsyncFd` and so open until that is dropped.
            let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
            watched.map_err(io::Error::from)
        };
        let Rings {
            identity,
            process,
            network,
            payload,
        } = rings;
        Ok(Self {
            rings: [
                watch(identity)?,
                watch(process)?,
                watch(network)?,
                watch(payload)?,
            ],
        })
    }

    /// Waits until any ring passes its mark. The caller then drains them all.
    pub(super) async fn passed(&self) {
        let [identity, process, network, payload] = &self.rings;
        tokio::select! {
            () = readable(identity) => {}
            () = readable(process) => {}
            () = readable(network) => {}
            () = readable(payload) => {}
        }
    }
}

async fn readable(ring: &AsyncFd<OwnedFd>) {
    match ring.readable().await {
        // Only a wake-up that comes later is of interest: what is there now is drained next.
        Ok(mut ready) => ready.clear_ready(),
        // The runtime is shutting down; the timer is enough until it has.
        Err(_shutdown) => std::future::pending().await,
    }
}
