//! `wellhead run`.

use super::exit::{Exit, Failure};
use super::{Options, Threads, block_on};
use crate::daemon;

pub(super) fn execute(options: &Options) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    block_on(&Threads::BESIDE_CAPTURE, async {
        Ok(daemon::run(&loaded.config).await?)
    })?;
    Ok(Exit::Success)
}
