//! A file system of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One that is mounted over a directory, which cannot be removed meanwhile.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn over(directory: &Path) -> Self {
        Self::with("rw", directory)
    }

    /// With room for so many KiB.
    pub(crate) fn sized(kibibytes: u32, directory: &Path) -> Self {
        Self::with(&format!("size={kibibytes}k"), directory)
    }

    fn with(options: &str, directory: &Path) -> Self {
        let path = directory.to_str().expect("UTF-8");
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs", path];
        let status = Command::new("mount").args(mount).status();
        assert!(status.expect("mount runs").success());
        Self(directory.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(status.expect("umount runs").success());
    }
}
