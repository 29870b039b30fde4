//! The signals that end the daemon, or the resolver.

use std::future::Future;
use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What SIGHUP means to a process that no terminal started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// Somebody else takes notice: the configuration is read again.
    Reloads,
    /// It is only noted.
    Noted,
}

/// Resolves at the first SIGTERM or SIGINT; and at SIGHUP from a terminal, which means that it was closed.
pub(crate) fn stop(hang_up_means: HangUp) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = hang_ups()?;
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
                    if hang_up_means == HangUp::Noted {
                        tracing::warn!("SIGHUP: the resolver reads its configuration at start only; restart it to change it");
                    }
                }
            }
        }
    })
}

/// Every SIGHUP from now on.
pub(super) fn hang_ups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
