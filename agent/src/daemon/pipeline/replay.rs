//! A pipeline that is told what a recording holds, in place of what the kernel and the cluster tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::about::About;
use super::own::OwnProcess;
use super::pressure::Pressure;
use super::seam::Seam;
use super::source::Recorded;
use super::state::{Beginning, State};
use crate::counters::{Counters, ExportStats};
use crate::daemon::Settings;
use crate::export::otlp::Queue;
use crate::identity::Identity;
use crate::kernel::Clock;
use crate::recording::{Block, Damage, Entry, Recording, RecordingError, Start, Told};
use crate::telemetry::catalogue::Metric;
use crate::telemetry::handle::ReadingRequest;
use crate::telemetry::live::OwnedEvent;
use crate::telemetry::snapshot::HistogramValue;
use crate::telemetry::span::FinishedSpan;
use crate::telemetry::store::Reading;

/// Entries that are taken in before others have their turn.
const AT_ONCE: usize = 4_096;

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it can be.
    Max,
    /// So many times as fast as it was recorded.
    Times(f64),
}

/// How far a replay came.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Records of the kernel.
    pub records: u64,
    /// Records that were left out when it was recorded.
    pub missed: u64,
    /// From the first entry to the last, by the boot clock.
    pub recorded: Duration,
    /// What it took to replay that.
    pub taken: Duration,
    /// Whether the recording was ended in order.
    pub ended: bool,
    /// Whether it was stopped before that.
    pub stopped: bool,
    /// Why it could not be read to its end, if so.
    pub damage: Option<Damage>,
}

/// The pipeline.
pub struct Replay {
    state: State<Recorded>,
    began_ns: u64,
    replayed: Replayed,
}

/// Why it stops taking in.
enum Pause {
    /// Time passes until then.
    Time(u64),
    /// Others have their turn.
    Turn,
    /// The block is at its end.
    End,
}

/// What ends a replay.
pub struct Stops {
    /// It is cut short.
    pub cut_short: CancellationToken,
    /// Nobody asks any more.
    pub answering: CancellationToken,
}

impl Replay {
    /// One that was told nothing yet. Spans and events go to the queues, if there are any.
    pub fn new(
        start: &Start,
        settings: &Settings,
        counters: Arc<Counters>,
        finished: (Option<Queue<FinishedSpan>>, Option<Queue<OwnedEvent>>),
        exports: Arc<ExportStats>,
    ) -> Self {
        let identity = settings.identity((start.kubernetes, start.cluster), start.host_netns);
        let identity = Identity::new(&identity, Arc::clone(&counters));
        let settings = settings.pipeline.clone();
        let clock = Clock::stopped(start.boot_ns, start.wall_offset_ns);
        let about = About {
            start_unix_nano: clock.now_unix_nano(),
            source: Recorded::new(start.cookies),
            features: Vec::new(),
            exports,
            kube: None,
            kube_lag: HistogramValue::new(Metric::AgentKubeLag.bounds()),
            cluster: None,
            program_stats: false,
        };
        let beginning = Beginning {
            clock,
            own: OwnProcess::recorded(start.own_pid),
            seam: Seam::default(),
            // What is made of a recording does not depend on how much memory this process takes.
            pressure: Pressure::new(u64::MAX),
            recorder: None,
        };
        Self {
            state: State::new(identity, counters, settings, about, finished, beginning),
            began_ns: start.boot_ns,
            replayed: Replayed::default(),
        }
    }

    /// Takes in one entry.
    pub fn take_in(&mut self, entry: Entry<'_>) {
        match &entry {
            Entry::Record(..) => self.replayed.records += 1,
            Entry::Time(boot_ns) => {
                let since = boot_ns.saturating_sub(self.began_ns);
                self.replayed.recorded = Duration::from_nanos(since);
            }
            Entry::Told(Told::Missed { records }) => {
                let missed = &mut self.replayed.missed;
                *missed = missed.saturating_add(*records);
            }
            Entry::Told(Told::End) => self.replayed.ended = true,
            Entry::Told(_) => {}
        }
        self.state.take_in_entry(entry);
    }

    /// Reads the store.
    pub fn read(&mut self) -> Reading {
        self.state.read(None)
    }

    /// Takes in all of a recording that is left, as fast as it can be, and settles.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take_in_all(&mut self, recording: &mut Recording) -> Result<(), RecordingError> {
        let mut left = usize::MAX;
        while let Some(mut block) = self.next_block(recording)? {
            loop {
                match self.take_in_some(&mut block, &mut left) {
                    Pause::Time(boot_ns) => self.take_in(Entry::Time(boot_ns)),
                    Pause::Turn => {}
                    Pause::End => break,
                }
            }
        }
        self.settle();
        Ok(())
    }

    /// How far it came.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// Nothing more is to come: what waits goes as it is known.
    pub fn settle(&mut self) {
        self.state.settle();
    }

    /// Replays a recording, then says how far it came, and goes on to answer requests.
    pub async fn run(
        mut self,
        mut recording: Recording,
        speed: Speed,
        mut requests: mpsc::Receiver<ReadingRequest>,
        done: oneshot::Sender<Result<Replayed, RecordingError>>,
        stops: Stops,
    ) {
        let began = Instant::now();
        let result = tokio::select! {
            result = self.replay(&mut recording, speed, &mut requests) => result,
            () = stops.cut_short.cancelled() => {
                self.replayed.stopped = true;
                Ok(())
            }
        };
        self.settle();
        let result = result.map(|()| Replayed {
            taken: began.elapsed(),
            ..std::mem::take(&mut self.replayed)
        });
        // Whoever wants to know may have gone.
        drop(done.send(result));
        loop {
            tokio::select! {
                () = stops.answering.cancelled() => return,
                request = requests.recv() => match request {
                    Some(request) => self.answer(request),
                    None => return,
                },
            }
        }
    }

    async fn replay(
        &mut self,
        recording: &mut Recording,
        speed: Speed,
        requests: &mut mpsc::Receiver<ReadingRequest>,
    ) -> Result<(), RecordingError> {
        let began = Instant::now();
        while let Some(mut block) = self.next_block(recording)? {
            let mut left = AT_ONCE;
            loop {
                match self.take_in_some(&mut block, &mut left) {
                    Pause::Time(boot_ns) => {
                        let due = self.due(began, speed, boot_ns);
                        self.wait(due, requests).await;
                        self.take_in(Entry::Time(boot_ns));
                    }
                    pause @ (Pause::Turn | Pause::End) => {
                        while let Ok(request) = requests.try_recv() {
                            self.answer(request);
                        }
                        yield_now().await;
                        left = AT_ONCE;
                        if matches!(pause, Pause::End) {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The next block; none after one that could not be read to its end, for what comes then may build on what is missing.
    fn next_block(&mut self, recording: &mut Recording) -> Result<Option<Block>, RecordingError> {
        if self.replayed.damage.is_some() {
            return Ok(None);
        }
        let block = recording.next_block()?;
        self.replayed.damage = recording.take_damage();
        Ok(block)
    }

    /// Takes in what comes before time passes, and no more entries than are `left`.
    fn take_in_some(&mut self, block: &mut Block, left: &mut usize) -> Pause {
        loop {
            let Some(less) = left.checked_sub(1) else {
                return Pause::Turn;
            };
            *left = less;
            match block.next() {
                Ok(Some(Entry::Time(boot_ns))) => return Pause::Time(boot_ns),
                Ok(Some(entry)) => self.take_in(entry),
                Ok(None) => return Pause::End,
                Err(damage) => {
                    self.replayed.damage = Some(damage);
                    return Pause::End;
                }
            }
        }
    }

    /// When it is time for what happened then; `None`: at once.
    fn due(&self, began: Instant, speed: Speed, boot_ns: u64) -> Option<Instant> {
        let Speed::Times(times) = speed else {
            return None;
        };
        let recorded = Duration::from_nanos(boot_ns.saturating_sub(self.began_ns));
        let after = Duration::try_from_secs_f64(recorded.as_secs_f64() / times).ok()?;
        began.checked_add(after)
    }

    async fn wait(&mut self, due: Option<Instant>, requests: &mut mpsc::Receiver<ReadingRequest>) {
        let Some(due) = due else { return };
        loop {
            tokio::select! {
                () = sleep_until(due) => return,
                Some(request) = requests.recv() => self.answer(request),
            }
        }
    }

    fn answer(&mut self, request: ReadingRequest) {
        let ReadingRequest { reply, told } = request;
        // Whoever asked may have gone.
        drop(reply.send(self.state.read(told.as_deref())));
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_raw_string_hashes,
    reason = "expect-test writes its strings so"
)]
mod container_tests;
#[cfg(test)]
mod tests;
