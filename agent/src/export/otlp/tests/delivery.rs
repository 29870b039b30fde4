//! Retries and what is counted, and both tasks against receivers that work, fail or hang. Time is tokio's paused
//! clock: hours pass at once, and what is asserted about it is exact but for the jitter.

mod metrics;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::support::{self, Answer, Scripted};
use crate::{
    counters::{Counters, Discard, ExportFailure, ExportStats, Signal},
    export::otlp::{
        backlog::Backlog,
        batch_task::{BatchTask, Waiting},
        delivery::{Delivery, Sender},
        grouped,
        ledger::Ledger,
        metrics_task::MetricsTask,
        outcome::{Retry, SendError},
        queue::{BATCH, Finished as _, Queue},
        shutdown::Shutdown,
        size::MAX_REQUEST,
        transport::Encoded,
    },
    telemetry::{handle::SnapshotHandle, span::FinishedSpan},
};

const GRACE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(10);

/// Everything a task needs around it.
struct Rig {
    receiver: Scripted,
    counters: Arc<Counters>,
    stats: Arc<ExportStats>,
    stop: CancellationToken,
    shutdown: Arc<Shutdown>,
    start: Instant,
}

impl Rig {
    fn new(answers: impl IntoIterator<Item = Answer>, last: Answer) -> Self {
        let stop = CancellationToken::new();
        Self {
            receiver: Scripted::new(answers, last),
            counters: Arc::default(),
            stats: Arc::default(),
            shutdown: Arc::new(Shutdown::new(stop.clone(), GRACE)),
            stop,
            start: Instant::now(),
        }
    }

    fn sender(&self, signal: Signal) -> Sender<Scripted> {
        Sender::new(
            self.receiver.clone(),
            signal,
            "scripted".to_owned(),
            Arc::clone(&self.counters),
            Arc::clone(&self.stats),
            Arc::clone(&self.shutdown),
        )
    }

    fn metrics(&self) -> MetricsTask<Scripted> {
        MetricsTask {
            sender: self.sender(Signal::Metrics),
            snapshots: store(),
            interval: INTERVAL,
            max_request: MAX_REQUEST,
            counters: Arc::clone(&self.counters),
            stats: Arc::clone(&self.stats),
            shutdown: Arc::clone(&self.shutdown),
            ledger: Arc::default(),
        }
    }

    /// With room for so many that were just handed over, and for any number behind those.
    fn spans(&self, capacity: usize) -> (BatchTask<Scripted, FinishedSpan>, Queue<FinishedSpan>) {
        let queue = Queue::new(
            capacity * support::span(0).weight(),
            Arc::clone(&self.counters),
            Arc::clone(&self.stats),
        );
        let waiting = Waiting::new(
            queue.clone(),
            Backlog::new(usize::MAX, None),
            INTERVAL,
            Arc::clone(&self.counters),
        );
        let task = BatchTask {
            sender: self.sender(Signal::Traces),
            waiting,
            shutdown: Arc::clone(&self.shutdown),
        };
        (task, queue)
    }

    /// When requests arrived, and with how many items.
    fn sent(&self) -> Vec<(Duration, u64)> {
        let sent = self.receiver.sent();
        sent.iter()
            .map(|(at, request)| (*at - self.start, request.items))
            .collect()
    }

    /// (accepted, retried, rejected, unavailable)
    fn counted(&self, signal: Signal) -> (u64, u64, u64, u64) {
        let stats = self.stats.signal(signal);
        (
            stats.items(),
            stats.retries(),
            stats.rejected(),
            stats.failures(ExportFailure::Unavailable),
        )
    }
}

/// A store whose readings are told apart by their number, which is their time.
fn store() -> SnapshotHandle {
    let (handle, mut requests) = SnapshotHandle::channel(1);
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(request) = requests.recv().await {
            number += 1;
            drop(
                request
                    .reply
                    .send(Arc::unwrap_or_clone(support::snapshot(number, 3)).into()),
            );
        }
    });
    handle
}

fn request(items: u64) -> Encoded {
    Encoded {
        signal: Signal::Traces,
        body: Bytes::new(),
        items,
    }
}

fn unavailable() -> Answer {
    Answer::Fail(SendError::new(
        ExportFailure::Unavailable,
        Retry::Backoff,
        "busy",
    ))
}

fn refused() -> Answer {
    Answer::Fail(SendError::new(ExportFailure::Refused, Retry::Never, "no"))
}

fn after(delay: Duration) -> Answer {
    Answer::Fail(SendError::new(
        ExportFailure::Unavailable,
        Retry::After(delay),
        "later",
    ))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_growing_waits() {
    let rig = Rig::new(
        [unavailable(), unavailable(), unavailable()],
        Answer::Accept,
    );
    let mut sender = rig.sender(Signal::Traces);
    assert_eq!(sender.deliver(&request(4), soon()).await, Delivery::Done);
    assert_eq!(rig.counted(Signal::Traces), (4, 12, 0, 12));
    assert_eq!(rig.counters.discards(Discard::ExportFailed), 0);

    let times: Vec<_> = rig.sent().iter().map(|(at, _)| at.as_secs_f64()).collect();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, base) in waits.iter().zip([1.0, 2.0, 4.0]) {
        // A timer's grain is a millisecond.
        assert!((base * 0.5..base * 1.5 + 0.002).contains(wait), "{waits:?}");
    }
    assert_eq!(waits.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_sent_once_and_counted() {
    let rig = Rig::new([refused()], Answer::Accept);
    let mut sender = rig.sender(Signal::Traces);
    assert_eq!(sender.deliver(&request(4), soon()).await, Delivery::Refused);
    assert_eq!(rig.sent().len(), 1);
    assert_eq!(rig.counters.discards(Discard::ExportFailed), 4);
    assert_eq!(
        rig.stats
            .signal(Signal::Traces)
            .failures(ExportFailure::Refused),
        4
    );
    // It says nothing about the next one.
    assert_eq!(sender.deliver(&request(1), soon()).await, Delivery::Done);
    assert_eq!(rig.sent()[1].0, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_counted_and_not_retried() {
    // The last one lies: it was sent only four.
    for (rejected, accepted, counted) in [(0, 4, 0), (3, 1, 3), (4, 0, 4), (1000, 0, 4)] {
        let rig = Rig::new([], Answer::Partly { rejected });
        let mut sender = rig.sender(Signal::Traces);
        assert_eq!(sender.deliver(&request(4), soon()).await, Delivery::Done);
        assert_eq!(rig.sent().len(), 1);
        assert_eq!(rig.counted(Signal::Traces), (accepted, 0, counted, 0));
        assert_eq!(rig.counters.discards(Discard::ExportRejected), counted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receivers_delay_is_kept() {
    let delay = Duration::from_secs(40);
    let rig = Rig::new([after(delay)], Answer::Accept);
    let mut sender = rig.sender(Signal::Traces);
    assert_eq!(sender.deliver(&request(4), soon()).await, Delivery::Done);
    assert!(rig.sent()[1].0 >= delay, "{:?}", rig.sent());
}

#[tokio::test(start_paused = true)]
async fn a_receivers_delay_outlives_the_request() {
    let delay = Duration::from_secs(40);
    let rig = Rig::new([after(delay)], Answer::Accept);
    let mut sender = rig.sender(Signal::Traces);
    let until = Instant::now() + Duration::from_secs(10);
    assert_eq!(sender.deliver(&request(4), until).await, Delivery::GaveUp);
    assert_eq!(sender.deliver(&request(5), soon()).await, Delivery::Done);
    let sent = rig.sent();
    assert_eq!((sent.len(), sent[1].1), (2, 5));
    assert!(sent[1].0 >= delay);
}

#[tokio::test(start_paused = true)]
async fn spans_go_in_batches_or_when_they_have_waited() {
    let rig = Rig::new([], Answer::Accept);
    let (task, queue) = rig.spans(5000);
    let task = tokio::spawn(task.run());
    let full = BATCH as u64;
    for number in 0..=full * 2 {
        queue.push(support::span(number));
    }
    time::sleep(INTERVAL / 2).await;
    assert_eq!(rig.sent(), [(Duration::ZERO, full), (Duration::ZERO, full)]);
    assert_eq!(rig.stats.signal(Signal::Traces).queue_length(), 1);
    time::sleep(INTERVAL).await;
    assert_eq!(rig.sent().last().unwrap().1, 1);
    assert_eq!(rig.stats.signal(Signal::Traces).queue_length(), 0);
    rig.stop.cancel();
    assert!(task.await.unwrap());
    assert_eq!(rig.counted(Signal::Traces), (full * 2 + 1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn queued_spans_are_flushed_at_shutdown() {
    // One failure on the way, whose wait the shutdown cuts short.
    let rig = Rig::new([after(Duration::from_mins(2))], Answer::Accept);
    let (task, queue) = rig.spans(5000);
    for number in 0..1200 {
        queue.push(support::span(number));
    }
    let task = tokio::spawn(task.run());
    time::sleep(Duration::from_secs(1)).await;
    rig.stop.cancel();
    assert!(task.await.unwrap());
    assert_eq!(rig.stats.signal(Signal::Traces).items(), 1200);
    assert!(rig.start.elapsed() <= Duration::from_secs(1) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn spans_not_flushed_within_the_grace_are_counted() {
    for answer in [Answer::Hang, unavailable()] {
        let rig = Rig::new([], answer.clone());
        let (task, queue) = rig.spans(5000);
        for number in 0..1200 {
            queue.push(support::span(number));
        }
        let task = tokio::spawn(task.run());
        rig.stop.cancel();
        assert!(!task.await.unwrap(), "{answer:?}");
        assert!(
            rig.start.elapsed() <= GRACE + Duration::from_millis(2),
            "{answer:?}"
        );
        assert_eq!(
            rig.counters.discards(Discard::ExportFailed),
            1200,
            "{answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_its_oldest_and_never_waits() {
    let rig = Rig::new([Answer::Hang], Answer::Accept);
    let (task, queue) = rig.spans(100);
    for number in 0..250 {
        queue.push(support::span(number));
    }
    assert_eq!(rig.counters.discards(Discard::QueueSpansFull), 150);
    assert_eq!(rig.stats.signal(Signal::Traces).queue_length(), 100);
    let ids = queue
        .take()
        .iter()
        .map(|span| u64::from_be_bytes(span.span.span_id))
        .collect::<Vec<_>>();
    assert_eq!(ids, (151..=250).collect::<Vec<_>>());

    // Neither does a receiver that hangs make anybody wait.
    queue.push(support::span(0));
    let task = tokio::spawn(task.run());
    time::sleep(INTERVAL * 2).await;
    for number in 0..101 {
        queue.push(support::span(number));
    }
    assert_eq!(rig.counters.discards(Discard::QueueSpansFull), 151);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn spans_wait_for_a_receiver_that_is_away_as_long_as_there_is_room() {
    let away = std::iter::repeat_n(unavailable(), 100);
    let rig = Rig::new(away, Answer::Accept);
    let (mut task, queue) = rig.spans(100);
    let each = {
        let one = [support::span(0).encode()];
        grouped::requests(&one, 1 << 20).requests.remove(0)
    };
    let backlog = Backlog::new(30 * Backlog::weight(&each), None);
    task.waiting = Waiting::new(queue.clone(), backlog, INTERVAL, Arc::clone(&rig.counters));
    let task = tokio::spawn(task.run());
    for number in 0..50 {
        queue.push(support::span(number));
        time::sleep(INTERVAL + Duration::from_millis(1)).await;
    }
    // One is being sent beside those there is room for.
    assert_eq!(rig.stats.signal(Signal::Traces).queue_length(), 31);
    assert_eq!(rig.counters.discards(Discard::QueueSpansFull), 19);
    time::sleep(Duration::from_hours(1)).await;
    assert_eq!(rig.stats.signal(Signal::Traces).items(), 31);
    assert_eq!(rig.stats.signal(Signal::Traces).queue_length(), 0);
    rig.stop.cancel();
    assert!(task.await.unwrap());
    assert_eq!(rig.counters.discards(Discard::ExportFailed), 0);
}
