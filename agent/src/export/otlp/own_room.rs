//! How much of the agent's own telemetry may wait in the SDK. The SDK's queues drop what finds no room and count it for nobody
//! else, so they are never filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{LogRecord as _, Severity};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Spans, and log records, that wait to be put into a batch.
pub(super) const QUEUE: usize = 512;

/// What waits, and what found no room.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Room {
    /// Whether there is room for one more, which then waits; it is lost otherwise.
    fn enter(&self) -> bool {
        let more = |waiting: usize| (waiting < QUEUE).then_some(waiting + 1);
        let entered = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if !entered {
            self.lose(1);
        }
        entered
    }

    /// So many were put into a batch.
    pub(super) fn leave(&self, items: usize) {
        self.waiting.fetch_sub(items, Ordering::Relaxed);
    }

    /// So many found no room anywhere else.
    pub(super) fn lose(&self, items: u64) {
        self.lost.fetch_add(items, Ordering::Relaxed);
    }

    /// What was lost since this was asked last.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// A processor of the SDK's that is given no more than there is room for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) processor: P,
    pub(super) room: Arc<Room>,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.room.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Bounded<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if !self.room.enter() {
            return;
        }
        // The name that tracing gives a line says where it is in the code. It is no event's, and a name would make one of it.
        record.set_event_name("");
        record.set_timestamp(SystemTime::now());
        self.processor.emit(record, scope);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let room = Room::default();
        let entered = (0..QUEUE + 3).filter(|_| room.enter()).count();
        assert_eq!((entered, room.take_lost(), room.take_lost()), (QUEUE, 3, 0));
        room.leave(2);
        let entered = (0..5).filter(|_| room.enter()).count();
        assert_eq!((entered, room.take_lost()), (2, 3));
    }
}
