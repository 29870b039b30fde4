//! Starts the exporter's tasks and waits for their end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    backlog::Backlog,
    batch_task::{BatchTask, Waiting},
    delivery::Sender,
    ledger::Ledger,
    metrics_task::MetricsTask,
    queue::{Finished, Queue},
    renewed::Renewed,
    settings::{OtlpSettings, SignalSettings},
    shutdown::Shutdown,
    size::MAX_REQUEST,
    transport::TransportError,
};
use crate::{
    counters::{Counters, ExportStats, Signal},
    supervised::Tasks,
    telemetry::{handle::SnapshotHandle, live::OwnedEvent, span::FinishedSpan},
};

/// Why the exporter cannot start. An unreachable receiver is no reason.
#[derive(Debug, Error)]
#[error("cannot set up the export of {}", signal.as_str())]
pub struct OtlpError {
    /// Of which signal.
    signal: Signal,
    source: TransportError,
}

/// Where is counted what becomes of telemetry, and when its export ends.
pub(super) type About<'a> = (&'a Arc<Counters>, &'a Arc<ExportStats>, &'a Arc<Shutdown>);

/// What sends a signal to its receiver.
pub(super) fn sender(
    signal: Signal,
    settings: &SignalSettings,
    (counters, stats, shutdown): About<'_>,
) -> Result<Sender<Renewed>, OtlpError> {
    let client = Renewed::new(settings).map_err(|source| OtlpError { signal, source })?;
    let receiver = settings.endpoint.authority();
    let receiver = receiver.map(ToString::to_string).unwrap_or_default();
    Ok(Sender::new(
        client,
        signal,
        receiver,
        Arc::clone(counters),
        Arc::clone(stats),
        Arc::clone(shutdown),
    ))
}

/// Room for what the pipeline has just handed over, which comes on top of what waits encoded: a burst of a few thousand items.
const HANDED_OVER: usize = 1 << 20;

/// The running exporter.
#[derive(Debug)]
pub struct OtlpExporter {
    spans: Option<Queue<FinishedSpan>>,
    logs: Option<Queue<OwnedEvent>>,
    tasks: Vec<JoinHandle<Option<bool>>>,
}

impl OtlpExporter {
    /// Starts one task per signal that has settings. Needs a running tokio runtime.
    ///
    /// When `stop` is cancelled, each task sends what there is (a last reading, all queued spans and log records) within `grace` and
    /// ends. Whoever answers `snapshots` must run until then.
    pub fn start<'s>(
        settings: &'s OtlpSettings,
        snapshots: SnapshotHandle,
        counters: &Arc<Counters>,
        stats: &Arc<ExportStats>,
        stop: CancellationToken,
        grace: Duration,
        tasks: &Tasks,
    ) -> Result<Self, OtlpError> {
        let shutdown = Arc::new(Shutdown::new(stop, grace));
        let with_sender = |signal, settings: &'s Option<SignalSettings>| {
            let Some(settings) = settings else {
                return Ok(None);
            };
            let about = (counters, stats, &shutdown);
            Ok(Some((sender(signal, settings, about)?, settings)))
        };
        // All clients first, so that a failure leaves no task behind.
        let metrics = with_sender(Signal::Metrics, &settings.metrics)?;
        let traces = with_sender(Signal::Traces, &settings.traces)?;
        let logs = with_sender(Signal::Logs, &settings.logs)?;

        let mut exporter = Self {
            spans: None,
            logs: None,
            tasks: Vec::new(),
        };
        let temporality = settings.temporality;
        if let Some((sender, settings)) = metrics {
            let task = MetricsTask {
                sender,
                snapshots,
                interval: settings.interval,
                max_request: MAX_REQUEST,
                counters: Arc::clone(counters),
                stats: Arc::clone(stats),
                shutdown: Arc::clone(&shutdown),
                ledger: Arc::new(Mutex::new(Ledger::new(temporality))),
            };
            exporter
                .tasks
                .push(tasks.spawn(name_of(Signal::Metrics), task.run()));
        }
        let about = (counters, stats, &shutdown);
        exporter.spans = traces.map(|signal| exporter.spawn_batches(signal, about, tasks));
        exporter.logs = logs.map(|signal| exporter.spawn_batches(signal, about, tasks));
        Ok(exporter)
    }

    /// A task that sends what is put into the queue.
    fn spawn_batches<I: Finished>(
        &mut self,
        (sender, settings): (Sender<Renewed>, &SignalSettings),
        (counters, stats, shutdown): About<'_>,
        tasks: &Tasks,
    ) -> Queue<I> {
        let limit = settings.queue_size;
        let handed_over = HANDED_OVER.max(limit / 4);
        let queue = Queue::new(handed_over, Arc::clone(counters), Arc::clone(stats));
        let spill = settings.spill.as_ref();
        let spill = spill.and_then(|spill| spill.open(counters));
        let backlog = Backlog::new(limit, spill);
        let interval = settings.interval;
        let task = BatchTask {
            sender,
            waiting: Waiting::new(queue.clone(), backlog, interval, Arc::clone(counters)),
            shutdown: Arc::clone(shutdown),
        };
        let task = tasks.spawn(name_of(I::SIGNAL), task.run());
        self.tasks.push(task);
        queue
    }

    /// Where finished spans go; `None` if traces are not exported.
    pub fn spans(&self) -> Option<Queue<FinishedSpan>> {
        self.spans.clone()
    }

    /// Where events go; `None` if they are not exported.
    pub fn logs(&self) -> Option<Queue<OwnedEvent>> {
        self.logs.clone()
    }

    /// Waits until all tasks have ended, which they do at the latest `grace` after `stop`. Returns whether everything
    /// was delivered: the last reading as a whole, and every span and log record that was queued.
    pub async fn finished(self) -> bool {
        let mut complete = true;
        for task in self.tasks {
            complete &= matches!(task.await, Ok(Some(true)));
        }
        complete
    }
}

fn name_of(exporter: Signal) -> &'static str {
    match exporter {
        Signal::Metrics => "OTLP exporter of metrics",
        Signal::Traces => "OTLP exporter of traces",
        Signal::Logs => "OTLP exporter of logs",
    }
}
