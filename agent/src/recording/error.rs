//! What can be wrong with a recording.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A recording that cannot be made or used.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot make {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be written on. What was written until then can be replayed.
    #[error("cannot write to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its end was not written in time. What was written until then can be replayed.
    #[error("{} is not written on: its end is missing", path.display())]
    Stalled {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read on.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a directory, or something that may never end.
    #[error("{} is no regular file", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no recording", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error("{} is of version {version}, and this wellhead reads version {known}: replay it with the one that recorded it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// What can be read.
        known: u32,
    },
    /// Not even its beginning is whole.
    #[error("{} has no beginning that can be read", path.display())]
    NoStart {
        /// The file.
        path: PathBuf,
    },
    /// The threads that write cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why a recording cannot be used beyond a place in it.
#[derive(Debug, Error)]
pub enum Damage {
    /// It ends in the middle of a block, as where the machine or the agent was stopped.
    #[error("it ends in the middle of a block")]
    Torn,
    /// A block says that it is larger than any is.
    #[error("a block of {0} bytes, which is more than any has")]
    TooLarge(u64),
    /// A block is not what was written.
    #[error("the checksum of a block is wrong")]
    Checksum,
    /// A block does not unpack.
    #[error("a block cannot be unpacked: {0}")]
    Packed(#[source] io::Error),
    /// A block does not have the length that it says.
    #[error("a block of {found} bytes, where {expected} were written")]
    Length {
        /// What there is.
        found: usize,
        /// What it says.
        expected: usize,
    },
    /// An entry reaches beyond its block.
    #[error("an entry ends beyond its block")]
    Short,
    /// An entry is of no kind that there is.
    #[error("an entry of kind {0}, which there is none of")]
    Kind(u8),
    /// What was told cannot be read.
    #[error("an entry cannot be read: {0}")]
    Told(#[source] serde_json::Error),
}
