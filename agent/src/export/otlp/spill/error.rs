//! What can go wrong with files.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why requests cannot be kept on disk.
#[derive(Debug, Error)]
pub(in crate::export::otlp) enum SpillError {
    /// Another agent uses the directory.
    #[error("{}: another agent uses this directory", path.display())]
    InUse {
        /// Which one.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: Operation,
        /// With what.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A request is larger than all that could be there.
    #[error("{} has no room for a request of {bytes} bytes, even without all others", path.display())]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What it takes up.
        bytes: u64,
    },
    /// A record is not what was written.
    #[error("{} is damaged {at} bytes into it", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
    },
}

/// What is done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export::otlp) enum Operation {
    /// Makes the directory.
    CreateDirectory,
    /// Opens a file.
    Open,
    /// Lists the directory.
    List,
    /// Makes a segment.
    Create,
    /// Writes a record.
    Write,
    /// Reads a record.
    Read,
    /// Removes a segment.
    Remove,
}

impl SpillError {
    /// There is no more room on the disk, or none for this agent.
    pub(super) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::InUse { .. } | Self::NoRoom { .. } | Self::Damaged { .. } => false,
        }
    }

    pub(super) fn of(operation: Operation, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateDirectory => "make the directory",
            Self::Open => "open",
            Self::List => "list",
            Self::Create => "make",
            Self::Write => "write to",
            Self::Read => "read",
            Self::Remove => "remove",
        })
    }
}
