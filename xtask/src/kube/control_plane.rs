//! etcd and the API server.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::client;
use super::config;
use super::pki;
use super::processes;
use super::programs::ControlPlane;
use super::rig::{API_PORT, ETCD_PEER_PORT, ETCD_PORT, Extent, Rig, SERVICES};
use super::watch;
use crate::cmd::Cmd;

/// Writes what both of them and their clients read.
pub(super) fn configure(rig: &Rig, extent: Extent, programs: &ControlPlane) -> Result<()> {
    pki::write(rig, extent)?;
    config::audit_policy(rig)?;
    config::kubeconfig(rig, extent, "admin", "kubeconfig")?;
    symlink(&programs.kubectl, rig.kubectl()).context("cannot link to kubectl")
}

/// Starts both, each as `place` would have its program run.
pub(super) fn start(
    rig: &Rig,
    extent: Extent,
    programs: &ControlPlane,
    place: impl Fn(&Path) -> Cmd,
) -> Result<()> {
    processes::start(rig, "etcd", &etcd(rig, place(&programs.etcd)))?;
    let apiserver = apiserver(rig, extent, place(&programs.apiserver));
    processes::start(rig, "apiserver", &apiserver)?;
    Ok(())
}

/// Waits for the API server.
pub(super) fn wait(rig: &Rig) -> Result<()> {
    client::wait(
        "the API server",
        || watch::all_alive(rig, &["etcd", "apiserver"]),
        || client::is_ready(rig),
    )?;
    client::add_kinds(rig)
}

fn etcd(rig: &Rig, cmd: Cmd) -> Cmd {
    let clients = format!("http://127.0.0.1:{ETCD_PORT}");
    let peers = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
    cmd.args(["--name", "rig", "--data-dir", &rig.text("etcd")])
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("rig={peers}")])
}

/// Flags that every release since 1.20 knows, so that a newer server may be used for a control plane alone.
fn apiserver(rig: &Rig, extent: Extent, cmd: Cmd) -> Cmd {
    let address = extent.api_address();
    let file = |flag: &str, name: &str| format!("--{flag}={}", rig.text(name));
    let cmd = cmd
        .arg(format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"))
        .arg(format!("--bind-address={address}"))
        .arg(format!("--advertise-address={address}"))
        .arg(format!("--secure-port={API_PORT}"))
        .arg(file("cert-dir", "certs"))
        .arg(file("tls-cert-file", "pki/apiserver.crt"))
        .arg(file("tls-private-key-file", "pki/apiserver.key"))
        .arg(file("client-ca-file", "pki/ca.crt"))
        .arg(file("kubelet-client-certificate", "pki/admin.crt"))
        .arg(file("kubelet-client-key", "pki/admin.key"))
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(file("service-account-key-file", "pki/sa.pub"))
        .arg(file("service-account-signing-key-file", "pki/sa.key"))
        .arg(format!("--service-cluster-ip-range={SERVICES}"))
        .arg("--authorization-mode=Node,RBAC")
        .arg("--allow-privileged=true")
        .arg(file("audit-policy-file", "audit-policy.yaml"))
        .arg(format!("--audit-log-path={}", rig.audit_log().display()));
    match extent {
        // Without a controller manager nobody makes the accounts that it would insist on.
        Extent::ControlPlane => cmd.arg("--disable-admission-plugins=ServiceAccount"),
        // Pods get bound tokens, as in every cluster of today.
        Extent::Cluster => cmd
            .arg("--enable-admission-plugins=NodeRestriction")
            .arg("--feature-gates=BoundServiceAccountTokenVolume=true"),
    }
}
