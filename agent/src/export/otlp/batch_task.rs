//! Sends what is exported once, in batches: spans and events.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, Instant};
use tracing::{Instrument as _, field::Empty};

use super::{
    backlog::{Backlog, Lost},
    delivery::{Delivery, Sender},
    grouped,
    queue::{Finished, Queue},
    shutdown::Shutdown,
    transport::{Encoded, Transport},
};
use crate::counters::{Counters, Discard};
use crate::own_span::own_span;

/// What one request may weigh. It is what is sent again after a failure, and what makes room in a full backlog.
const MAX_REQUEST: usize = 512 * 1024;

/// Longer than anything is tried.
const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// Exports items of one signal until shutdown. While a request is tried, new items are encoded behind it.
pub(super) struct BatchTask<T, I> {
    pub(super) sender: Sender<T>,
    pub(super) waiting: Waiting<I>,
    pub(super) shutdown: Arc<Shutdown>,
}

/// Items on their way to being sent.
pub(super) struct Waiting<I> {
    queue: Queue<I>,
    backlog: Backlog,
    interval: Duration,
    counters: Arc<Counters>,
    /// Whether nothing was left out since shutdown was requested; `None` before.
    complete: Option<bool>,
}

impl<T: Transport, I: Finished> BatchTask<T, I> {
    /// Returns whether everything that was queued when shutdown was requested has been delivered.
    pub(super) async fn run(mut self) -> bool {
        let shutdown = Arc::clone(&self.shutdown);
        let finished = tokio::select! {
            biased;
            () = shutdown.expired() => false,
            () = self.work() => true,
        };
        self.waiting.finish() && finished
    }

    async fn work(&mut self) {
        let Self {
            sender,
            waiting,
            shutdown,
        } = self;
        loop {
            if shutdown.is_requested() {
                waiting.take_in_all();
            }
            let Some(request) = waiting.next() else {
                if shutdown.is_requested() {
                    return;
                }
                tokio::select! {
                    biased;
                    _ = shutdown.requested() => {}
                    () = waiting.due() => waiting.take_in(),
                }
                continue;
            };
            let until = Instant::now() + NO_LIMIT;
            let (signal, items) = (request.signal.as_str(), request.items);
            let span = own_span!(
                "wellhead.export",
                wellhead.signal = signal,
                wellhead.items = items,
                otel.status_code = Empty
            );
            let delivery = sender.deliver(&request, until).instrument(span.clone());
            tokio::pin!(delivery);
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut delivery => break outcome,
                    () = waiting.due() => waiting.take_in(),
                }
            };
            if outcome != Delivery::Done {
                span.record("otel.status_code", "ERROR");
            }
            waiting.delivered(&request, outcome);
        }
    }
}

impl<I: Finished> Waiting<I> {
    /// Takes items from `queue`, and keeps their requests in `backlog`.
    pub(super) fn new(
        queue: Queue<I>,
        backlog: Backlog,
        interval: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            queue,
            backlog,
            interval,
            counters,
            complete: None,
        }
    }

    /// Returns when there is a batch, or when what there is has waited long enough.
    async fn due(&self) {
        tokio::select! {
            biased;
            () = self.queue.filled() => {}
            () = time::sleep(self.interval) => {}
        }
    }

    /// Encodes what is queued, but for the part of a batch that only begins to wait.
    fn take_in(&mut self) {
        loop {
            self.take_in_batch();
            if !self.queue.has_batch() {
                break;
            }
        }
        self.publish();
    }

    /// Encodes everything: it has no time to wait.
    fn take_in_all(&mut self) {
        self.complete.get_or_insert(true);
        while self.queue.len() > 0 {
            self.take_in_batch();
        }
        self.publish();
    }

    fn take_in_batch(&mut self) {
        let parts: Vec<_> = self.queue.take().iter().map(Finished::encode).collect();
        let grouped = grouped::requests(&parts, MAX_REQUEST);
        self.leave_out(Discard::ExportTooLarge, grouped.too_large);
        for request in grouped.requests {
            let lost = self.backlog.push(request);
            self.lose(lost);
        }
    }

    fn next(&mut self) -> Option<Encoded> {
        let (request, lost) = self.backlog.next();
        self.lose(lost);
        self.publish();
        let request = request?;
        Some(Encoded {
            signal: I::SIGNAL,
            body: request.body,
            items: request.items,
        })
    }

    fn delivered(&mut self, request: &Encoded, outcome: Delivery) {
        self.backlog.settle();
        match outcome {
            Delivery::Done => {}
            // Is counted already.
            Delivery::Refused | Delivery::Unclear => self.complete = self.complete.map(|_| false),
            Delivery::GaveUp => self.leave_out(Discard::ExportFailed, request.items),
        }
        self.publish();
    }

    /// Leaves what there was no time for to the next agent, or counts it. Returns whether everything since the shutdown was delivered.
    fn finish(mut self) -> bool {
        self.take_in_all();
        let is_left = self.backlog.items() > 0;
        let backlog = std::mem::replace(&mut self.backlog, Backlog::new(0, None));
        self.leave_out(Discard::ExportFailed, backlog.close());
        self.complete == Some(true) && !is_left
    }

    fn lose(&mut self, Lost { no_room, torn }: Lost) {
        self.leave_out(I::NO_ROOM, no_room);
        self.leave_out(Discard::ExportSpillTorn, torn);
    }

    fn leave_out(&mut self, why: Discard, items: u64) {
        if items > 0 {
            self.counters.discard(why, items);
            self.complete = self.complete.map(|_| false);
        }
    }

    fn publish(&self) {
        self.queue.wait_beyond(self.backlog.items());
    }
}
