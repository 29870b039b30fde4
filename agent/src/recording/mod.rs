//! Recordings: what a pipeline was told, in the order in which it was told, so that another one can be told the same.
//!
//! A file begins with its version; then come blocks of entries, each compressed by itself and with a checksum, so that whatever
//! ends the recording costs no more than its last block. Entries are the kernel's records as they were in their rings, the time, and
//! what else was told: cgroups, pods, what the kernel counted.

mod block;
mod counts;
mod entry;
mod error;
mod missing;
mod reader;
mod recorder;
mod spilled;
#[cfg(test)]
mod tests;
mod told;

pub use self::counts::Counts;
pub use self::entry::{Entry, Ring};
pub use self::error::{Damage, RecordingError};
pub use self::missing::Missing;
pub use self::reader::{Block, Recording};
pub use self::recorder::{Outcome, Recorder, Writer};
pub use self::spilled::SpilledEntries;
pub use self::told::{Start, Told};
