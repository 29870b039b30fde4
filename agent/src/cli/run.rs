//! `wellhead run`.

use super::exit::{Exit, Failure};
use super::{Options, block_on};
use crate::daemon::{self, DaemonError};
use crate::kernel::Environment;

pub(super) fn execute(options: &Options) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    block_on(async { daemon::run(&loaded.config).await.map_err(failure) })?;
    Ok(Exit::Success)
}

/// An ordinary user is stopped by a directory or a port before the kernel is asked: say at once what else will be missing.
fn failure(error: DaemonError) -> Failure {
    let tells_already = matches!(error, DaemonError::Attach(_));
    let mut failure = Failure::from(error);
    if failure.exit == Exit::NotPermitted && !tells_already {
        let missing = Environment::probe().missing_capabilities;
        if !missing.is_empty() {
            let missing = missing.join(", ");
            failure.message = format!("{}; also missing {missing}", failure.message);
        }
    }
    failure
}
