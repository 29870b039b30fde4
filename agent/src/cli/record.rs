//! `wellhead record`.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Options, Threads, block_on, complain};
use crate::daemon::{self, DaemonError, Settings};

#[derive(Debug, Args)]
pub(super) struct Record {
    /// File to make; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Stop after this time, such as `1m`; else at SIGINT or SIGTERM
    #[arg(long, value_name = "DURATION")]
    duration: Option<crate::config::Duration>,
}

pub(super) fn execute(options: &Options, record: &Record) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    let settings = Settings::new(&loaded.config).map_err(DaemonError::from)?;
    let duration = record.duration.map(crate::config::Duration::get);
    let outcome = block_on(&Threads::BESIDE_CAPTURE, async {
        let recording = daemon::record(&loaded.config, settings, &record.file, duration);
        Ok(recording.await?)
    })?;
    let missed = match outcome.missed {
        0 => String::new(),
        missed => {
            format!(", {missed} left out because they could not be written as fast as they came")
        }
    };
    complain(&format!(
        "{}: {} records in {} bytes{missed}\n",
        record.file.display(),
        outcome.records,
        outcome.bytes
    ));
    Ok(Exit::Success)
}
