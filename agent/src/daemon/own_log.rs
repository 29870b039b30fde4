//! The agent's own log, as far as the daemon has a say in it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::LogLevel;
use crate::counters::{Counters, Discard};

/// How often lines that were left out are summed up.
const TELL: Duration = Duration::from_secs(1);

/// What can be done about the log.
pub struct OwnLog {
    /// Changes what is logged.
    pub set_level: Box<dyn Fn(LogLevel) + Send + Sync>,
    /// Logs how many lines were left out of it, where that is due, and says how many in all. There is a limit from the first
    /// call on.
    pub tell_left_out: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for OwnLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnLog").finish_non_exhaustive()
    }
}

impl OwnLog {
    /// Tells of lines that were left out, and counts them, for ever.
    pub(crate) async fn keep_telling(self: Arc<Self>, counters: Arc<Counters>) {
        let mut tell = interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tell.tick().await;
            let left_out = (self.tell_left_out)();
            counters.set_discards(Discard::PolicyLogLines, left_out);
        }
    }
}
