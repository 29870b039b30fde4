//! What stays in the kernel when the agent ends: maps, programs and links, pinned below a directory of a bpf filesystem
//! (`pins.directory`), so that the next agent goes on where this one stopped.
//!
//! ```text
//! <directory>/v1/maps/<MAP>
//! <directory>/v1/<generation>/<program>-program, <program>-link
//! ```
//!
//! `v1` is the version of all that is shared across agents. A pinned link keeps running its program, which cannot be
//! exchanged: an agent with other programs attaches its own beside them, as another generation, and then turns the
//! switch (`wellhead_common::maps::state::GENERATION`).

use std::{
    fs::{self, File, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapInfo};
use rustix::fs::Access;
use thiserror::Error;
use wellhead_common::maps::state;

use super::{
    Feature, FeatureStatus, ProbeSettings, bpf,
    features::{NO_BTF, NOT_WANTED},
    maps::MAPS,
    steering::Steering,
};
use crate::causes::chain;

/// Version of everything that is shared across agents: layouts of records and maps.
const LAYOUT: &str = "v1";

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

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

/// What to do with what an earlier agent left.
pub(super) struct Plan {
    /// The generation to work from now on.
    pub(super) generation: u64,
    /// Its programs are there and stay; otherwise they are attached and then the switch is turned.
    pub(super) is_adopted: bool,
    /// Pinned maps that do not fit any more and are made anew.
    pub(super) replaced: Vec<Replaced>,
}

impl Plan {
    /// Nothing is pinned.
    pub(super) const UNPINNED: Self = Self {
        generation: 1,
        is_adopted: false,
        replaced: Vec::new(),
    };
}

/// A map an earlier agent's programs still use.
pub(super) struct Replaced {
    pub(super) name: &'static str,
    pub(super) map: MapData,
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
        make_directory(&directory.join("maps")).map_err(unusable)?;
        Ok(Self {
            root: root.to_owned(),
            directory,
            _lock: lock,
        })
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join("maps").join(name)
    }

    /// Looks at what is there. What cannot be used is removed.
    pub(super) fn plan(&self, settings: &ProbeSettings, fingerprint: u64) -> io::Result<Plan> {
        let Some(mut steering) = self.steering(settings) else {
            return self.start_anew();
        };
        if !steering.is_attended() {
            tracing::warn!(
                "the last agent stopped too long ago: what happened meanwhile was not captured"
            );
            return self.start_anew();
        }
        let generation = steering.get(state::GENERATION);
        let unfit: Vec<_> = MAPS
            .iter()
            .filter(|spec| spec.is_pinned())
            .filter(|spec| {
                !MapInfo::from_pin(self.map(spec.name)).is_ok_and(|map| spec.fits(&map, settings))
            })
            .collect();
        let has_programs = self.generation_directory(generation).is_dir();
        if unfit.is_empty() && has_programs && steering.get(state::FINGERPRINT) == fingerprint {
            return Ok(Plan {
                generation,
                is_adopted: true,
                replaced: Vec::new(),
            });
        }
        // Before anything is changed: should this agent end before it turned the switch, the programs at work are not
        // taken over beside maps they do not use.
        steering
            .set(state::FINGERPRINT, 0)
            .map_err(io::Error::other)?;
        let generations = self.generations()?;
        // Of agents that ended before they turned it: attached, and never at work.
        for unfinished in generations.iter().filter(|other| **other != generation) {
            self.remove_generation(*unfinished)?;
        }
        let mut replaced = Vec::new();
        for spec in unfit {
            let (name, path) = (spec.name, self.map(spec.name));
            if let Ok(map) = MapData::from_pin(&path) {
                replaced.push(Replaced { name, map });
            }
            // Also what is no map: whatever has its place would be taken for it.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let last = generations.into_iter().max().unwrap_or(0);
        Ok(Plan {
            generation: last.max(generation) + 1,
            is_adopted: false,
            replaced,
        })
    }

    fn steering(&self, settings: &ProbeSettings) -> Option<Steering> {
        let path = self.map("STATE");
        let spec = MAPS.iter().find(|spec| spec.name == "STATE")?;
        if !spec.fits(&MapInfo::from_pin(&path).ok()?, settings) {
            return None;
        }
        let map = Map::from_map_data(MapData::from_pin(&path).ok()?).ok()?;
        Some(Steering::new(Array::try_from(map).ok()?))
    }

    fn start_anew(&self) -> io::Result<Plan> {
        for generation in self.generations()? {
            self.remove_generation(generation)?;
        }
        remove_files(&self.directory.join("maps"))?;
        Ok(Plan {
            generation: 1,
            is_adopted: false,
            replaced: Vec::new(),
        })
    }

    /// Makes the place for a generation's programs.
    pub(super) fn make_generation(&self, generation: u64) -> io::Result<()> {
        make_directory(&self.generation_directory(generation))
    }

    /// Removes every generation but one, which detaches their programs, and what other versions left.
    pub(super) fn keep_only(&self, generation: u64) -> io::Result<()> {
        for other in self.generations()? {
            if other != generation {
                self.remove_generation(other)?;
            }
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
        let directory = self.generation_directory(generation);
        if !directory.is_dir() {
            return Ok(());
        }
        remove_tree(&directory)
    }

    /// Pins an attached program.
    pub(super) fn keep(
        &self,
        generation: u64,
        name: &str,
        program: &OwnedFd,
        link: &OwnedFd,
    ) -> io::Result<()> {
        use std::os::fd::AsFd as _;
        let place = self.place(generation, name, "program");
        // An agent that was killed between the two leaves it behind.
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => bpf::pin(program.as_fd(), &place)?,
        }
        // The link last: where it is, the program is too.
        bpf::pin(link.as_fd(), &self.place(generation, name, "link"))
    }

    /// An attached program that was pinned, and its link.
    pub(super) fn kept(&self, generation: u64, name: &str) -> Option<(OwnedFd, OwnedFd)> {
        let link = bpf::open_pinned(&self.place(generation, name, "link")).ok()?;
        let program = bpf::open_pinned(&self.place(generation, name, "program")).ok()?;
        Some((program, link))
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
            if let Ok(number) = entry?.file_name().to_string_lossy().parse() {
                generations.push(number);
            }
        }
        Ok(generations)
    }
}

/// Whether an agent could pin what it leaves to the next one, as far as can be told without doing it. Without BTF none
/// can.
pub fn restart_status(directory: Option<&Path>, without_btf: bool) -> FeatureStatus {
    let off = |wanted, reason: &str| FeatureStatus::off(Feature::Restart, wanted, reason);
    match directory.map(check) {
        None => off(false, NOT_WANTED),
        Some(_) if without_btf => off(true, NO_BTF),
        Some(Ok(())) => FeatureStatus::on(Feature::Restart, "bpffs"),
        Some(Err(error)) => off(true, &chain(&error)),
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

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Makes a directory and those above it. Whoever can open one can lock it, and so keep the agent from starting.
fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Whether nobody else can put anything into a directory: bpf filesystems are often made for all to write to.
fn is_ours(directory: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(directory)?;
    let own = rustix::process::geteuid().as_raw();
    Ok(metadata.is_dir() && metadata.uid() == own && metadata.mode() & 0o022 == 0)
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

/// Whether a directory is, or would be, on a bpf filesystem.
fn is_on_bpffs(directory: &Path) -> io::Result<bool> {
    let Some(existing) = directory.ancestors().find(|path| path.exists()) else {
        return Ok(false);
    };
    let kind = rustix::fs::statfs(existing)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| kind == BPF_FS_MAGIC))
}

/// Whether it is a directory of ours.
fn is_layout(entry: &fs::DirEntry) -> io::Result<bool> {
    let is_directory = entry.file_type()?.is_dir();
    Ok(is_directory && is_layout_name(&entry.file_name().to_string_lossy()))
}

fn is_layout_name(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Removes a directory of pins, however deep. Links go first: nothing is to run without its maps.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "maps" {
            remove_tree(&entry.path())?;
        }
    }
    let maps = directory.join("maps");
    if maps.is_dir() {
        remove_tree(&maps)?;
    }
    remove_files(directory)?;
    fs::remove_dir(directory)
}

fn remove_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
    fn an_ordinary_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("a/b");
        assert!(matches!(Pins::open(&below), Err(PinError::NotBpfFs { .. })));
        assert!(!below.exists());
    }
}
