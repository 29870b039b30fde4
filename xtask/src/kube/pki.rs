//! Certificates of a rig: one authority, and a key for everybody who talks to the API server.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::rig::{API_SERVICE, Extent, NODE, NODE_ADDRESS, Rig};
use crate::cmd::Cmd;

/// A rig lives for hours, not for longer.
const DAYS: &str = "30";

/// Somebody with a certificate.
struct Identity {
    /// The name of its files.
    name: &'static str,
    /// Who it is to the API server.
    subject: String,
    usage: &'static str,
    /// What clients know it by, if it is a server.
    names: Option<String>,
}

/// Makes all of them.
pub(super) fn write(rig: &Rig, extent: Extent) -> Result<()> {
    authority(rig)?;
    for identity in identities(extent) {
        certificate(rig, &identity)?;
    }
    service_accounts(rig)
}

fn identities(extent: Extent) -> Vec<Identity> {
    let client = |name, subject: &str| Identity {
        name,
        subject: subject.to_owned(),
        usage: "clientAuth",
        names: None,
    };
    let apiserver = Identity {
        name: "apiserver",
        subject: "/CN=kube-apiserver".to_owned(),
        usage: "serverAuth",
        names: Some(format!(
            "IP:{},IP:{API_SERVICE},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc",
            extent.api_address()
        )),
    };
    let admin = client("admin", "/O=system:masters/CN=kubernetes-admin");
    let mut identities = vec![apiserver, admin];
    if extent == Extent::Cluster {
        identities.push(Identity {
            name: "kubelet",
            subject: format!("/O=system:nodes/CN=system:node:{NODE}"),
            usage: "serverAuth,clientAuth",
            names: Some(format!("IP:{NODE_ADDRESS},DNS:{NODE}")),
        });
        for (name, user) in [
            ("controller-manager", "/CN=system:kube-controller-manager"),
            ("scheduler", "/CN=system:kube-scheduler"),
            ("proxy", "/CN=system:kube-proxy"),
        ] {
            identities.push(client(name, user));
        }
    }
    identities
}

fn authority(rig: &Rig) -> Result<()> {
    openssl(
        key(Cmd::new("openssl").args(["req", "-x509"]), rig, "ca")
            .args(["-subj", "/CN=kubernetes-ca", "-days", DAYS])
            .args(["-addext", "keyUsage=critical,keyCertSign,digitalSignature"])
            .arg("-out")
            .arg(rig.path("pki/ca.crt")),
    )
}

fn certificate(rig: &Rig, identity: &Identity) -> Result<()> {
    let Identity {
        name,
        subject,
        usage,
        names,
    } = identity;
    let file = |end: &str| rig.path(&format!("pki/{name}.{end}"));
    openssl(
        key(Cmd::new("openssl").arg("req").arg("-new"), rig, name)
            .args(["-subj", subject])
            .arg("-out")
            .arg(file("csr")),
    )?;
    let mut extensions = format!("keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n");
    if let Some(names) = names {
        writeln!(extensions, "subjectAltName={names}")?;
    }
    fs::write(file("extensions"), extensions)?;
    openssl(
        Cmd::new("openssl")
            .args(["x509", "-req", "-days", DAYS])
            .arg("-in")
            .arg(file("csr"))
            .arg("-CA")
            .arg(rig.path("pki/ca.crt"))
            .arg("-CAkey")
            .arg(rig.path("pki/ca.key"))
            .arg("-CAcreateserial")
            .arg("-extfile")
            .arg(file("extensions"))
            .arg("-out")
            .arg(file("crt")),
    )
}

/// The key that tokens of service accounts are signed with: an RSA one, as these servers want.
fn service_accounts(rig: &Rig) -> Result<()> {
    openssl(
        Cmd::new("openssl")
            .arg("genrsa")
            .arg("-out")
            .arg(rig.path("pki/sa.key"))
            .arg("2048"),
    )?;
    openssl(
        Cmd::new("openssl")
            .args(["rsa", "-pubout"])
            .arg("-in")
            .arg(rig.path("pki/sa.key"))
            .arg("-out")
            .arg(rig.path("pki/sa.pub")),
    )
}

fn key(cmd: Cmd, rig: &Rig, name: &str) -> Cmd {
    cmd.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-keyout"])
        .arg(rig.path(&format!("pki/{name}.key")))
}

fn openssl(cmd: Cmd) -> Result<()> {
    let shown = cmd.to_string();
    cmd.ask().with_context(|| format!("`{shown}` failed"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_alone_has_two_identities() {
        let names = |extent| -> Vec<&str> {
            let identities = identities(extent);
            identities.iter().map(|identity| identity.name).collect()
        };
        assert_eq!(names(Extent::ControlPlane), ["apiserver", "admin"]);
        assert_eq!(names(Extent::Cluster).len(), 6);
    }
}
