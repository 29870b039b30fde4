//! The node: namespaces of mounts, of the network and of process ids that are its own, and the programs that run pods in them.
//!
//! Rules of iptables, sysctls of the network, bridges and mounts are so the node's and not the machine's, and none is left
//! when its last process has ended. Its process 1 is in its network, as on a real node. Cgroups are the machine's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::client::{self, kubectl};
use super::config;
use super::image;
use super::machine;
use super::processes::{self, detached};
use super::programs::Node;
use super::rig::{
    Extent, FIXED_PLACES, INTERFACE, MACHINE_ADDRESS, NODE, NODE_ADDRESS, PODS, Rig, SERVICES,
};
use super::watch;
use crate::cmd::{Cmd, say};

const SCRIPT: &str = include_str!("node.sh");

/// The process that holds the node's namespaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespaces {
    pid: u32,
}

impl Namespaces {
    /// Makes them, with the link to the machine.
    pub(super) fn make(rig: &Rig) -> Result<Self> {
        machine::make_directories(rig, &FIXED_PLACES)?;
        config::write_text(rig, "node.sh", SCRIPT)?;
        let script = rig.path("node.sh");
        let holder = detached("unshare")
            .args(["--mount", "--net", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
            .arg(&script)
            .arg(rig.directory())
            .arg(rig.logs())
            .args(FIXED_PLACES);
        processes::start(rig, "node", &holder)?;
        let there = rig.path("node-is-there");
        client::wait(
            "the node's namespaces",
            || watch::all_alive(rig, &["node"]),
            || there.exists(),
        )?;
        let node = Self::find(rig)?;
        node.link()?;
        Ok(node)
    }

    /// Those of a rig that runs.
    pub(super) fn find(rig: &Rig) -> Result<Self> {
        let running = processes::running(rig)?;
        let holder = running
            .iter()
            .find(|process| process.part == "node" && is_first_of_another_namespace(process.pid));
        let pid = holder
            .context("there is no node; start one with: cargo xtask kube up")?
            .pid;
        Ok(Self { pid })
    }

    /// A command as the node's own.
    pub(super) fn enter(self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        self.entering(Cmd::new("nsenter")).arg(program)
    }

    /// A command that lives on.
    pub(super) fn daemon(self, program: &Path) -> Cmd {
        self.entering(detached("nsenter")).arg(program)
    }

    /// A command that lives on, and shares nothing of the node but its network.
    pub(super) fn beside(self, program: &Path) -> Cmd {
        detached("nsenter")
            .args(["--net", "--target", &self.pid.to_string()])
            .arg(program)
    }

    fn entering(self, cmd: Cmd) -> Cmd {
        cmd.args(["--mount", "--net", "--pid"])
            .args(["--target", &self.pid.to_string()])
    }

    /// How to do so by hand.
    pub(super) fn by_hand(self) -> String {
        self.entering(Cmd::new("nsenter")).to_string()
    }

    /// A cable between the machine and the node, with routes both ways. Nothing is forwarded by the machine.
    fn link(self) -> Result<()> {
        let pid = self.pid.to_string();
        let ip = |words: &str| ip(Cmd::new("ip"), words);
        let inside = |words: &str| self::ip(self.enter("ip"), words);
        ip(&format!(
            "link add {INTERFACE} type veth peer name eth0 netns {pid}"
        ))?;
        inside(&format!("addr add {NODE_ADDRESS}/30 dev eth0"))?;
        inside("link set eth0 up")?;
        inside(&format!("route add default via {MACHINE_ADDRESS}"))?;
        // Kubelet asks there whether it is in somebody's cloud, and starts ten seconds later if nobody answers.
        inside("route add unreachable 169.254.0.0/16")?;
        ip(&format!("addr add {MACHINE_ADDRESS}/30 dev {INTERFACE}"))?;
        ip(&format!("link set {INTERFACE} up"))?;
        for network in [PODS, SERVICES] {
            ip(&format!("route add {network} via {NODE_ADDRESS}"))?;
        }
        Ok(())
    }
}

/// Whether a process is the first of a namespace of process ids below this one.
fn is_first_of_another_namespace(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().skip(1).last() == Some("1"))
}

fn ip(cmd: Cmd, words: &str) -> Result<()> {
    cmd.args(words.split(' ')).run_quietly()
}

/// Writes what the node's programs read.
pub(super) fn configure(rig: &Rig, programs: &Node) -> Result<()> {
    for identity in ["kubelet", "controller-manager", "scheduler", "proxy"] {
        let file = format!("{identity}.kubeconfig");
        config::kubeconfig(rig, Extent::Cluster, identity, &file)?;
    }
    config::node(rig, programs)
}

/// Starts what needs no API server.
pub(super) fn start_containers(rig: &Rig, node: Namespaces, programs: &Node) -> Result<()> {
    let containerd = with_environment(node.daemon(&programs.containerd()), programs)
        .args(["--config", &rig.text("containerd.toml")]);
    processes::start(rig, "containerd", &containerd)?;
    Ok(())
}

/// Starts what talks to the API server.
pub(super) fn start(rig: &Rig, node: Namespaces, programs: &Node) -> Result<()> {
    for (part, cmd) in [
        (
            "controller-manager",
            controller_manager(rig, node, programs),
        ),
        ("scheduler", scheduler(rig, node, programs)),
        ("kubelet", kubelet(rig, node, programs)),
        ("proxy", proxy(rig, node, programs)),
    ] {
        processes::start(rig, part, &with_environment(cmd, programs))?;
    }
    Ok(())
}

/// Waits until pods can be made, and brings the images they are made from.
pub(super) fn wait(rig: &Rig, node: Namespaces, programs: &Node) -> Result<()> {
    let alive = || watch::all_alive(rig, watch::parts(Extent::Cluster));
    client::wait("containerd", alive, || {
        ctr(node, programs).arg("version").succeeds()
    })?;
    for file in image::write(&programs.busybox(), &rig.path("images"))? {
        load(node, programs, &file)?;
    }
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    client::wait("the node to be ready", alive, || {
        let status = kubectl(rig).args(["get", "node", NODE, "--output", ready]);
        status.ask().as_deref() == Some("True")
    })?;
    client::wait("the first service account", alive, || {
        kubectl(rig)
            .args(["get", "serviceaccount", "default"])
            .succeeds()
    })
}

/// Imports an image from an archive.
pub(super) fn load(node: Namespaces, programs: &Node, archive: &Path) -> Result<()> {
    ensure!(
        fs::metadata(archive).is_ok_and(|found| found.is_file()),
        "there is no {}",
        archive.display()
    );
    let printed = ctr(node, programs)
        .args(["images", "import"])
        .arg(archive)
        .output_quietly()?;
    say(printed.trim_end());
    Ok(())
}

fn ctr(node: Namespaces, programs: &Node) -> Cmd {
    with_environment(node.enter(programs.ctr()), programs).args(["--namespace", "k8s.io"])
}

fn with_environment(cmd: Cmd, programs: &Node) -> Cmd {
    programs
        .environment()
        .into_iter()
        .fold(cmd, |cmd, (name, value)| cmd.env(name, value))
}

fn controller_manager(rig: &Rig, node: Namespaces, programs: &Node) -> Cmd {
    let file = |flag: &str, name: &str| format!("--{flag}={}", rig.text(name));
    node.daemon(&programs.kubernetes("kube-controller-manager"))
        .arg(file("kubeconfig", "controller-manager.kubeconfig"))
        .arg(file("service-account-private-key-file", "pki/sa.key"))
        .arg(file("root-ca-file", "pki/ca.crt"))
        .arg(file("cert-dir", "certs"))
        .arg(file("flex-volume-plugin-dir", "flex-volumes"))
        .arg("--use-service-account-credentials=true")
        .arg("--feature-gates=BoundServiceAccountTokenVolume=true")
        .args(["--bind-address=127.0.0.1", "--port=0", "--leader-elect=false"])
        // Tests make hundreds of pods at once.
        .args(["--kube-api-qps=200", "--kube-api-burst=400"])
}

fn scheduler(rig: &Rig, node: Namespaces, programs: &Node) -> Cmd {
    let file = |flag: &str, name: &str| format!("--{flag}={}", rig.text(name));
    node.daemon(&programs.kubernetes("kube-scheduler"))
        .arg(file("kubeconfig", "scheduler.kubeconfig"))
        .arg(file("cert-dir", "certs"))
        .args([
            "--bind-address=127.0.0.1",
            "--port=0",
            "--leader-elect=false",
        ])
        .args(["--kube-api-qps=200", "--kube-api-burst=400"])
}

fn kubelet(rig: &Rig, node: Namespaces, programs: &Node) -> Cmd {
    let file = |flag: &str, name: &str| format!("--{flag}={}", rig.text(name));
    node.daemon(&programs.kubernetes("kubelet"))
        .arg(file("config", "kubelet.yaml"))
        .arg(file("kubeconfig", "kubelet.kubeconfig"))
        .arg("--container-runtime=remote")
        .arg("--container-runtime-endpoint=unix:///run/containerd/containerd.sock")
        .arg(format!("--pod-infra-container-image={}", image::PAUSE))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={NODE_ADDRESS}"))
        .arg("--volume-plugin-dir=/var/lib/kubelet/volume-plugins")
        .arg("--v=1")
}

fn proxy(rig: &Rig, node: Namespaces, programs: &Node) -> Cmd {
    node.daemon(&programs.kubernetes("kube-proxy"))
        .arg("--config")
        .arg(rig.path("proxy.yaml"))
        .arg(format!("--hostname-override={NODE}"))
}
