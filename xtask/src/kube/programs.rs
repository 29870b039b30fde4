//! The programs a cluster is made of: those of Kubernetes built from Debian's source, the others out of Debian's binary
//! packages, unpacked and not installed, so that no daemon starts and no machine becomes a container host by it.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::build;
use crate::cmd::{Cmd, say};
use crate::debian::Suite;
use crate::paths;

/// The last release that has all of Kubernetes in its source package: later ones have kubectl alone.
pub(super) const SUITE: Suite = Suite::stable("bookworm").with_sources();

/// Where `KUBEBUILDER_ASSETS` has the programs of a control plane, these are used for it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// With the libraries that a machine may lack.
const PACKAGES: [&str; 16] = [
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    "iptables",
    "kubernetes-client",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libseccomp2",
    "libxtables12",
    "runc",
];
/// A different number is another directory: change it with [`PACKAGES`].
const PACKAGES_NAME: &str = "packages-bookworm-1";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Everything that a control plane alone consists of.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) kubectl: PathBuf,
}

/// Everything else that a node needs.
#[derive(Debug)]
pub(super) struct Node {
    /// The unpacked packages.
    packages: PathBuf,
    /// The programs of Kubernetes.
    kubernetes: PathBuf,
}

impl ControlPlane {
    /// Those of `KUBEBUILDER_ASSETS` if it is set, else our own.
    pub(super) fn ensure() -> Result<Self> {
        let Some(assets) = env::var_os(ASSETS).map(PathBuf::from) else {
            return Self::of_rig();
        };
        let named = |name: &str| {
            let file = assets.join(name);
            ensure!(
                file.is_file(),
                "{ASSETS} is set, but there is no {}",
                file.display()
            );
            Ok(file)
        };
        let kubectl = named("kubectl").or_else(|_| Ok(packages()?.join("usr/bin/kubectl")));
        Ok(Self {
            etcd: named("etcd")?,
            apiserver: named("kube-apiserver")?,
            kubectl: kubectl.map_err(|error: anyhow::Error| error.context("no kubectl"))?,
        })
    }

    /// Those that go with our node.
    pub(super) fn of_rig() -> Result<Self> {
        let packages = packages()?;
        Ok(Self {
            etcd: packages.join("usr/bin/etcd"),
            apiserver: build::ensure()?.join("kube-apiserver"),
            kubectl: packages.join("usr/bin/kubectl"),
        })
    }
}

impl Node {
    pub(super) fn ensure() -> Result<Self> {
        Ok(Self {
            packages: packages()?,
            kubernetes: build::ensure()?,
        })
    }

    /// A program of Kubernetes.
    pub(super) fn kubernetes(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }

    pub(super) fn containerd(&self) -> PathBuf {
        self.packages.join("usr/bin/containerd")
    }

    pub(super) fn ctr(&self) -> PathBuf {
        self.packages.join("usr/bin/ctr")
    }

    pub(super) fn runc(&self) -> PathBuf {
        self.packages.join("usr/sbin/runc")
    }

    pub(super) fn cni(&self) -> PathBuf {
        self.packages.join("usr/lib/cni")
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.packages.join("bin/busybox")
    }

    /// What the programs out of packages look for: each other, their libraries, and iptables its extensions.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        let at = |path: &str| self.packages.join(path).display().to_string();
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            at("usr/sbin"),
            at("usr/bin")
        );
        [
            ("PATH", path),
            ("LD_LIBRARY_PATH", at(LIBRARIES)),
            ("XTABLES_LIBDIR", at(&format!("{LIBRARIES}/xtables"))),
        ]
    }
}

/// The directory of everything about Kubernetes.
pub(super) fn directory() -> Result<PathBuf> {
    paths::tool("kube")
}

/// Whether everything is here, so that no mirror is needed.
pub(crate) fn are_here() -> bool {
    build::is_built() && directory().is_ok_and(|directory| directory.join(PACKAGES_NAME).is_dir())
}

/// Unpacks the packages, once.
fn packages() -> Result<PathBuf> {
    let directory = directory()?;
    let tree = directory.join(PACKAGES_NAME);
    if tree.is_dir() {
        return Ok(tree);
    }
    say("downloading the packages of a Kubernetes node, once");
    let work = directory.join("unpacking");
    let fresh = work.join("tree");
    remove_if_there(&work)?;
    SUITE.update(&directory)?;
    SUITE.unpack(&directory, PACKAGES, &work.join("packages"), &fresh)?;
    // Debian makes these when it installs the package.
    for name in ["iptables", "ip6tables"] {
        for end in ["", "-save", "-restore"] {
            let link = fresh.join(format!("usr/sbin/{name}{end}"));
            remove_if_there(&link)?;
            symlink("xtables-nft-multi", &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    let etcd = fresh.join("usr/bin/etcd");
    ensure!(
        Cmd::new(&etcd).arg("--version").succeeds(),
        "{} does not run here: is this an older system than Debian 12?",
        etcd.display()
    );
    fs::rename(&fresh, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
    remove_if_there(&work)?;
    forget_lists(&directory)?;
    Ok(tree)
}

/// Lists of packages are a hundred megabytes, and old when they are needed again.
pub(super) fn forget_lists(directory: &Path) -> Result<()> {
    remove_if_there(&directory.join("apt"))
}

/// Removes a file, a link or a whole directory.
pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}
