//! `wellhead replay`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Options, Threads, block_on, complain, print};
use crate::daemon::pipeline::{Replayed, Speed};
use crate::daemon::{self, DaemonError, Settings};
use crate::export::prometheus::negotiation::Format;
use crate::export::prometheus::page::{Page, Scope};
use crate::recording::Recording;
use crate::telemetry::snapshot::Snapshot;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times as fast as it was recorded, or `max`
    #[arg(long, value_name = "N|max", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// Print what `/metrics` shows of the workloads in the end (OpenMetrics)
    #[arg(long)]
    metrics: bool,
}

const SLOWEST: f64 = 0.001;
const FASTEST: f64 = 1e6;

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok();
    let times = times.filter(|times| (SLOWEST..=FASTEST).contains(times));
    times
        .map(Speed::Times)
        .ok_or_else(|| format!("expected a number from {SLOWEST} to {FASTEST}, or `max`"))
}

pub(super) fn execute(options: &Options, replay: &Replay) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    let recording = Recording::open(&replay.file).map_err(DaemonError::from)?;
    let settings = Settings::of_recording(&loaded.config, recording.start());
    let settings = settings.map_err(DaemonError::from)?;
    let (replayed, snapshot) = block_on(&Threads::BESIDE_CAPTURE, async {
        Ok(daemon::replay(&loaded.config, &settings, recording, replay.speed).await?)
    })?;
    complain(&summary(&replay.file, &replayed));
    let is_whole = replayed.damage.is_none() && (replayed.ended || replayed.stopped);
    if replay.metrics {
        let page = page(snapshot).map_err(|error| Failure::internal(error.to_string()))?;
        print(&page)?;
    }
    Ok(if is_whole {
        Exit::Success
    } else {
        Exit::Degraded
    })
}

/// A line of how far it came, and one for each reason why that is less than what happened.
fn summary(file: &Path, replayed: &Replayed) -> String {
    let Replayed { records, taken, .. } = replayed;
    let rate = u128::from(*records) * 1_000_000_000 / taken.as_nanos().max(1);
    let (recorded, taken) = (replayed.recorded.as_secs_f64(), taken.as_secs_f64());
    let mut lines = vec![format!(
        "{records} records of {recorded:.1} s in {taken:.3} s, {rate} a second"
    )];
    if replayed.missed > 0 {
        let missed = replayed.missed;
        lines.push(format!(
            "warning: {missed} records were left out when it was recorded"
        ));
    }
    match &replayed.damage {
        Some(damage) => lines.push(format!("warning: it cannot be read to its end: {damage}")),
        None if replayed.stopped => lines.push("stopped before its end".to_owned()),
        None if !replayed.ended => {
            let why = "it was not ended in order, so its last seconds may be missing";
            lines.push(format!("warning: {why}"));
        }
        None => {}
    }
    let lines = lines
        .iter()
        .map(|line| format!("{}: {line}\n", file.display()));
    lines.collect()
}

/// What `/metrics` would show of the workloads. What it shows of the agent itself is of this process and not of the recording.
fn page(snapshot: Arc<Snapshot>) -> Result<String, std::fmt::Error> {
    let snapshot = Arc::unwrap_or_clone(snapshot).of_workloads();
    let mut text = String::new();
    let snapshot = Arc::new(snapshot);
    Page::new(Format::OpenMetrics, Scope::Left, snapshot, Vec::new())
        .write(&mut text, usize::MAX)?;
    Ok(text)
}
