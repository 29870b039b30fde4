//! Whom a resolver tells, and whom an agent believes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::super::board::BoardLimits;
use super::super::settings::ServerTls;
use super::support::{Agent, Rig, pod};
use crate::identity::remote::RemoteTls;

/// A file that `tests/tls/make.sh` has made.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A certificate that this authority has signed, and its key.
fn identity(authority: &str) -> (PathBuf, PathBuf) {
    let part = |part: &str| file(&format!("{authority}-{part}.pem"));
    (part("cert"), part("key"))
}

async fn start(client_ca_file: Option<PathBuf>) -> Rig {
    let tls = ServerTls {
        identity: identity("ours"),
        client_ca_file,
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let rig = Rig::start_at(any, BoardLimits::default(), Some(tls.load().unwrap())).await;
    rig.list(vec![pod("a", 1)]).await;
    rig
}

/// One that trusts this authority, and has a certificate of that one.
fn agent(rig: &Rig, trusted: &str, own: Option<&str>) -> Agent {
    let tls = RemoteTls {
        ca_file: Some(file(&format!("{trusted}-ca.pem"))),
        identity: own.map(identity),
    };
    Agent::start_with(&format!("https://{}", rig.address), tls)
}

async fn is_refused(mut agent: Agent) {
    let refused = agent.status.wait_for(|status| status.errors >= 2);
    assert!(refused.await.is_ok_and(|status| !status.listed));
}

#[tokio::test]
async fn without_certificates_of_agents() {
    let rig = start(None).await;
    agent(&rig, "ours", None).learns(&[("a", 1)]).await;
    is_refused(agent(&rig, "others", None)).await;
    is_refused(Agent::start(rig.address)).await;
}

#[tokio::test]
async fn with_certificates_of_agents() {
    let rig = start(Some(file("ours-ca.pem"))).await;
    agent(&rig, "ours", Some("ours")).learns(&[("a", 1)]).await;
    is_refused(agent(&rig, "ours", None)).await;
    is_refused(agent(&rig, "ours", Some("others"))).await;
}

#[test]
fn bad_files_are_named() {
    let missing = |name: &str| PathBuf::from(format!("/nonexistent/{name}.pem"));
    let tls = ServerTls {
        identity: (missing("cert"), missing("key")),
        client_ca_file: None,
    };
    let error = tls.load().unwrap_err().to_string();
    assert_eq!(error, "cannot read /nonexistent/cert.pem (resolver.tls)");
}
