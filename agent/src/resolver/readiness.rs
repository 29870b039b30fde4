//! Whether agents should be sent here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::admin::Readiness;

/// How often it is looked whether the watches stand.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long one may be without the API server before another replica is the better one to ask. Agents that are here stay: if there is
/// none, what is known is worth more than nothing.
const PATIENCE: Duration = Duration::from_mins(5);

/// Ready once everything was `listed`, as an agent that asked before would be told to forget what is missing; and as long as the watches
/// are `connected` now and then.
pub(super) async fn follow(
    mut listed: watch::Receiver<bool>,
    connected: impl Fn() -> bool,
    readiness: watch::Sender<Readiness>,
) {
    if listed.wait_for(|listed| *listed).await.is_err() {
        return;
    }
    let mut last = Instant::now();
    loop {
        if connected() {
            last = Instant::now();
        }
        let is_ready = last.elapsed() < PATIENCE;
        let has_changed = readiness.send_if_modified(|readiness| {
            std::mem::replace(&mut readiness.kubernetes_listed, is_ready) != is_ready
        });
        if has_changed && !is_ready {
            let minutes = PATIENCE.as_secs() / 60;
            tracing::warn!(minutes, "not ready: a watch has failed for so long");
        }
        tokio::select! {
            () = sleep(INTERVAL) => {}
            () = readiness.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watches_that_fail_for_long() {
        let (listed, receiver) = watch::channel(false);
        let connected = Arc::new(AtomicBool::new(true));
        let (sender, ready) = watch::channel(Readiness {
            probes_attached: true,
            exporters_configured: true,
            kubernetes_listed: false,
        });
        let watches = Arc::clone(&connected);
        let is_connected = move || watches.load(Ordering::Relaxed);
        tokio::spawn(follow(receiver, is_connected, sender));
        let ready_after = async |time: Duration| {
            sleep(time).await;
            ready.borrow().kubernetes_listed
        };
        assert!(!ready_after(PATIENCE * 2).await);
        listed.send_replace(true);
        assert!(ready_after(INTERVAL).await);
        connected.store(false, Ordering::Relaxed);
        assert!(ready_after(PATIENCE.saturating_sub(INTERVAL)).await);
        assert!(!ready_after(INTERVAL * 2).await);
        connected.store(true, Ordering::Relaxed);
        assert!(ready_after(INTERVAL).await);
    }
}
