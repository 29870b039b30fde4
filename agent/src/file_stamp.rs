//! Whether a file is another one than before. A leaf.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells one content of a file from the next: device, inode, times of the last changes of content and of rights, size. Where a link was swapped, as
/// Kubernetes does in mounted ConfigMaps and Secrets, it leads to another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    granted: (i64, i64),
    size: u64,
}

impl FileStamp {
    /// Of the file as it is now; `None` if it cannot be looked at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            changed: (file.mtime(), file.mtime_nsec()),
            granted: (file.ctime(), file.ctime_nsec()),
            size: file.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn other_content_and_another_file_show() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a", "b"] {
            fs::write(path(name), "same").unwrap();
        }
        symlink(path("a"), path("link")).unwrap();
        let first = FileStamp::of(&path("link"));
        assert!(first.is_some());
        assert_eq!(FileStamp::of(&path("link")), first);
        symlink(path("b"), path("new")).unwrap();
        fs::rename(path("new"), path("link")).unwrap();
        let second = FileStamp::of(&path("link"));
        assert_ne!(second, first);
        fs::write(path("b"), "longer").unwrap();
        assert_ne!(FileStamp::of(&path("link")), second);
        fs::remove_file(path("b")).unwrap();
        assert_eq!(FileStamp::of(&path("link")), None);
    }
}
