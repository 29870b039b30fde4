//! What two commands must not do at the same time, in whatever checkouts they run.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cmd::say;
use crate::paths;

/// Waits until nobody else does `what`, a word. Until the file is dropped, or the process ends, nobody else does.
pub(crate) fn wait(what: &str) -> Result<File> {
    hold(&paths::tool(&format!("{what}.lock"))?, what)
}

/// The same, of what a file stands for.
pub(crate) fn hold(path: &Path, what: &str) -> Result<File> {
    let refused = || format!("cannot lock {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(refused)?;
    }
    let lock = File::create(path).with_context(refused)?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => say(format!("waiting for another one to be done: {what}")),
        Err(TryLockError::Error(error)) => return Err(error).with_context(refused),
    }
    lock.lock().with_context(refused)?;
    Ok(lock)
}
