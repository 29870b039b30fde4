//! Writing a recording: the pipeline puts entries into a block, a thread of its own packs and writes blocks.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::timeout;

use super::block::{FULL, MAGIC, VERSION, pack};
use super::entry::{write_record, write_time, write_told};
use super::{RecordingError, Ring, Start, Told};

/// Blocks that may wait to be written.
const WAITING: usize = 8;

/// How far a block grows while others wait. Records beyond that are left out.
const MOST: usize = 2 << 20;

/// How far it grows by what else is told, which cannot be left out. Beyond that the recording ends.
const MOST_TOLD: usize = 64 << 20;

/// Seconds after which a block is written out, full or not.
const SECONDS: u32 = 5;

/// What became of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records in it.
    pub records: u64,
    /// Records that were left out because the disk, or the thread that writes, could not keep up.
    pub missed: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    records: AtomicU64,
    missed: AtomicU64,
    bytes: AtomicU64,
    is_given_up: AtomicBool,
}

/// Puts entries into blocks. Never waits.
#[derive(Debug)]
pub struct Recorder {
    start: Start,
    block: Vec<u8>,
    time: u64,
    /// The last that was written down.
    written_time: u64,
    /// Seconds since the block was begun.
    seconds: u32,
    /// Records left out since that was last written down.
    missed: u64,
    /// One more has room than may wait: the last. `None`: the recording was given up.
    blocks: Option<Sender<Vec<u8>>>,
    numbers: Arc<Numbers>,
}

/// The thread that writes the file.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    thread: JoinHandle<Result<(), RecordingError>>,
    ended: watch::Receiver<bool>,
    numbers: Arc<Numbers>,
}

impl Writer {
    /// Makes the file, which must not be there yet; only its owner may read it, as it holds arguments of processes. `start` says what
    /// is known of the circumstances by now.
    ///
    /// # Errors
    /// The file or the thread cannot be made.
    pub fn create(path: &Path, start: Start) -> Result<(Recorder, Self), RecordingError> {
        let create = |source| RecordingError::Create {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        Self::writing_to(path, file.map_err(create)?, start)
    }

    /// One that writes to what was opened at this path.
    pub(super) fn writing_to(
        path: &Path,
        file: impl Write + Send + 'static,
        start: Start,
    ) -> Result<(Recorder, Self), RecordingError> {
        let (blocks, waiting) = channel(WAITING + 1);
        let (told, ended) = watch::channel(false);
        let numbers = Arc::<Numbers>::default();
        let output = Output {
            path: path.to_owned(),
            file,
            numbers: Arc::clone(&numbers),
        };
        let thread = thread::Builder::new().name("wellhead-record".to_owned());
        let thread = thread.spawn(move || {
            let result = output.write_all(waiting);
            told.send_replace(true);
            result
        });
        let recorder = Recorder {
            start,
            block: Vec::with_capacity(FULL),
            time: 0,
            written_time: 0,
            seconds: 0,
            missed: 0,
            blocks: Some(blocks),
            numbers: Arc::clone(&numbers),
        };
        let writer = Self {
            path: path.to_owned(),
            thread: thread.map_err(RecordingError::Thread)?,
            ended,
            numbers,
        };
        Ok((recorder, writer))
    }

    /// Nothing came of it: the file is not left in the way of the next one.
    pub fn discard(self) {
        // Where it cannot be removed, the next one says that it is there.
        drop(fs::remove_file(&self.path));
    }

    /// Waits until nothing more is written: it failed, or the recorder is gone.
    pub async fn ended(&mut self) {
        // That the sender is gone says the same.
        drop(self.ended.wait_for(|ended| *ended).await);
    }

    /// What became of it, once the recorder is gone and everything is written.
    ///
    /// # Errors
    /// The file could not be written to its end, or not in this time.
    pub async fn finish(mut self, within: Duration) -> Result<Outcome, RecordingError> {
        let is_late = timeout(within, self.ended()).await.is_err();
        if is_late || self.numbers.is_given_up.load(Ordering::Relaxed) {
            return Err(RecordingError::Stalled { path: self.path });
        }
        // It has nothing left to do.
        match self.thread.join() {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Ok(Outcome {
            records: number(&self.numbers.records),
            missed: number(&self.numbers.missed),
            bytes: number(&self.numbers.bytes),
        })
    }
}

impl Recorder {
    /// The first entry, of which `complete` knows the rest.
    pub fn begin(&mut self, complete: impl FnOnce(Start) -> Start) {
        let start = complete(std::mem::take(&mut self.start));
        self.told(&Told::Start(start));
        // A block of its own: without it the others are of no use.
        self.hand_over();
    }

    /// Time has passed before what comes next.
    pub fn time(&mut self, boot_ns: u64) {
        self.time = boot_ns;
    }

    fn write_time(&mut self) {
        if self.written_time != self.time {
            self.written_time = self.time;
            write_time(&mut self.block, self.time);
        }
    }

    /// A record of the kernel.
    pub fn record(&mut self, ring: Ring, record: &[u8]) {
        self.make_room();
        if self.block.len() >= MOST || self.blocks.is_none() {
            self.missed += 1;
            self.numbers.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.write_time();
        write_record(&mut self.block, ring, record);
        self.numbers.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Anything else.
    pub fn told(&mut self, told: &Told) {
        self.make_room();
        if self.block.len() >= MOST_TOLD {
            self.give_up();
        }
        if self.blocks.is_some() {
            self.write_told(told);
        }
    }

    fn write_told(&mut self, told: &Told) {
        self.write_time();
        if let Err(error) = write_told(&mut self.block, told) {
            // Text and numbers can be written always.
            tracing::error!(%error, "something cannot be written into the recording");
        }
    }

    /// To be called every second, so that not too much is lost with a machine.
    pub fn second_passed(&mut self) {
        self.seconds += 1;
        if self.seconds >= SECONDS {
            self.hand_over();
        }
    }

    /// The last entry.
    pub fn end(mut self) {
        self.write_missed();
        self.write_told(&Told::End);
        if let Some(blocks) = &self.blocks {
            // There is room for the last one. Whoever failed to write has told why.
            drop(blocks.try_send(self.block));
        }
    }

    /// Bytes that were not handed over.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.block.len()
    }

    fn make_room(&mut self) {
        if self.block.len() >= FULL {
            self.hand_over();
        }
    }

    /// Has the block written, unless too many wait: then it goes on growing.
    fn hand_over(&mut self) {
        let Some(blocks) = &self.blocks else { return };
        let room_for_last = 1;
        if blocks.capacity() <= room_for_last {
            return;
        }
        let blocks = blocks.clone();
        self.write_missed();
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(FULL));
        self.seconds = 0;
        // Whoever failed to write has told why.
        drop(blocks.try_send(block));
    }

    fn write_missed(&mut self) {
        let records = std::mem::take(&mut self.missed);
        if records > 0 {
            self.write_told(&Told::Missed { records });
        }
    }

    /// Ends the recording where it is: what would follow is of no use without what there is no room for.
    fn give_up(&mut self) {
        if self.blocks.take().is_some() {
            self.numbers.is_given_up.store(true, Ordering::Relaxed);
            tracing::error!("the recording ends: what is told is not written as fast as it comes");
            self.block = Vec::new();
        }
    }
}

struct Output<W> {
    path: PathBuf,
    file: W,
    numbers: Arc<Numbers>,
}

impl<W: Write> Output<W> {
    fn write_all(mut self, mut blocks: Receiver<Vec<u8>>) -> Result<(), RecordingError> {
        self.write(MAGIC)?;
        self.write(&VERSION.to_le_bytes())?;
        while let Some(block) = blocks.blocking_recv() {
            let packed = pack(&block).map_err(|error| self.failed(error))?;
            self.write(&packed)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.failed(error))?;
        self.numbers
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> RecordingError {
        RecordingError::Write {
            path: self.path.clone(),
            source,
        }
    }
}
