//! The one scan of the cgroup v2 tree at start, repeated only where events were lost.

use std::fs::{self, ReadDir};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Inode of the root of every kernfs hierarchy; a cgroup's id is its directory's inode.
const ROOT_INODE: u64 = 1;

/// Why there is nothing to scan.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The list of mounts could not be read.
    #[error("cannot read {}", path.display())]
    Mounts {
        /// The list.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No cgroup v2 hierarchy is mounted.
    #[error("no cgroup2 file system is mounted")]
    NotMounted,
    /// The top directory could not be read.
    #[error("cannot read the cgroup directory {}", path.display())]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A mounted cgroup v2 hierarchy, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Where.
    pub path: PathBuf,
    /// Whether all of the hierarchy is below, not only a part of it.
    pub whole: bool,
}

/// Finds the cgroup v2 mount in `/proc/self/mountinfo`.
pub fn find_mount() -> Result<CgroupMount, ScanError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read(path).map_err(|source| ScanError::Mounts {
        path: path.into(),
        source,
    })?;
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.ino());
    choose(&mounts(&String::from_utf8_lossy(&text)), inode).ok_or(ScanError::NotMounted)
}

/// Root and mount point (fields 4 and 5 of proc(5)) of every cgroup2 mount.
fn mounts(mountinfo: &str) -> Vec<(&str, PathBuf)> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            (source.split(' ').next() == Some("cgroup2")).then(|| (root, unescape(point)))
        })
        .collect()
}

/// Within a cgroup namespace the root shown is relative to it: the namespace's own part shows as `/`, the host's whole
/// tree as `/../..`. So the inode decides first, and `/` only where no mount has the root's inode.
fn choose(mounts: &[(&str, PathBuf)], inode: impl Fn(&Path) -> Option<u64>) -> Option<CgroupMount> {
    if let Some((_, path)) = mounts
        .iter()
        .find(|(_, path)| inode(path) == Some(ROOT_INODE))
    {
        return Some(CgroupMount {
            path: path.clone(),
            whole: true,
        });
    }
    let (_, path) = mounts
        .iter()
        .find(|(root, _)| *root == "/")
        .or(mounts.first())?;
    Some(CgroupMount {
        path: path.clone(),
        whole: false,
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        match tail {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] if *first == b'\\' => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Walks the tree below `root`, parents before children: (cgroup id, path relative to `root`), at most `limit` of them.
/// Directories that vanish meanwhile are left out.
pub fn scan(root: &Path, limit: usize) -> Result<Scan, ScanError> {
    let failed = |source| ScanError::Root {
        path: root.to_path_buf(),
        source,
    };
    let id = fs::metadata(root).map_err(failed)?.ino();
    let entries = fs::read_dir(root).map_err(failed)?;
    Ok(Scan {
        base: root.to_path_buf(),
        top: Some(id),
        current: Some((String::new(), entries)),
        pending: Vec::new(),
        left: limit,
        ended: false,
        unreadable: 0,
    })
}

/// A scan under way.
#[derive(Debug)]
pub struct Scan {
    base: PathBuf,
    top: Option<u64>,
    current: Option<(String, ReadDir)>,
    /// Directories found and not yet looked into, relative to `base`.
    pending: Vec<String>,
    left: usize,
    ended: bool,
    unreadable: u64,
}

/// A finished scan.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What was found: id and path, parents before children.
    pub cgroups: Vec<(u64, String)>,
    /// Whether nothing was left out.
    pub complete: bool,
}

impl Scan {
    /// Walks what is left of the tree.
    pub fn finish(mut self) -> Scanned {
        let cgroups = self.by_ref().collect();
        Scanned {
            cgroups,
            complete: self.is_complete(),
        }
    }

    /// Directories that were there but could not be read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Whether the limit ended the scan.
    pub fn truncated(&self) -> bool {
        self.left == 0 && !self.ended
    }

    /// Whether it has come to its end and missed nothing.
    pub fn is_complete(&self) -> bool {
        self.ended && self.unreadable == 0
    }

    fn next_directory(&mut self) -> Option<(u64, String)> {
        loop {
            let Some((parent, entries)) = &mut self.current else {
                self.current = Some(self.open_pending()?);
                continue;
            };
            match entries.next() {
                // The kind and the inode come with the entry; nothing is opened for the control files.
                Some(Ok(entry)) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => {
                    return Some((
                        entry.ino(),
                        format!("{parent}/{}", entry.file_name().to_string_lossy()),
                    ));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.unreadable += u64::from(!has_vanished(&error));
                    self.current = None;
                }
                None => self.current = None,
            }
        }
    }

    fn open_pending(&mut self) -> Option<(String, ReadDir)> {
        loop {
            let directory = self.pending.pop()?;
            match fs::read_dir(self.base.join(directory.trim_start_matches('/'))) {
                Ok(entries) => return Some((directory, entries)),
                Err(error) => self.unreadable += u64::from(!has_vanished(&error)),
            }
        }
    }
}

impl Iterator for Scan {
    type Item = (u64, String);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if let Some(id) = self.top.take() {
            return Some((id, "/".into()));
        }
        let Some((id, path)) = self.next_directory() else {
            self.ended = true;
            return None;
        };
        self.pending.push(path.clone());
        Some((id, path))
    }
}

fn has_vanished(error: &io::Error) -> bool {
    // kernfs answers ENODEV for a directory removed while it is open.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use super::{CgroupMount, ScanError, choose, mounts, scan};

    const HYBRID: &str = "\
25 30 0:22 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
27 25 0:24 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
";
    /// A pod with a cgroup namespace of its own and the host's tree at /host.
    const NAMESPACED: &str = "\
700 690 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
701 690 0:27 /../../../.. /host/sys/fs/cgroup rw - cgroup2 cgroup rw
";
    const BOUND: &str = "\
40 25 0:26 /system.slice /run/part\\040one rw - cgroup2 cgroup rw
41 25 0:26 / /mnt/cgroup rw shared:1 master:2 - cgroup2 cgroup rw
";

    fn check(mountinfo: &str, root_inode_at: &[&str], expected: Option<(&str, bool)>) {
        let inode = |path: &Path| {
            Some(if root_inode_at.iter().any(|at| Path::new(at) == path) {
                1
            } else {
                99
            })
        };
        let expected = expected.map(|(path, whole)| CgroupMount {
            path: path.into(),
            whole,
        });
        assert_eq!(choose(&mounts(mountinfo), inode), expected, "{mountinfo}");
    }

    #[test]
    fn mounts_of_each_kind_of_node() {
        let unified = "25 30 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        check(unified, &["/sys/fs/cgroup"], Some(("/sys/fs/cgroup", true)));
        check(
            HYBRID,
            &["/sys/fs/cgroup/unified"],
            Some(("/sys/fs/cgroup/unified", true)),
        );
        check(
            NAMESPACED,
            &["/host/sys/fs/cgroup"],
            Some(("/host/sys/fs/cgroup", true)),
        );
        check(NAMESPACED, &[], Some(("/sys/fs/cgroup", false)));
        check(BOUND, &["/mnt/cgroup"], Some(("/mnt/cgroup", true)));
        check(BOUND, &[], Some(("/mnt/cgroup", false)));
        check(
            "27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            &[],
            None,
        );
        check("garbage - cgroup2\n\n1 2 3 - cgroup2 x\n", &[], None);
    }

    #[test]
    fn escapes_in_mount_points() {
        let text = "40 25 0:26 /x /run/part\\040one\\134\\09 rw - cgroup2 cgroup rw\n";
        assert_eq!(mounts(text), [("/x", PathBuf::from("/run/part one\\\\09"))]);
    }

    #[test]
    fn every_directory_once_with_its_inode() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["a/b/c", "a/d", "e"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("a/cgroup.procs"), "").unwrap();
        std::os::unix::fs::symlink("/", root.path().join("loop")).unwrap();

        let mut walk = scan(root.path(), 100).unwrap();
        let found: BTreeMap<String, u64> = walk.by_ref().map(|(id, path)| (path, id)).collect();
        let expected: BTreeMap<String, u64> = ["/", "/a", "/a/b", "/a/b/c", "/a/d", "/e"]
            .into_iter()
            .map(|path| {
                let inode = fs::metadata(root.path().join(path.trim_start_matches('/')))
                    .unwrap()
                    .ino();
                (path.to_owned(), inode)
            })
            .collect();
        assert_eq!(found, expected);
        assert!(walk.is_complete() && !walk.truncated() && walk.unreadable() == 0);
    }

    #[test]
    fn directories_may_vanish() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        let mut walk = scan(root.path(), 100).unwrap();
        let first_two: Vec<String> = walk.by_ref().take(2).map(|(_, path)| path).collect();
        assert_eq!(first_two, ["/", "/a"]);
        fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(walk.next(), None);
        assert!(walk.is_complete() && !walk.truncated() && walk.unreadable() == 0);
    }

    #[test]
    fn the_limit_ends_it() {
        let root = tempfile::tempdir().unwrap();
        for name in 0..10 {
            fs::create_dir(root.path().join(name.to_string())).unwrap();
        }
        let mut walk = scan(root.path(), 4).unwrap();
        assert_eq!(walk.by_ref().count(), 4);
        assert!(walk.truncated() && !walk.is_complete());
    }

    #[test]
    fn a_missing_root_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("none");
        assert!(matches!(scan(&missing, 1), Err(ScanError::Root { path, .. }) if path == missing));
    }
}
