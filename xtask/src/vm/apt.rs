//! Kernels out of the packages of Debian releases.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::{Cmd, say};
use crate::debian::Suite;

/// Depends on the newest kernel of its release.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// Modules that guests have, each after those it needs: the kernel's own count of sockets (`sock_diag`), and for tests of what may
/// happen to packets devices in pairs, nftables, and a queue that delays. Of some kernels these are part.
const MODULES: [&str; 18] = [
    "net/ipv4/inet_diag.ko",
    "net/ipv4/tcp_diag.ko",
    "drivers/net/veth.ko",
    "lib/libcrc32c.ko",
    "net/netfilter/nfnetlink.ko",
    "net/netfilter/nf_tables.ko",
    "net/netfilter/nft_numgen.ko",
    "net/ipv4/netfilter/nf_reject_ipv4.ko",
    "net/ipv6/netfilter/nf_reject_ipv6.ko",
    "net/netfilter/nft_reject.ko",
    "net/netfilter/nft_reject_inet.ko",
    "net/ipv4/netfilter/nf_defrag_ipv4.ko",
    "net/ipv6/netfilter/nf_defrag_ipv6.ko",
    "net/netfilter/nf_conntrack.ko",
    "net/netfilter/nf_nat.ko",
    "net/netfilter/nft_nat.ko",
    "net/netfilter/nft_chain_nat.ko",
    "net/sched/sch_netem.ko",
];

/// Says which modules are kept of a kernel.
pub(crate) fn modules_kept() -> String {
    MODULES.join("\n")
}

/// The file that has [`modules_kept`], beside the directory of modules.
pub(crate) const MODULE_LIST: &str = "modules.list";

/// A kernel that can be downloaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What `uname -r` will say.
    pub(crate) release: String,
    /// The packages that hold the image and the modules.
    packages: Vec<String>,
    /// The version of them all.
    pub(crate) version: String,
}

/// Asks the mirror. What apt keeps of it lies below `directory`.
pub(crate) fn newest_kernel(suite: &Suite, directory: &Path) -> Result<Found> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are for x86-64 machines"
    );
    suite.update(directory)?;
    let image = depends_on(&suite.shown(directory, META_PACKAGE)?, "linux-image-")?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    let description = suite.shown(directory, &image)?;
    let version = field(&description, "Version").context("a package without a version")?;
    // Later ones have the image itself and the modules in packages of their own.
    let parts = ["linux-binary-", "linux-modules-"].map(|prefix| depends_on(&description, prefix));
    let packages = parts.into_iter().flatten().chain([image]).collect();
    Ok(Found {
        release,
        packages,
        version: version.to_owned(),
    })
}

/// Downloads a kernel and leaves its image, some of its modules, and nothing else in `place`.
pub(crate) fn unpack_kernel(
    found: &Found,
    suite: &Suite,
    directory: &Path,
    place: &Path,
) -> Result<()> {
    let work = directory.join(format!("unpacking-{}", std::process::id()));
    let tree = work.join("tree");
    let versioned = |package: &String| format!("{package}={}", found.version);
    let done = suite
        .unpack(
            directory,
            found.packages.iter().map(versioned),
            &work,
            &tree,
        )
        .and_then(|()| keep(&tree, &found.release, place));
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    done
}

/// Keeps what guests use.
fn keep(tree: &Path, release: &str, place: &Path) -> Result<()> {
    let first = |candidates: [PathBuf; 2]| {
        let found = candidates.iter().find(|file| file.exists()).cloned();
        found.with_context(|| format!("no {} in the packages", candidates[0].display()))
    };
    let modules = first([
        tree.join("lib/modules").join(release),
        tree.join("usr/lib/modules").join(release),
    ])?;
    let image = first([
        tree.join("boot").join(format!("vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ])?;
    let kept = place.join("modules");
    if kept.exists() {
        fs::remove_dir_all(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    }
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    for (number, name) in MODULES.iter().enumerate() {
        let own_name = Path::new(name).file_name().context("a module has a name")?;
        // In the order of their names they are loaded.
        let file = kept.join(format!("{number:02}-{}", own_name.display()));
        let plain = modules.join("kernel").join(name);
        let compressed = plain.with_extension("ko.xz");
        if !plain.is_file() {
            if !compressed.is_file() {
                say(format!("{release} has no module {name}"));
                continue;
            }
            Cmd::new("xz").arg("--decompress").arg(&compressed).run()?;
        }
        fs::rename(&plain, &file).with_context(|| format!("cannot keep {}", file.display()))?;
    }
    let list = place.join(MODULE_LIST);
    fs::write(&list, modules_kept()).with_context(|| format!("cannot write {}", list.display()))?;
    // Renamed last: where there is an image, there is all of it.
    fs::rename(image, place.join("vmlinuz")).context("cannot keep the image")
}

/// The first package a package depends on whose name begins so.
fn depends_on(description: &str, prefix: &str) -> Result<String> {
    field(description, "Depends")
        .into_iter()
        .flat_map(|list| list.split([',', '|']))
        .filter_map(|one| one.split_whitespace().next())
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("the package depends on no {prefix}…"))
}

/// A field of a package's description.
fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_dependencies() {
        let text = "Package: linux-image-7.2.13\nVersion: 7.2.13-1\n\
                    Depends: dracut | initramfs-tools (>= 0.120), linux-binary-7.2.13 (= 7.2.13-1)\n";
        assert_eq!(
            depends_on(text, "linux-binary-").unwrap(),
            "linux-binary-7.2.13"
        );
        assert!(depends_on(text, "linux-image-").is_err());
        assert_eq!(field(text, "Version"), Some("7.2.13-1"));
    }
}
