//! Brings one request to its receiver: attempts, waits, and what each outcome counts as.

use std::sync::Arc;

use tokio::time::{self, Instant};

use super::{
    backoff::Backoff,
    health::Health,
    outcome::{Accepted, Retry, SendError},
    shutdown::Shutdown,
    transport::{Encoded, Transport},
    volume,
};
use crate::counters::{Counters, Discard, ExportFailure, ExportStats, Signal, SignalStats};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The receiver has it, or as much of it as it wants.
    Done,
    /// The receiver will never take it; counted as discarded.
    Refused,
    /// The receiver took it, for all that its answer says that can be read: it may have it or not, and is not asked again.
    /// Counted as discarded.
    Unclear,
    /// There was no time for another attempt. Nothing is counted: the caller knows whether anything is lost.
    GaveUp,
}

/// One signal's way to its receiver. One request at a time.
pub(super) struct Sender<T> {
    transport: T,
    signal: Signal,
    counters: Arc<Counters>,
    stats: Arc<ExportStats>,
    shutdown: Arc<Shutdown>,
    health: Health,
    backoff: Backoff,
    /// No attempt before this, asked for by the receiver or by backoff. Outlives a request given up.
    not_before: Option<Instant>,
    hurried: bool,
}

impl<T: Transport> Sender<T> {
    /// `receiver` is what the log calls it.
    pub(super) fn new(
        transport: T,
        signal: Signal,
        receiver: String,
        counters: Arc<Counters>,
        stats: Arc<ExportStats>,
        shutdown: Arc<Shutdown>,
    ) -> Self {
        Self {
            transport,
            signal,
            counters,
            stats,
            shutdown,
            health: Health::new(signal, receiver),
            backoff: Backoff::default(),
            not_before: None,
            hurried: false,
        }
    }

    /// Sends a request until it is accepted or refused, with no attempt begun at `until` or later.
    pub(super) async fn deliver(&mut self, request: &Encoded, until: Instant) -> Delivery {
        let mut first = true;
        loop {
            if !self.wait_for_turn(until).await {
                return Delivery::GaveUp;
            }
            if !first {
                self.stats().add_retries(request.items);
            }
            first = false;
            match self.transport.send(request).await {
                Ok(accepted) => {
                    self.succeeded(request, &accepted);
                    return Delivery::Done;
                }
                Err(error) => {
                    self.failed(request, &error);
                    if error.retry == Retry::Never {
                        self.counters.discard(Discard::ExportFailed, request.items);
                        return match error.failure {
                            ExportFailure::InvalidResponse => Delivery::Unclear,
                            _ => Delivery::Refused,
                        };
                    }
                }
            }
        }
    }

    /// Waits until the receiver may be asked again; `false` if that is not before `until`. A shutdown ends the wait
    /// once, because there is no time left to be patient.
    pub(super) async fn wait_for_turn(&mut self, until: Instant) -> bool {
        if let Some(turn) = self.not_before {
            if self.hurried {
                if turn >= until {
                    return false;
                }
                time::sleep_until(turn).await;
            } else {
                tokio::select! {
                    biased;
                    _ = self.shutdown.requested() => {}
                    () = time::sleep_until(turn.min(until)) => if turn >= until { return false },
                }
            }
        }
        if self.shutdown.is_requested() && !self.hurried {
            self.hurried = true;
            self.backoff.reset();
        }
        self.not_before = None;
        true
    }

    fn succeeded(&mut self, request: &Encoded, accepted: &Accepted) {
        let rejected = accepted.rejected.min(request.items);
        self.stats().add_items(request.items - rejected);
        for (whose, volume) in volume::of(&request.body) {
            self.stats.volumes().add(self.signal, whose, volume);
        }
        if rejected > 0 {
            self.stats().add_rejected(rejected);
            self.counters.discard(Discard::ExportRejected, rejected);
        }
        self.backoff.reset();
        self.health.succeeded(accepted);
    }

    fn failed(&mut self, request: &Encoded, error: &SendError) {
        self.stats().add_failures(error.failure, request.items);
        self.health.failed(error);
        let backoff = match error.retry {
            Retry::Never => return,
            Retry::Backoff => self.backoff.next(fastrand::f64()),
            // The receiver's delay, and then some, so that its clients do not all return at once.
            Retry::After(delay) => delay + self.backoff.next(fastrand::f64()),
        };
        self.not_before = Some(Instant::now() + backoff);
    }

    fn stats(&self) -> &SignalStats {
        self.stats.signal(self.signal)
    }
}
