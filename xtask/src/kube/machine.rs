//! What a rig leaves on its machine while it runs, and how that is taken away.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::config::write_text;
use super::processes;
use super::programs::remove_if_there;
use super::rig::{Extent, INTERFACE, Rig};
use crate::cmd::Cmd;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Kubelet makes all cgroups of pods below this one, in every hierarchy.
const PODS: &str = "kubepods";
/// The directories that [`make_directories`] has made.
const MADE: &str = "made-directories";

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// Cgroups of pods, whosever they are.
pub(super) fn pod_cgroups() -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    let hierarchies = fs::read_dir(root).into_iter().flatten();
    hierarchies
        .filter_map(|entry| Some(entry.ok()?.path()))
        // One may be a link to another.
        .filter(|path| path.is_dir() && !path.is_symlink())
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(PODS))
        .filter(|pods| pods.is_dir())
        .collect()
}

/// Makes directories for a node to mount its own on, and notes those that were not there.
pub(super) fn make_directories(rig: &Rig, places: &[&str]) -> Result<()> {
    let mut made = String::new();
    for place in places {
        let path = Path::new("/").join(place);
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for directory in missing.into_iter().rev() {
            writeln!(made, "{}", directory.display())?;
            // Noted first: who dies in between has noted what is not there, and not made what is not noted.
            write_text(rig, MADE, &made)?;
            fs::create_dir(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
    }
    Ok(())
}

/// Ends every process of the rig, and takes away everything that is not.
pub(super) fn clear(rig: &Rig, extent: Extent) -> Result<()> {
    end_processes(rig, extent)?;
    if extent == Extent::Cluster {
        remove_link()?;
        for cgroup in pod_cgroups() {
            remove_cgroups(&cgroup)?;
        }
        remove_made_directories(rig)?;
    }
    ensure_nothing_is_mounted(rig)?;
    remove_if_there(rig.directory())
}

/// Those of programs, and those of pods, which live on without them.
fn end_processes(rig: &Rig, extent: Extent) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left: Vec<u32> = processes::running(rig)?
            .into_iter()
            .map(|process| process.pid)
            .collect();
        // Programs first: as long as one runs, it may start what is ended here.
        if left.is_empty() && extent == Extent::Cluster {
            for cgroup in pod_cgroups() {
                processes_below(&cgroup, &mut left);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes of the rig do not end: {left:?}");
        }
        processes::kill(left);
        thread::sleep(PAUSE);
    }
}

fn processes_below(cgroup: &Path, found: &mut Vec<u32>) {
    // Cgroups go away while one looks.
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for inner in directories_in(cgroup) {
        processes_below(&inner, found);
    }
}

/// A cgroup stays busy for a moment after its last process.
fn remove_cgroups(cgroup: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for inner in directories_in(cgroup) {
            remove_cgroups(&inner)?;
        }
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => {
                return removed.with_context(|| format!("cannot remove {}", cgroup.display()));
            }
        }
    }
}

fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect()
}

/// The kernel removes it with the node's network, but not at once.
fn remove_link() -> Result<()> {
    let link = Path::new("/sys/class/net").join(INTERFACE);
    Cmd::new("ip").args(["link", "delete", INTERFACE]).ask();
    let deadline = Instant::now() + PATIENCE;
    while link.exists() {
        if Instant::now() > deadline {
            bail!("the interface {INTERFACE} does not go away");
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Where somebody else has put something meanwhile, or mounted it over as `ip netns` does, the directory is theirs.
fn remove_made_directories(rig: &Rig) -> Result<()> {
    let made = fs::read_to_string(rig.path(MADE)).unwrap_or_default();
    for directory in made.lines().rev() {
        match fs::remove_dir(directory) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
                ) =>
            {
                return Err(error).with_context(|| format!("cannot remove {directory}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removing what is mounted would remove what is somebody else's.
fn ensure_nothing_is_mounted(rig: &Rig) -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let inside = |line: &&str| {
        line.split(' ')
            .nth(1)
            .is_some_and(|place| Path::new(place).starts_with(rig.directory()))
    };
    match mounts.lines().find(inside) {
        Some(mount) => bail!("not removed, because something is mounted there: {mount}"),
        None => Ok(()),
    }
}
