//! cgroups of the test's own.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use wellhead::identity::scan::find_mount;

/// A cgroup that is emptied and removed, with those of its parents that were made for it, when dropped.
#[derive(Debug)]
pub struct CgroupGuard {
    path: PathBuf,
    id: u64,
    /// What was made, outermost first.
    made: Vec<PathBuf>,
    /// Removed after this one.
    parent: Option<Box<Self>>,
}

impl CgroupGuard {
    /// A cgroup of the version 2 hierarchy, directly below its root, with a name of its own.
    ///
    /// # Errors
    /// There is no such hierarchy, or the cgroup cannot be made.
    pub fn new() -> Result<Self> {
        Self::at(&unique_name())
    }

    /// A cgroup at a path below the root of the version 2 hierarchy.
    ///
    /// # Errors
    /// As [`Self::new`]; also if it exists.
    pub fn at(path: &str) -> Result<Self> {
        let mount = find_mount().context("no cgroup v2 hierarchy")?;
        Self::below(&mount.path, path)
    }

    /// A cgroup at a path below `root`, a directory of any hierarchy.
    ///
    /// # Errors
    /// It cannot be made; also if it exists.
    pub fn below(root: &Path, path: &str) -> Result<Self> {
        // Built first: if a step fails, what was made by then is removed.
        let mut guard = Self {
            path: root.join(path),
            id: 0,
            made: Vec::new(),
            parent: None,
        };
        let mut directory = root.to_path_buf();
        for part in Path::new(path) {
            directory.push(part);
            match fs::create_dir(&directory) {
                Ok(()) => guard.made.push(directory.clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("mkdir {}", directory.display()));
                }
            }
        }
        let made_last = guard.made.last();
        anyhow::ensure!(made_last == Some(&guard.path), "cgroup {path} exists");
        guard.id = fs::metadata(&guard.path)?.ino();
        Ok(guard)
    }

    /// Keeps the cgroup it was made in until it is removed itself.
    #[must_use]
    pub fn with_parent(mut self, parent: Self) -> Self {
        self.parent = Some(Box::new(parent));
        self
    }

    /// Its id: the inode number of its directory.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that a process enters the cgroup by.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Writes one of its control files.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
    }
}

impl Drop for CgroupGuard {
    fn drop(&mut self) {
        for (depth, directory) in self.made.iter().rev().enumerate() {
            remove(directory, depth == 0);
        }
    }
}

/// Kills whoever is left in a cgroup and removes it. Processes leave it a moment after they were waited for.
fn remove(directory: &Path, is_own: bool) {
    for _ in 0..200 {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            _ => return,
        }
        if !is_own {
            // A parent that somebody else uses too.
            return;
        }
        kill_all(directory);
        thread::sleep(Duration::from_millis(10));
    }
}

fn kill_all(directory: &Path) {
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have gone meanwhile.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap_or_default();
        }
    }
}

/// A name no other test has.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("wellhead-test-{}-{number}", process::id())
}
