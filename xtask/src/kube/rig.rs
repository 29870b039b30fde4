//! Where a rig has its files, and its addresses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::programs;

/// The one node's name.
pub(super) const NODE: &str = "node-a";
/// The node's address, and that of the machine at the other end of the same link: nobody outside knows either.
pub(super) const NODE_ADDRESS: &str = "10.245.0.1";
pub(super) const MACHINE_ADDRESS: &str = "10.245.0.2";
pub(super) const PODS: &str = "10.244.0.0/20";
pub(super) const SERVICES: &str = "10.96.0.0/16";
/// The first of [`SERVICES`], which the API server takes for itself.
pub(super) const API_SERVICE: &str = "10.96.0.1";
/// The machine's end of the link to the node.
pub(super) const INTERFACE: &str = "wellhead-kube";

pub(super) const API_PORT: u16 = 26443;
pub(super) const ETCD_PORT: u16 = 22379;
pub(super) const ETCD_PEER_PORT: u16 = 22380;

/// Paths that programs of a node use whatever they are told. Each is a directory of the rig there, and only there: what is
/// written does not reach the machine, and goes away with the rig.
pub(super) const FIXED_PLACES: [&str; 8] = [
    "run/containerd",
    "run/netns",
    "run/wellhead",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/log/containers",
    "var/log/pods",
];

/// How much of a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// etcd and the API server, on loopback
    ControlPlane,
    /// With a node that runs pods
    Cluster,
}

/// The directory of all that a running rig has written. A rig that is down has none.
#[derive(Debug, Clone)]
pub(crate) struct Rig {
    directory: PathBuf,
    logs: PathBuf,
}

impl Rig {
    pub(super) fn new() -> Result<Self> {
        let directory = programs::directory()?;
        Ok(Self {
            directory: directory.join("run"),
            logs: directory.join("logs"),
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// As [`Self::path`], for files of configuration.
    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Outlives the rig, until the next one.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// A program's output.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// What was asked of the API server, one JSON object a line.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.logs.join("audit.log")
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// The client that goes with this server.
    pub(crate) fn kubectl(&self) -> PathBuf {
        self.path("kubectl")
    }

    /// Notes how much of a cluster this is, before anything of it runs.
    pub(super) fn begin(&self, extent: Extent) -> Result<()> {
        programs::remove_if_there(&self.logs)?;
        for directory in [self.directory.clone(), self.logs.clone(), self.path("pki")] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let note = self.path("extent");
        let text = match extent {
            Extent::ControlPlane => "control plane\n",
            Extent::Cluster => "cluster\n",
        };
        fs::write(&note, text).with_context(|| format!("cannot write {}", note.display()))
    }

    /// `None` if there is no rig. One that does not tell may be anything.
    pub(super) fn extent(&self) -> Option<Extent> {
        if !self.directory.exists() {
            return None;
        }
        match fs::read_to_string(self.path("extent")).as_deref() {
            Ok("control plane\n") => Some(Extent::ControlPlane),
            _ => Some(Extent::Cluster),
        }
    }
}

impl Extent {
    /// Where the API server listens: a node's pods have to reach it.
    pub(super) const fn api_address(self) -> &'static str {
        match self {
            Self::ControlPlane => "127.0.0.1",
            Self::Cluster => NODE_ADDRESS,
        }
    }
}
