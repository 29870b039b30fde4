//! `wellhead uninstall`.

use std::fs;
use std::io;
use std::path::Path;

use super::exit::{Exit, Failure};
use super::{Options, print};
use crate::causes::chain;
use crate::daemon::{DaemonError, Lock, socket_path};
use crate::kernel::{PinError, remove_pins};

/// Removes the pinned programs, which detaches them, their maps, and the runtime directory.
pub(super) fn execute(options: &Options) -> Result<Exit, Failure> {
    let loaded = options.load_quietly()?;
    let pinned = remove_pins(&loaded.config.pins.directory).map_err(|error| not_removed(&error))?;
    let directory = &loaded.config.runtime_directory;
    if directory.exists() {
        remove_directory(directory)?;
    } else if !pinned {
        print("nothing to remove\n")?;
        return Ok(Exit::Success);
    }
    print("removed what was left of the agent\n")?;
    Ok(Exit::Success)
}

fn remove_directory(directory: &Path) -> Result<(), Failure> {
    // Its agent may be alive.
    let lock = Lock::acquire(directory).map_err(DaemonError::from)?;
    remove_file(&socket_path(directory))?;
    drop(lock);
    remove_file(&directory.join("wellhead.lock"))?;
    // Whatever else is in it is not ours.
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            print(&format!(
                "{} has other files and stays\n",
                directory.display()
            ))?;
        }
        result => result.map_err(|error| failed(directory, &error))?,
    }
    Ok(())
}

fn not_removed(error: &PinError) -> Failure {
    let exit = match error {
        PinError::Held { .. } => Exit::AlreadyRunning,
        PinError::Unusable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::NotPermitted
        }
        PinError::Untrusted { .. } => Exit::NotPermitted,
        PinError::Unusable { .. } | PinError::NotBpfFs { .. } => Exit::Internal,
    };
    Failure {
        exit,
        message: chain(error),
    }
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Internal,
    };
    Failure {
        exit,
        message: format!("cannot remove {}: {error}", path.display()),
    }
}
