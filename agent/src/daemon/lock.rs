//! One agent per node: two would read each other's records away.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("another wellhead agent runs here: it holds {}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory or the file cannot be made.
    #[error("cannot make {} (runtime_directory)", path.display())]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The lock; released when dropped, or when the process dies in whatever way.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock in `directory`, which is made if need be.
    ///
    /// # Errors
    /// Another process holds it, or the directory cannot be written.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let create = |path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Create { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(create(directory))?;
        let path = directory.join("wellhead.lock");
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            // Whoever can open it can lock it, and so keep the agent from starting.
            .mode(0o600)
            .open(&path)
            .map_err(create(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path }),
            Err(TryLockError::Error(source)) => Err(LockError::Create { path, source }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file releases the lock as well; this only makes it sooner.
        drop(self.0.unlock());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_one_holds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("a/b");
        let first = Lock::acquire(&below).expect("free");
        assert!(matches!(Lock::acquire(&below), Err(LockError::Held { .. })));
        drop(first);
        Lock::acquire(&below).expect("free again");
    }

    #[test]
    fn only_its_owner_can_open_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let _lock = Lock::acquire(directory.path()).expect("free");
        let file = fs::metadata(directory.path().join("wellhead.lock")).expect("there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(
            Lock::acquire(&file),
            Err(LockError::Create { .. })
        ));
    }
}
