//! The kernels the tests run on: Debian's, for machines in the cloud, which have all their drivers built in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::apt;
use crate::cmd::{say, write_if_changed};
use crate::debian::Suite;
use crate::paths;

/// How long a kernel that was found to be a suite's newest counts as that.
const FRESH: Duration = Duration::from_hours(7 * 24);

/// Which cgroup hierarchies a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cgroups {
    /// Version 2 alone, at /sys/fs/cgroup
    V2,
    /// All controllers in version 1 hierarchies, version 2 at /sys/fs/cgroup/unified
    Hybrid,
}

impl Cgroups {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        }
    }
}

/// One kernel of the matrix.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What it is called here.
    pub(crate) name: &'static str,
    suite: Suite,
    /// What its guests have unless told otherwise. The kernels differ, so that both are tested.
    pub(crate) cgroups: Cgroups,
}

/// All of them, oldest first.
pub(crate) const KERNELS: [Kernel; 4] = [
    Kernel {
        name: "5.10",
        suite: Suite::stable("bullseye"),
        cgroups: Cgroups::Hybrid,
    },
    Kernel {
        name: "6.1",
        suite: Suite::stable("bookworm"),
        cgroups: Cgroups::V2,
    },
    Kernel {
        name: "6.12",
        suite: Suite::stable("trixie"),
        cgroups: Cgroups::Hybrid,
    },
    Kernel {
        name: "newest",
        suite: Suite::unstable("sid"),
        cgroups: Cgroups::V2,
    },
];

/// A kernel on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The file to boot.
    pub(crate) file: PathBuf,
    /// What `uname -r` says in its guests.
    pub(crate) release: String,
    /// The version of the package it came in.
    pub(crate) package: String,
}

impl Kernel {
    /// Downloads it, unless it is here already and no older than a week.
    pub(crate) fn image(&self) -> Result<Image> {
        let known = self.known()?;
        if let Some((image, true)) = known {
            return Ok(image);
        }
        match (self.download(), known) {
            (Ok(image), _) => Ok(image),
            (Err(error), Some((image, _))) => {
                say(format!(
                    "warning: no newer kernel {} to be had, using {}: {error:#}",
                    self.name, image.package
                ));
                Ok(image)
            }
            (Err(error), None) => Err(error.context(format!("no kernel {} to be had", self.name))),
        }
    }

    /// The one downloaded last, and whether that was lately.
    fn known(&self) -> Result<Option<(Image, bool)>> {
        let current = directory()?.join(self.name);
        let Ok(text) = fs::read_to_string(&current) else {
            return Ok(None);
        };
        let Some((release, package)) = text.trim().split_once(' ') else {
            return Ok(None);
        };
        let image = Image::new(release, package)?;
        if !image.is_whole() {
            return Ok(None);
        }
        let age = SystemTime::now().duration_since(fs::metadata(&current)?.modified()?);
        Ok(Some((image, age.is_ok_and(|age| age < FRESH))))
    }

    fn download(&self) -> Result<Image> {
        let directory = directory()?;
        let found = apt::newest_kernel(&self.suite, &directory)?;
        let image = Image::new(&found.release, &found.version)?;
        if !image.is_whole() {
            say(format!("downloading the kernel {}", found.release));
            let place = image.file.parent().context("a file lies in a directory")?;
            apt::unpack_kernel(&found, &self.suite, &directory, place)?;
        }
        let current = directory.join(self.name);
        write_if_changed(
            &current,
            format!("{} {}\n", image.release, image.package).as_bytes(),
        )?;
        fs::File::open(&current)?.set_modified(SystemTime::now())?;
        Ok(image)
    }
}

impl Image {
    fn new(release: &str, package: &str) -> Result<Self> {
        Ok(Self {
            file: directory()?
                .join(format!("linux-{package}"))
                .join("vmlinuz"),
            release: release.to_owned(),
            package: package.to_owned(),
        })
    }

    /// Modules to be loaded in this order.
    pub(crate) fn modules(&self) -> Result<Vec<PathBuf>> {
        let place = self.directory().join("modules");
        let entries = fs::read_dir(&place);
        let entries = entries.with_context(|| format!("cannot read {}", place.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|one| Some(one.ok()?.path())).collect();
        files.sort();
        Ok(files)
    }

    /// Whether all is there that guests have today.
    fn is_whole(&self) -> bool {
        let list = fs::read_to_string(self.directory().join(apt::MODULE_LIST));
        self.file.is_file() && list.is_ok_and(|list| list == apt::modules_kept())
    }

    /// The directory that is this kernel's alone.
    pub(crate) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }
}

fn directory() -> Result<PathBuf> {
    paths::tool("kernels")
}

/// The kernel of a name: one of [`KERNELS`], or a version that begins the release of one of them.
pub(crate) fn find(name: &str) -> Result<(&'static Kernel, Image)> {
    if let Some(kernel) = KERNELS.iter().find(|kernel| kernel.name == name) {
        return Ok((kernel, kernel.image()?));
    }
    for kernel in KERNELS.iter().filter(|kernel| kernel.may_be(name)) {
        let image = kernel.image()?;
        if is_version_of(name, &image.release) {
            return Ok((kernel, image));
        }
    }
    let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
    bail!(
        "no kernel {name}; there are {} and their own versions",
        names.join(", ")
    );
}

impl Kernel {
    fn may_be(&self, name: &str) -> bool {
        self.name == "newest" || is_version_of(self.name, name)
    }
}

/// Whether a release is of a version: `7.2.13` is one of `7.2`, and not of `7`'s `7.21`.
fn is_version_of(version: &str, release: &str) -> bool {
    release
        .strip_prefix(version)
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_begin_releases() {
        let check = |version, release, expected| {
            assert_eq!(
                is_version_of(version, release),
                expected,
                "{version} {release}"
            );
        };
        check("6.1", "6.1.0-56-cloud-amd64", true);
        check("6.1.0-56", "6.1.0-56-cloud-amd64", true);
        check("6.1", "6.12.117+deb13-cloud-amd64", false);
        check("7.2", "7.2.13+deb14-cloud-amd64", true);
        check("7.3", "7.2.13+deb14-cloud-amd64", false);
    }

    #[test]
    fn guests_of_both_kinds_are_in_the_matrix() {
        for cgroups in [Cgroups::V2, Cgroups::Hybrid] {
            assert!(KERNELS.iter().any(|kernel| kernel.cgroups == cgroups));
        }
    }

    #[test]
    fn unknown_names_are_refused_without_a_download() {
        let error = KERNELS.iter().filter(|kernel| kernel.may_be("5.4")).count();
        assert_eq!(error, 1, "only the newest may have any version");
    }
}
