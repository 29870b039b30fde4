//! What is done with directories of a bpf filesystem. None of it follows a link.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Makes a directory and those above it. Whoever can open one can lock it, and so keep the agent from starting.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Whether nobody else can put anything into a directory: bpf filesystems are often made for all to write to.
pub(super) fn is_ours(directory: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(directory)?;
    let own = rustix::process::geteuid().as_raw();
    Ok(metadata.is_dir() && metadata.uid() == own && metadata.mode() & 0o022 == 0)
}

/// Whether a directory is, or would be, on a bpf filesystem.
pub(super) fn is_on_bpffs(directory: &Path) -> io::Result<bool> {
    let Some(existing) = directory.ancestors().find(|path| path.exists()) else {
        return Ok(false);
    };
    let kind = rustix::fs::statfs(existing)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| kind == BPF_FS_MAGIC))
}

/// Whether it is a directory of ours.
pub(super) fn is_layout(entry: &fs::DirEntry) -> io::Result<bool> {
    let is_directory = entry.file_type()?.is_dir();
    Ok(is_directory && is_layout_name(&entry.file_name().to_string_lossy()))
}

pub(super) fn is_layout_name(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Whether it is a directory itself, and not a link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Makes a directory of ours; whatever else has its place is removed.
pub(super) fn claim_directory(path: &Path) -> io::Result<()> {
    if !is_directory(path) {
        remove(path)?;
    }
    make_directory(path)
}

/// Removes whatever is at a path, if there is anything: a pin, a link (and not what it leads to), a directory with all that
/// is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if is_directory(path) {
        return remove_tree(path);
    }
    match fs::remove_file(path) {
        Err(error) if !is_absence(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory of pins, however deep. Maps go last: nothing is to run without its maps.
pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        entries.push(entry?);
    }
    entries.sort_by_key(|entry| entry.file_name() == "maps");
    for entry in entries {
        remove(&entry.path())?;
    }
    fs::remove_dir(directory)
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_directories() {
        for (name, ours) in [
            ("v1", true),
            ("v12", true),
            ("v", false),
            ("vx", false),
            ("1", false),
        ] {
            assert_eq!(is_layout_name(name), ours, "{name}");
        }
    }

    #[test]
    fn links_are_removed_and_not_what_they_lead_to() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let (ours, others) = (root.path().join("ours"), root.path().join("others"));
        fs::create_dir_all(ours.join("1/maps"))?;
        fs::create_dir(&others)?;
        fs::write(others.join("file"), "")?;
        for link in ["maps", "2", "1/maps/X"] {
            std::os::unix::fs::symlink(&others, ours.join(link))?;
        }
        claim_directory(&ours.join("maps"))?;
        assert!(is_directory(&ours.join("maps")));
        remove(&ours)?;
        assert!(!ours.exists() && others.join("file").exists());
        remove(&ours)
    }
}
