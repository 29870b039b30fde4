//! Sends a reading of the series store every interval.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{self, Instant},
};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{
    delivery::{Delivery, Sender},
    ledger::Ledger,
    metrics::MetricRequests,
    settings::Temporality,
    shutdown::Shutdown,
    transport::{Encoded, Transport},
};
use crate::own_span::own_span;
use crate::{
    counters::{Counters, Discard, ExportStats, Signal},
    telemetry::{handle::SnapshotHandle, snapshot::Snapshot},
};

/// How long an export goes on after a request of it was answered, whatever the interval is: a receiver that takes one request now and
/// then gets the last of a reading too, and not the first of each.
const PROGRESS: Duration = Duration::from_mins(5);

/// Exports metrics until shutdown.
pub(super) struct MetricsTask<T> {
    pub(super) sender: Sender<T>,
    pub(super) snapshots: SnapshotHandle,
    pub(super) interval: Duration,
    /// The size of a request, in bytes.
    pub(super) max_request: usize,
    pub(super) counters: Arc<Counters>,
    pub(super) stats: Arc<ExportStats>,
    pub(super) shutdown: Arc<Shutdown>,
    /// Held for as long as a reading is gone through, and never by two at once but when shutdown cuts an export short.
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl<T: Transport> MetricsTask<T> {
    /// Returns whether the last reading, taken when shutdown was requested, was delivered as a whole.
    pub(super) async fn run(mut self) -> bool {
        let shutdown = Arc::clone(&self.shutdown);
        let mut next = Instant::now() + self.interval;
        loop {
            tokio::select! {
                biased;
                _ = shutdown.requested() => break,
                () = time::sleep_until(next) => {}
            }
            next = Instant::now() + self.interval;
            let cuts_short = !self.tells_once();
            let mut export = pin!(self.export(next));
            tokio::select! {
                biased;
                deadline = shutdown.requested() => {
                    if !cuts_short {
                        drop(time::timeout_at(deadline, export).await);
                    }
                    break;
                }
                _ = &mut export => {}
            }
        }
        let deadline = shutdown.requested().await;
        time::timeout_at(deadline, self.export(deadline))
            .await
            .unwrap_or(false)
    }

    /// Whether it matters that a receiver gets nothing twice, as far as that can be helped.
    fn tells_once(&self) -> bool {
        lock(&self.ledger).form().temporality != Temporality::Cumulative
    }

    /// Takes a reading and sends all of it, retrying until `until`, or for longer where part of it was taken. What is not sent by then is
    /// dropped without loss: the next reading says all that this one does. May be cut short anywhere.
    async fn export(&mut self, until: Instant) -> bool {
        // The reading should be fresh when it is sent.
        if !self.sender.wait_for_turn(until).await {
            return false;
        }
        let span = own_span!(
            "wellhead.export",
            wellhead.signal = "metrics",
            otel.status_code = Empty
        );
        let delivered = self.read_and_send(until).instrument(span.clone()).await;
        if !delivered {
            span.record("otel.status_code", "ERROR");
        }
        delivered
    }

    async fn read_and_send(&mut self, until: Instant) -> bool {
        let ends = lock(&self.ledger).ends().to_vec();
        let Some(reading) = self.snapshots.take_for_export(ends.clone()).await else {
            return false;
        };
        lock(&self.ledger).forget_ends(&ends);
        let ledger = Arc::clone(&self.ledger);
        let taken = spawn_blocking(move || Arc::new(lock(&ledger).take(reading)));
        let Ok(snapshot) = taken.await else {
            return false;
        };
        self.send(snapshot, until).await
    }

    async fn send(&mut self, snapshot: Arc<Snapshot>, mut until: Instant) -> bool {
        let form = {
            let mut ledger = lock(&self.ledger);
            ledger.told_silently(&snapshot);
            self.stats.set_ledger_bytes(ledger.bytes());
            ledger.form()
        };
        let mut requests = MetricRequests::new(Arc::clone(&snapshot), form, self.max_request);
        let mut delivered = true;
        while let Some(request) = requests.next() {
            let request = Encoded {
                signal: Signal::Metrics,
                body: request.body,
                items: request.items,
            };
            match self.sender.deliver(&request, until).await {
                outcome @ (Delivery::Done | Delivery::Unclear) => {
                    // A difference that the receiver may have must not be told twice.
                    let mut ledger = lock(&self.ledger);
                    requests.told().for_each(|told| ledger.told(told));
                    delivered &= outcome == Delivery::Done;
                }
                Delivery::Refused => delivered = false,
                Delivery::GaveUp => return false,
            }
            until = until.max(Instant::now() + PROGRESS);
        }
        if requests.too_large() > 0 {
            self.counters
                .discard(Discard::ExportTooLarge, requests.too_large());
        }
        if delivered {
            lock(&self.ledger).all_told(&snapshot);
        }
        delivered && requests.too_large() == 0
    }
}

/// The state is whole between any two statements that change it.
fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
