//! `wellhead resolver`.

use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Options, Threads, block_on, logging};
use crate::resolver::{self, ResolverSettings};

pub(super) fn execute(options: &Options) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    let settings = ResolverSettings::new(&loaded.config);
    block_on(&Threads::COMMAND, async {
        tokio::spawn(Arc::new(logging::own_log()).keep_telling(Arc::default()));
        Ok(resolver::run(&settings).await?)
    })?;
    Ok(Exit::Success)
}
