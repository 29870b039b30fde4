//! Exit codes, after `sysexits.h`.

use std::io;
use std::process::ExitCode;

use crate::causes::chain;
use crate::config::ConfigError;
use crate::daemon::{DaemonError, LockError};
use crate::kernel::AttachError;
use crate::recording::RecordingError;
use crate::resolver::ResolverError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Success = 0,
    /// Some wanted feature is off (`doctor`); a recording could not be read to its end (`replay`).
    Degraded = 1,
    /// Bad configuration or command line (`EX_USAGE`).
    Usage = 64,
    /// Nothing can be captured, or something required is not there (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// An error of the agent's own (`EX_SOFTWARE`).
    Internal = 70,
    /// Another agent runs here (`EX_TEMPFAIL`).
    AlreadyRunning = 75,
    /// Not permitted (`EX_NOPERM`).
    NotPermitted = 77,
    /// The address to listen on is in use (`EADDRINUSE`).
    AddressInUse = 98,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn configuration(error: &ConfigError) -> Self {
        Self {
            exit: Exit::Usage,
            message: format!("bad configuration\n{error}"),
        }
    }

    pub(super) fn internal(message: String) -> Self {
        Self {
            exit: Exit::Internal,
            message,
        }
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        Self {
            exit: exit_of(&error),
            message: chain(&error),
        }
    }
}

impl From<ResolverError> for Failure {
    fn from(error: ResolverError) -> Self {
        let exit = match &error {
            ResolverError::Files(_) | ResolverError::Access(_) | ResolverError::Tls(_) => {
                Exit::Usage
            }
            ResolverError::Listen { source, .. } => exit_of_io(source),
            ResolverError::Kubernetes(_) => Exit::Unavailable,
            ResolverError::Signals(_) | ResolverError::Died(_) => Exit::Internal,
        };
        Self {
            exit,
            message: chain(&error),
        }
    }
}

/// What an address, or a file of the agent's own, that cannot be had comes to.
fn exit_of_io(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::AddrInUse => Exit::AddressInUse,
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        // An address this machine does not have, a directory that cannot be made.
        _ => Exit::Usage,
    }
}

fn exit_of(error: &DaemonError) -> Exit {
    match error {
        DaemonError::Settings(_) | DaemonError::Access(_) | DaemonError::Otlp(_) => Exit::Usage,
        DaemonError::Lock(LockError::Held { .. }) => Exit::AlreadyRunning,
        DaemonError::Lock(LockError::Create { source, .. })
        | DaemonError::Socket { source, .. }
        | DaemonError::Listen { source, .. } => exit_of_io(source),
        DaemonError::Attach(error) => match error {
            AttachError::Privilege { .. } | AttachError::Refused(_) => Exit::NotPermitted,
            AttachError::Btf(_) | AttachError::NoBtf { .. } | AttachError::Nothing { .. } => {
                Exit::Unavailable
            }
            AttachError::Held(_) => Exit::AlreadyRunning,
            AttachError::Load(_)
            | AttachError::Map { .. }
            | AttachError::Pins(_)
            | AttachError::Switch(_) => Exit::Internal,
        },
        DaemonError::Kubernetes(_) => Exit::Unavailable,
        DaemonError::Recording(error) => match error {
            RecordingError::Create { .. }
            | RecordingError::Open { .. }
            | RecordingError::NoFile { .. }
            | RecordingError::Foreign { .. }
            | RecordingError::Version { .. }
            | RecordingError::NoStart { .. } => Exit::Usage,
            RecordingError::Write { .. }
            | RecordingError::Stalled { .. }
            | RecordingError::Read { .. }
            | RecordingError::Thread(_) => Exit::Internal,
        },
        DaemonError::Signals(_)
        | DaemonError::Threads(_)
        | DaemonError::Rings(_)
        | DaemonError::Died(_) => Exit::Internal,
    }
}
