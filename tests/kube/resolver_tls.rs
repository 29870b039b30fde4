//! Resolvers and agents that show each other certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::World;
use super::agent::{NAMESPACE, Release, resolver_address};
use super::cluster::{Cluster, text_of};
use super::names;

const RESOLVER: &str = "resolver-certificate";
const AGENT: &str = "agent-certificate";

/// Without the system's, which makes an authority of everybody.
const CONFIG: &str = "[req]\ndistinguished_name = name\n[name]\n";

/// Resolvers that tell nobody but who has a certificate of the same authority: their agent knows the names of Services, which
/// nobody else tells it.
pub(crate) fn names_both_ends(world: &World) {
    let agent = world.agent();
    let address = resolver_address(&world.cluster).expect("a release with resolvers");
    let authority = Authority::new();
    // As nothing resolves names of Services in the rig, the certificate is for the address.
    authority.secret(&world.cluster, RESOLVER, &format!("IP:{address}"));
    authority.secret(&world.cluster, AGENT, "DNS:agent");
    let release = Release {
        resolver_tls: json!({ "secretName": RESOLVER, "agentSecretName": AGENT }),
        ..Release::default()
    };
    agent.release(&world.cluster, &release);
    names::check(world, "shop-told", ["Deployment", "web"]);
}

struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        std::fs::write(authority.file("config"), CONFIG).expect("written");
        authority.certify("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        authority
    }

    /// A Secret of the kind that cert-manager makes, whose certificate is for a name.
    fn secret(&self, cluster: &Cluster, secret: &str, name: &str) {
        let (certificate, key) = (self.file("ca.crt"), self.file("ca.key"));
        let signed = [
            "-CA",
            path(&certificate),
            "-CAkey",
            path(&key),
            "-addext",
            &format!("subjectAltName={name}"),
        ];
        self.certify(secret, &signed);
        let from = |key: &str, file: &str| format!("--from-file={key}={}", path(&self.file(file)));
        cluster.run(&[
            "--namespace",
            NAMESPACE,
            "create",
            "secret",
            "generic",
            secret,
            &from("ca.crt", "ca.crt"),
            &from("tls.crt", &format!("{secret}.crt")),
            &from("tls.key", &format!("{secret}.key")),
        ]);
    }

    fn certify(&self, name: &str, more: &[&str]) {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-nodes", "-days", "2"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", &format!("/CN={name}")])
            .arg("-config")
            .arg(self.file("config"))
            .args(more)
            .arg("-keyout")
            .arg(self.file(&format!("{name}.key")))
            .arg("-out")
            .arg(self.file(&format!("{name}.crt")));
        text_of(command).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}
