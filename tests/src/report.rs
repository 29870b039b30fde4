//! What tests tell the program that runs them on several kernels, apart from what they print: one JSON object a line.

use std::{
    env,
    fs::OpenOptions,
    io::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::require::say;

/// Names the file that lines are appended to. Without it, nothing is reported.
pub const REPORT: &str = "WELLHEAD_TEST_REPORT";

/// Why the test that runs does not apply, and what it took. Tests run one after another.
static SKIPPED: Mutex<Option<String>> = Mutex::new(None);

static RETRIES: AtomicU64 = AtomicU64::new(0);
static SKIPPED_RUNS: AtomicU64 = AtomicU64::new(0);

/// Another attempt of the test that runs is over, in which the kernel skipped so many runs of the programs; `again` if
/// there will be one more.
pub fn note_attempt(skipped_runs: u64, again: bool) {
    RETRIES.fetch_add(u64::from(again), Ordering::Relaxed);
    SKIPPED_RUNS.fetch_add(skipped_runs, Ordering::Relaxed);
}

pub(crate) fn note_skip(reason: String) {
    *SKIPPED.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
}

/// Runs a test and reports how it ended, also if it panics.
///
/// # Errors
/// The test's own.
pub fn test(name: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut running = Running {
        name,
        start: Instant::now(),
        outcome: "failed",
        reason: "it panicked".to_owned(),
    };
    let result = test();
    let skipped = SKIPPED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    (running.outcome, running.reason) = match (&result, skipped) {
        (Err(error), _) => ("failed", format!("{error:#}")),
        (Ok(()), Some(reason)) => ("skipped", reason),
        (Ok(()), None) => ("passed", String::new()),
    };
    result
}

/// A test that is reported when this is dropped.
struct Running<'a> {
    name: &'a str,
    start: Instant,
    outcome: &'static str,
    reason: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let line = json!({
            "test": self.name,
            "outcome": self.outcome,
            "reason": self.reason,
            "milliseconds": milliseconds(self.start.elapsed()),
            "retries": RETRIES.swap(0, Ordering::Relaxed),
            "skipped_runs": SKIPPED_RUNS.swap(0, Ordering::Relaxed),
        });
        if let Err(error) = write(&line) {
            say(format_args!("no report: {error:#}"));
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Appends a line, if anybody wants it.
///
/// # Errors
/// It cannot be written.
pub fn write(line: &Value) -> Result<()> {
    let Some(path) = env::var_os(REPORT) else {
        return Ok(());
    };
    let mut file = OpenOptions::new()
        .append(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    Ok(file.write_all(format!("{line}\n").as_bytes())?)
}
