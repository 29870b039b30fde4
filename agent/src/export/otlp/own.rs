//! The agent's own spans and log records. The OpenTelemetry SDK makes them and puts them into batches, on threads of its own and within
//! bounds; they are sent as all other telemetry is, to the same receivers. Sending them makes no spans.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::{
    logs::tonic::group_logs_by_resource_and_scope, trace::tonic::group_spans_by_resource_and_scope,
};
use opentelemetry_sdk::Resource as SdkResource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogConfig, BatchLogProcessor, LogBatch, LogExporter, SdkLoggerProvider,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanConfig, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::common::SCHEMA_URL;
use super::delivery::{Delivery, Sender};
use super::exporter::{OtlpError, sender};
use super::own_room::{Bounded, QUEUE, Room};
use super::renewed::Renewed;
use super::settings::SignalSettings;
use super::shutdown::Shutdown;
use super::transport::Encoded;
use crate::counters::{Counters, Discard, ExportStats, Signal};
use crate::identity::Resource;
use crate::supervised::Tasks;

/// Spans, or log records, of a batch at most.
const BATCH: usize = 128;

/// Batches that wait to be sent.
const BATCHES: usize = 8;

/// How long the SDK waits for a batch to fill.
const DELAY: Duration = Duration::from_secs(1);

/// How long the delivery of a batch is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the agent's own telemetry goes; `None` where it is not wanted.
#[derive(Clone, Debug, Default)]
pub struct OwnSettings {
    /// Spans.
    pub traces: Option<SignalSettings>,
    /// Log records.
    pub logs: Option<SignalSettings>,
}

/// What makes the agent's own spans and log records, and keeps them until they are sent.
#[derive(Debug, Default)]
pub struct OwnTelemetry {
    tracers: Option<SdkTracerProvider>,
    loggers: Option<SdkLoggerProvider>,
    ways: Vec<Way>,
}

/// From the SDK to a receiver.
#[derive(Debug)]
struct Way {
    signal: Signal,
    settings: SignalSettings,
    batches: mpsc::Receiver<Encoded>,
    room: Arc<Room>,
}

impl OwnTelemetry {
    /// Starts the SDK, as far as its telemetry is wanted. `agent` says whose it is.
    pub fn new(settings: OwnSettings, agent: &Resource) -> Self {
        let mut own = Self::default();
        let resource = sdk_resource(agent);
        if let Some(traces) = settings.traces {
            let (exporter, room) = own.way(Signal::Traces, traces, &resource);
            let config = SpanConfig::default()
                .with_max_queue_size(QUEUE)
                .with_max_export_batch_size(BATCH)
                .with_scheduled_delay(DELAY);
            let processor = BatchSpanProcessor::builder(exporter)
                .with_batch_config(config.build())
                .build();
            let tracers = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_span_processor(Bounded { processor, room });
            own.tracers = Some(tracers.build());
        }
        if let Some(logs) = settings.logs {
            let (exporter, room) = own.way(Signal::Logs, logs, &resource);
            let config = LogConfig::default()
                .with_max_queue_size(QUEUE)
                .with_max_export_batch_size(BATCH)
                .with_scheduled_delay(DELAY);
            let processor = BatchLogProcessor::builder(exporter)
                .with_batch_config(config.build())
                .build();
            let loggers = SdkLoggerProvider::builder()
                .with_resource(resource)
                .with_log_processor(Bounded { processor, room });
            own.loggers = Some(loggers.build());
        }
        own
    }

    /// What makes spans.
    pub fn tracers(&self) -> Option<&SdkTracerProvider> {
        self.tracers.as_ref()
    }

    /// What makes log records.
    pub fn loggers(&self) -> Option<&SdkLoggerProvider> {
        self.loggers.as_ref()
    }

    fn way(
        &mut self,
        signal: Signal,
        settings: SignalSettings,
        resource: &SdkResource,
    ) -> (HandOver, Arc<Room>) {
        let (sender, batches) = mpsc::channel(BATCHES);
        let room = Arc::<Room>::default();
        self.ways.push(Way {
            signal,
            settings,
            batches,
            room: Arc::clone(&room),
        });
        let exporter = HandOver {
            signal,
            batches: Mutex::new(Some(sender)),
            room: Arc::clone(&room),
            resource: resource.into(),
        };
        (exporter, room)
    }

    /// Starts to send what there is. Needs a running tokio runtime.
    ///
    /// # Errors
    /// No request can be made with these settings.
    pub fn start(
        mut self,
        counters: &Arc<Counters>,
        grace: Duration,
        tasks: &Tasks,
    ) -> Result<OwnExport, OtlpError> {
        let stop = CancellationToken::new();
        let shutdown = Arc::new(Shutdown::new(stop.clone(), grace));
        // What is told of exports is about others' telemetry.
        let stats = Arc::<ExportStats>::default();
        let mut sent_by = Vec::new();
        for way in mem::take(&mut self.ways) {
            let about = (counters, &stats, &shutdown);
            let sender = sender(way.signal, &way.settings, about)?;
            let sending = send(way, sender, Arc::clone(counters), Arc::clone(&shutdown));
            sent_by.push(tasks.spawn("own telemetry", sending));
        }
        Ok(OwnExport {
            own: self,
            tasks: sent_by,
            stop,
            grace,
        })
    }
}

/// The agent's own telemetry being sent.
#[derive(Debug)]
pub struct OwnExport {
    own: OwnTelemetry,
    tasks: Vec<JoinHandle<Option<()>>>,
    stop: CancellationToken,
    grace: Duration,
}

impl OwnExport {
    /// Sends what there is within the grace; nothing more is made.
    pub async fn finish(self) {
        let Self {
            own,
            tasks,
            stop,
            grace,
        } = self;
        let until = Instant::now() + grace;
        stop.cancel();
        // The SDK waits for its threads.
        let ended = spawn_blocking(move || {
            if let Some(tracers) = &own.tracers {
                drop(tracers.shutdown_with_timeout(grace));
            }
            if let Some(loggers) = &own.loggers {
                drop(loggers.shutdown_with_timeout(grace));
            }
        });
        drop(timeout_at(until, ended).await);
        for task in tasks {
            drop(timeout_at(until, task).await);
        }
    }
}

/// Sends batches until there will be no more.
async fn send(
    mut way: Way,
    mut sender: Sender<Renewed>,
    counters: Arc<Counters>,
    shutdown: Arc<Shutdown>,
) {
    while let Some(request) = way.batches.recv().await {
        let until = Instant::now() + PATIENCE;
        let outcome = tokio::select! {
            biased;
            () = shutdown.expired() => Delivery::GaveUp,
            outcome = sender.deliver(&request, until) => outcome,
        };
        if outcome == Delivery::GaveUp {
            counters.discard(Discard::ExportFailed, request.items);
        }
        counters.discard(Discard::QueueOwnFull, way.room.take_lost());
    }
    counters.discard(Discard::QueueOwnFull, way.room.take_lost());
}

/// Takes batches from the SDK and never waits.
#[derive(Debug)]
struct HandOver {
    signal: Signal,
    /// `None` once there are no more.
    batches: Mutex<Option<mpsc::Sender<Encoded>>>,
    room: Arc<Room>,
    resource: ResourceAttributesWithSchema,
}

impl HandOver {
    fn push(&self, body: Vec<u8>, items: usize) {
        self.room.leave(items);
        let items = items as u64;
        let request = Encoded {
            signal: self.signal,
            body: body.into(),
            items,
        };
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = batches
            .as_ref()
            .is_some_and(|to| to.try_send(request).is_ok());
        drop(batches);
        if !taken {
            self.room.lose(items);
        }
    }

    fn close(&self) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        *batches = None;
    }
}

impl SpanExporter for HandOver {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        self.push(request.encode_to_vec(), items);
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.close();
        Ok(())
    }
}

impl LogExporter for HandOver {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count();
        let request = ExportLogsServiceRequest {
            resource_logs: group_logs_by_resource_and_scope(&batch, &self.resource),
        };
        self.push(request.encode_to_vec(), items);
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.close();
        Ok(())
    }
}

/// The agent's Resource as the SDK has it.
fn sdk_resource(agent: &Resource) -> SdkResource {
    let text = |(key, value): &(Arc<str>, crate::identity::Value)| {
        let value = value.as_str()?.to_owned();
        Some(KeyValue::new(key.to_string(), value))
    };
    let attributes: Vec<_> = agent.attributes.iter().filter_map(text).collect();
    SdkResource::builder_empty()
        .with_schema_url(attributes, SCHEMA_URL)
        .build()
}
