//! Writing a recording: the pipeline puts entries into a block, a thread of its own packs and writes blocks.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use super::block::{FULL, MAGIC, VERSION, pack};
use super::entry::{write_record, write_time, write_told};
use super::{RecordingError, Ring, Start, Told};

/// Blocks that may wait to be written.
const WAITING: usize = 8;

/// How far a block grows while others wait. Records beyond that are left out.
const MOST: usize = 2 << 20;

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
}

/// Puts entries into blocks. Never waits but at the end.
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
    blocks: SyncSender<Vec<u8>>,
    numbers: Arc<Numbers>,
}

/// The thread that writes the file.
#[derive(Debug)]
pub struct Writer {
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
        let file = file.map_err(create)?;
        let (blocks, waiting) = sync_channel(WAITING);
        let (told, ended) = watch::channel(false);
        let numbers = Arc::<Numbers>::default();
        let output = Output {
            path: path.to_owned(),
            file,
            numbers: Arc::clone(&numbers),
        };
        let thread = thread::Builder::new().name("wellhead-record".to_owned());
        let thread = thread.spawn(move || {
            let result = output.write_all(&waiting);
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
            blocks,
            numbers: Arc::clone(&numbers),
        };
        let writer = Self {
            thread: thread.map_err(RecordingError::Thread)?,
            ended,
            numbers,
        };
        Ok((recorder, writer))
    }

    /// Waits until nothing more is written: it failed, or the recorder is gone.
    pub async fn ended(&mut self) {
        // That the sender is gone says the same.
        drop(self.ended.wait_for(|ended| *ended).await);
    }

    /// What became of it. Blocks until the recorder is gone and everything is written.
    ///
    /// # Errors
    /// The file could not be written to its end.
    pub fn finish(self) -> Result<Outcome, RecordingError> {
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
        if self.block.len() >= FULL {
            self.hand_over();
        }
        if self.block.len() >= MOST {
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
        self.told(&Told::End);
        self.write_missed();
        // Whoever failed to write has told why.
        drop(self.blocks.send(std::mem::take(&mut self.block)));
    }

    /// Has the block written, unless too many wait: then it goes on growing.
    fn hand_over(&mut self) {
        self.write_missed();
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(FULL));
        self.seconds = 0;
        match self.blocks.try_send(block) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(block)) => self.block = block,
        }
    }

    fn write_missed(&mut self) {
        let records = std::mem::take(&mut self.missed);
        if records > 0 {
            self.told(&Told::Missed { records });
        }
    }
}

struct Output {
    path: PathBuf,
    file: File,
    numbers: Arc<Numbers>,
}

impl Output {
    fn write_all(mut self, blocks: &Receiver<Vec<u8>>) -> Result<(), RecordingError> {
        self.write(MAGIC)?;
        self.write(&VERSION.to_le_bytes())?;
        while let Ok(block) = blocks.recv() {
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
