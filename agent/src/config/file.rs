//! Reading the configuration file, which may be what a shell puts in place of one.

use std::{
    fs::{File, Metadata},
    io::{IsTerminal as _, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::fs::{OFlags, fcntl_setfl, fstatfs, makedev};

use crate::small_file;

/// Largest configuration file that is read.
const LARGEST_FILE: u64 = 1 << 20;

/// `PIPEFS_MAGIC` of include/uapi/linux/magic.h.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// The content of a file, of a pipe such as `/dev/stdin` or `<(…)`, or of what is typed at a terminal; or why there is none.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = small_file::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !is_readable_to_its_end(&file, &metadata) {
        return Err("is neither a file nor a pipe that is passed on".to_owned());
    }
    fcntl_setfl(&file, OFlags::empty()).map_err(|error| cannot(error.into()))?;
    let mut content = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut content)
        .map_err(cannot)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err("is larger than 1 MiB".to_owned());
    }
    Ok(content)
}

/// Not so named pipes and devices: they may never say anything. A directory is left to the read, which names it.
fn is_readable_to_its_end(file: &File, metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        let place = fstatfs(file).map(|place| u64::try_from(place.f_type));
        return place == Ok(Ok(PIPEFS_MAGIC));
    }
    if kind.is_char_device() {
        // `/dev/null`, which is what services have as standard input.
        return metadata.rdev() == makedev(1, 3) || file.is_terminal();
    }
    kind.is_file() || kind.is_dir()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{self, Write as _},
        os::fd::AsRawFd as _,
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn files_and_what_stands_for_one_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "a: b").expect("written");
        assert_eq!(read(&file), Ok(b"a: b".to_vec()));
        assert_eq!(read(Path::new("/dev/null")), Ok(Vec::new()));
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let passed_on = format!("/dev/fd/{}", reader.as_raw_fd());
        let later = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            writer.write_all(b"c: d").expect("written");
        });
        assert_eq!(read(Path::new(&passed_on)), Ok(b"c: d".to_vec()));
        later.join().expect("written");
        drop(reader);
    }

    #[test]
    fn what_may_never_end_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
        for path in [&*fifo, Path::new("/dev/zero")] {
            let reason = read(path).expect_err("refused");
            assert!(reason.contains("neither a file nor a pipe"), "{reason}");
        }
        let reason = read(directory.path()).expect_err("refused");
        assert!(reason.contains("Is a directory"), "{reason}");
        let large = directory.path().join("large");
        fs::write(&large, vec![b'#'; (1 << 20) + 1]).expect("written");
        assert_eq!(read(&large), Err("is larger than 1 MiB".to_owned()));
    }
}
