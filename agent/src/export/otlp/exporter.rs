//! Starts the exporter's tasks and waits for their end.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    delivery::Sender,
    metrics_task::MetricsTask,
    queue::SpanQueue,
    settings::{OtlpSettings, SignalSettings},
    shutdown::Shutdown,
    spans_task::SpansTask,
    transport::{Client, TransportError},
};
use crate::{
    counters::{Counters, ExportStats, Signal},
    telemetry::handle::SnapshotHandle,
};

/// Why the exporter cannot start. An unreachable receiver is no reason.
#[derive(Debug, Error)]
#[error("cannot set up the export of {}", signal.as_str())]
pub struct OtlpError {
    /// Of which signal.
    signal: Signal,
    source: TransportError,
}

/// The running exporter.
#[derive(Debug)]
pub struct OtlpExporter {
    spans: Option<SpanQueue>,
    tasks: Vec<(Signal, JoinHandle<bool>)>,
}

impl OtlpExporter {
    /// Starts one task per signal that has settings. Needs a running tokio runtime.
    ///
    /// When `stop` is cancelled, each task sends what there is (a last reading, all queued spans) within `grace` and
    /// ends. Whoever answers `snapshots` must run until then.
    pub fn start(
        settings: &OtlpSettings,
        snapshots: SnapshotHandle,
        counters: &Arc<Counters>,
        stats: &Arc<ExportStats>,
        stop: CancellationToken,
        grace: Duration,
    ) -> Result<Self, OtlpError> {
        let shutdown = Arc::new(Shutdown::new(stop, grace));
        let sender = |signal, settings: &SignalSettings| {
            let client = Client::new(settings).map_err(|source| OtlpError { signal, source })?;
            let receiver = settings.endpoint.authority();
            let receiver = receiver.map(ToString::to_string).unwrap_or_default();
            let (counters, stats) = (Arc::clone(counters), Arc::clone(stats));
            Ok(Sender::new(
                client,
                signal,
                receiver,
                counters,
                stats,
                Arc::clone(&shutdown),
            ))
        };
        // Both clients first, so that a failure leaves no task behind.
        let metrics = settings
            .metrics
            .as_ref()
            .map(|s| sender(Signal::Metrics, s))
            .transpose()?;
        let traces = settings
            .traces
            .as_ref()
            .map(|s| sender(Signal::Traces, s))
            .transpose()?;

        let mut exporter = Self {
            spans: None,
            tasks: Vec::new(),
        };
        if let (Some(sender), Some(settings)) = (metrics, &settings.metrics) {
            let task = MetricsTask {
                sender,
                snapshots,
                interval: settings.interval,
                counters: Arc::clone(counters),
                shutdown: Arc::clone(&shutdown),
            };
            exporter
                .tasks
                .push((Signal::Metrics, tokio::spawn(task.run())));
        }
        if let (Some(sender), Some(settings)) = (traces, &settings.traces) {
            let queue =
                SpanQueue::new(settings.queue_size, Arc::clone(counters), Arc::clone(stats));
            exporter.spans = Some(queue.clone());
            let task = SpansTask {
                sender,
                queue,
                interval: settings.interval,
                counters: Arc::clone(counters),
                shutdown,
                in_flight: 0,
            };
            exporter
                .tasks
                .push((Signal::Traces, tokio::spawn(task.run())));
        }
        Ok(exporter)
    }

    /// Where finished spans go; `None` if traces are not exported.
    pub fn spans(&self) -> Option<SpanQueue> {
        self.spans.clone()
    }

    /// Waits until all tasks have ended, which they do at the latest `grace` after `stop`. Returns whether everything
    /// was delivered: the last reading as a whole, and every span that was queued.
    pub async fn finished(self) -> bool {
        let mut complete = true;
        for (signal, task) in self.tasks {
            complete &= task.await.unwrap_or_else(|error| {
                error!(
                    signal = signal.as_str(),
                    "the OTLP exporter's task died: {error}"
                );
                false
            });
        }
        complete
    }
}
