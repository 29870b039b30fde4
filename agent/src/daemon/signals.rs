//! The signals that end the daemon, or the resolver.

use std::future::Future;
use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGTERM or SIGINT; and at SIGHUP from a terminal, which means that it was closed. Elsewhere
/// SIGHUP is only noted: nothing is reloaded in this version.
pub(crate) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let at_terminal = io::stdout().is_terminal();
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                Some(()) = hang_up.recv() => {
                    if at_terminal {
                        return;
                    }
                    tracing::warn!("SIGHUP: the configuration is read at start only; restart the agent to change it");
                }
            }
        }
    })
}
