//! Reading a small file that somebody else puts in place, and may put anything in place of. A leaf.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{self, Mode, OFlags};

/// Opens what is there to be read, whatever it is, without waiting: a named pipe that nobody writes to would be waited for for ever.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(fs::open(path, flags, Mode::empty())?))
}

/// At most so many bytes of a file, from its beginning. A device may never end: only what is a regular file is read.
///
/// # Errors
/// It cannot be opened or read, or is no regular file.
pub(crate) fn beginning(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// All of a file of at most so many bytes.
///
/// # Errors
/// As of [`beginning`], or it is larger.
pub(crate) fn whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let content = beginning(path, most.saturating_add(1))?;
    if content.len() as u64 > most {
        let message = format!("is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn regular_files_are_read_as_far_as_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "abc").unwrap();
        assert_eq!(whole(&file, 3).unwrap(), b"abc");
        assert_eq!(beginning(&file, 2).unwrap(), b"ab");
        let error = whole(&file, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn nothing_else_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [&pipe, directory.path(), Path::new("/dev/zero")] {
            let error = whole(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "is no regular file", "{path:?}");
        }
    }
}
