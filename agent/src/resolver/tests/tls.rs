//! Whom a resolver tells, and whom an agent believes.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::board::BoardLimits;
use super::support::{Agent, Rig, pod};
use crate::tls::testing::{file, pair as identity};
use crate::tls::{ClientFiles, ServerFiles};

async fn start(client_ca: Option<PathBuf>) -> Rig {
    let tls = ServerFiles {
        own: identity("ours"),
        client_ca,
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let rig = Rig::start_at(any, BoardLimits::default(), Some(tls.tonic().unwrap())).await;
    rig.list(vec![pod("a", 1)]).await;
    rig
}

/// One that trusts this authority, and has a certificate of that one.
fn agent(rig: &Rig, trusted: &str, own: Option<&str>) -> Agent {
    let tls = ClientFiles {
        ca: Some(file(&format!("{trusted}-ca.pem"))),
        own: own.map(identity),
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
