//! What stays in the kernel when the agent ends: maps, programs and links, pinned below a directory of a bpf filesystem
//! (`pins.directory`), so that the next agent goes on where this one stopped.
//!
//! ```text
//! <directory>/v1/maps/STATE, COUNTS
//! <directory>/v1/<generation>/maps/<MAP>
//! <directory>/v1/<generation>/<program>-program, <program>-link
//! ```
//!
//! `v1` is the version of all that is shared across agents. A pinned link keeps running its program, which cannot be
//! exchanged: an agent with other programs attaches its own beside them, as another generation, and then turns the
//! switch (`wellhead_common::maps::state::GENERATION`). A map of the size both want is pinned in both places. Nothing of
//! the old generation goes before the switch is turned, and nothing that is not read yet after it: whenever an agent dies, the next
//! one finds all there is.

mod directory;
mod plan;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::Access;
use thiserror::Error;

use self::directory::{
    claim_directory, is_absence, is_layout, is_on_bpffs, is_ours, make_directory, remove,
    remove_tree,
};
pub(super) use self::plan::{Left, Plan, stand_down_below};
use super::{Feature, FeatureStatus, bpf, features::NOT_WANTED, maps::MapSpec};
use crate::causes::chain;

/// Version of everything that is shared across agents: layouts of records and maps.
const LAYOUT: &str = "v1";

/// Maps of an earlier generation that a new one copies before it lets go of them; its rings and its spill map are read
/// afterwards.
const COPIED: [&str; 3] = ["CONNECTIONS", "LISTENERS", "EXITED"];

/// Nothing can be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// Another agent uses the directory.
    #[error("another wellhead agent runs here: it holds {}", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
    },
    /// It is not on a bpf filesystem.
    #[error("{} is not on a bpf filesystem", path.display())]
    NotBpfFs {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else could put things there, which would be taken for what an agent left, or removed.
    #[error("{} (pins.directory) is not a directory that only this user can write to", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("cannot use {} (pins.directory)", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The directory, ours alone while this lives.
pub(super) struct Pins {
    root: PathBuf,
    directory: PathBuf,
    _lock: File,
}

impl Pins {
    /// Takes the directory, which is made if need be.
    pub(super) fn open(root: &Path) -> Result<Self, PinError> {
        let unusable = |source| PinError::Unusable {
            path: root.to_owned(),
            source,
        };
        if !is_on_bpffs(root).map_err(unusable)? {
            return Err(PinError::NotBpfFs {
                path: root.to_owned(),
            });
        }
        make_directory(root).map_err(unusable)?;
        let lock = lock(root)?;
        let directory = root.join(LAYOUT);
        claim_directory(&directory).map_err(unusable)?;
        claim_directory(&directory.join("maps")).map_err(unusable)?;
        Ok(Self {
            root: root.to_owned(),
            directory,
            _lock: lock,
        })
    }

    /// Where a map of a generation is pinned.
    pub(super) fn map(&self, generation: u64, spec: &MapSpec) -> PathBuf {
        let place = if spec.is_shared() {
            self.directory.join("maps")
        } else {
            self.generation_directory(generation).join("maps")
        };
        place.join(spec.name)
    }

    /// Makes the place for a generation's programs and maps.
    fn make_generation(&self, generation: u64) -> io::Result<()> {
        let directory = self.generation_directory(generation);
        claim_directory(&directory)?;
        claim_directory(&directory.join("maps"))
    }

    /// Detaches the programs of every generation but one, and lets go of the maps of theirs that are copied.
    pub(super) fn detach_others(&self, generation: u64) -> io::Result<()> {
        for other in self
            .generations()?
            .into_iter()
            .filter(|it| *it != generation)
        {
            let directory = self.generation_directory(other);
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_name() != "maps" {
                    remove(&entry.path())?;
                }
            }
            for map in COPIED {
                remove(&directory.join("maps").join(map))?;
            }
        }
        Ok(())
    }

    /// Removes every generation but one, everything in which is read, and what other versions left.
    pub(super) fn keep_only(&self, generation: u64) -> io::Result<()> {
        for other in self
            .generations()?
            .into_iter()
            .filter(|it| *it != generation)
        {
            self.remove_generation(other)?;
        }
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name() != LAYOUT && is_layout(&entry)? {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Detaches the programs of a generation.
    pub(super) fn remove_generation(&self, generation: u64) -> io::Result<()> {
        remove(&self.generation_directory(generation))
    }

    /// Pins an attached program.
    pub(super) fn keep(
        &self,
        generation: u64,
        name: &str,
        program: &OwnedFd,
        link: &OwnedFd,
    ) -> io::Result<()> {
        let place = self.place(generation, name, "program");
        // An agent that was killed between the two leaves it behind; and what is no link is in a link's place.
        remove(&place)?;
        bpf::pin(program.as_fd(), &place)?;
        // The link last: where it is, the program is too.
        let place = self.place(generation, name, "link");
        remove(&place)?;
        bpf::pin(link.as_fd(), &place)
    }

    /// An attached program that was pinned, and its link.
    pub(super) fn kept(&self, generation: u64, name: &str) -> Option<(OwnedFd, OwnedFd)> {
        let link = bpf::open_pinned(&self.place(generation, name, "link")).ok()?;
        let program = bpf::open_pinned(&self.place(generation, name, "program")).ok()?;
        bpf::is_link_of(link.as_fd(), program.as_fd()).then_some((program, link))
    }

    fn generation_directory(&self, generation: u64) -> PathBuf {
        self.directory.join(generation.to_string())
    }

    /// bpf filesystems allow no dot in a name (`bpf_lookup`, kernel/bpf/inode.c).
    fn place(&self, generation: u64, name: &str, what: &str) -> PathBuf {
        self.generation_directory(generation)
            .join(format!("{name}-{what}"))
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        let mut generations = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            // Written as it is by agents, and no link.
            let is_ours = |number: &u64| name.to_str() == Some(&*number.to_string());
            if let Some(number) = number.filter(is_ours)
                && entry.file_type()?.is_dir()
            {
                generations.push(number);
            }
        }
        generations.sort_unstable();
        Ok(generations)
    }
}

/// Whether an agent could pin what it leaves to the next one, as far as can be told without doing it. `obstacle` says why it
/// would not even try.
pub fn restart_status(directory: Option<&Path>, obstacle: Option<&str>) -> FeatureStatus {
    let off = |wanted, reason: &str| FeatureStatus::off(Feature::Restart, wanted, reason);
    match (directory.map(check), obstacle) {
        (None, _) => off(false, NOT_WANTED),
        (Some(_), Some(obstacle)) => off(true, obstacle),
        (Some(Ok(())), None) => FeatureStatus::on(Feature::Restart, "bpffs"),
        (Some(Err(error)), None) => off(true, &chain(&error)),
    }
}

fn check(directory: &Path) -> Result<(), PinError> {
    let path = || directory.to_owned();
    let unusable = |source| PinError::Unusable {
        path: path(),
        source,
    };
    if !is_on_bpffs(directory).map_err(unusable)? {
        return Err(PinError::NotBpfFs { path: path() });
    }
    if directory.exists() && !is_ours(directory).map_err(unusable)? {
        return Err(PinError::Untrusted { path: path() });
    }
    let existing = directory.ancestors().find(|path| path.exists());
    let existing = existing.unwrap_or(Path::new("/"));
    rustix::fs::access(existing, Access::WRITE_OK).map_err(|error| unusable(error.into()))
}

/// Removes everything an agent pinned below `root`; whether there was anything.
///
/// # Errors
/// An agent runs, or the kernel refuses.
pub fn remove_pins(root: &Path) -> Result<bool, PinError> {
    let unusable = |source| PinError::Unusable {
        path: root.to_owned(),
        source,
    };
    let is_there = match fs::symlink_metadata(root) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if is_absence(&error) => false,
        Err(error) => return Err(unusable(error)),
    };
    // Elsewhere no agent ever pinned anything, and directories of such names are somebody's.
    if !is_there || !is_on_bpffs(root).map_err(unusable)? {
        return Ok(false);
    }
    let _lock = lock(root)?;
    for entry in fs::read_dir(root).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        if is_layout(&entry).map_err(unusable)? {
            remove_tree(&entry.path()).map_err(unusable)?;
        }
    }
    // Whatever else is in it is not ours.
    match fs::remove_dir(root) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(unusable(error)),
        _ => Ok(true),
    }
}

/// Takes the directory, if it is ours.
fn lock(root: &Path) -> Result<File, PinError> {
    let path = || root.to_owned();
    let unusable = |source| PinError::Unusable {
        path: path(),
        source,
    };
    if !is_ours(root).map_err(unusable)? {
        return Err(PinError::Untrusted { path: path() });
    }
    let file = File::open(root).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PinError::Held { path: path() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("a/b");
        assert!(matches!(Pins::open(&below), Err(PinError::NotBpfFs { .. })));
        assert!(!below.exists());
    }
}
