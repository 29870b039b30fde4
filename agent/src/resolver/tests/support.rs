//! A resolver without a cluster, and clients of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::ServerTlsConfig;

use super::super::board::{Board, BoardLimits};
use super::super::publisher::Publisher;
use super::super::server;
use crate::identity::Workload;
use crate::identity::cluster::{Address, ClusterObject, ClusterUpdate, ObjectKind};
use crate::identity::remote::testing::NoDelay;
use crate::identity::remote::{RemoteSettings, RemoteStatus, ResolverClient};
use crate::tls::ClientFiles;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// An object called after its UID, with one address.
pub(in crate::resolver) fn object(kind: ObjectKind, uid: &str, ip: u32) -> ClusterObject {
    ClusterObject {
        kind,
        uid: uid.into(),
        name: Arc::new(Workload {
            namespace: "ns".into(),
            name: uid.into(),
            kind: "Deployment".into(),
        }),
        addresses: vec![Address {
            ip: IpAddr::V4(Ipv4Addr::from_bits(ip)),
            port: None,
        }],
        since: None,
        finished: false,
    }
}

/// A pod.
pub(in crate::resolver) fn pod(uid: &str, ip: u32) -> ClusterObject {
    object(ObjectKind::Pod, uid, ip)
}

/// A server and where its objects come from.
pub(super) struct Rig {
    pub(super) updates: mpsc::Sender<ClusterUpdate>,
    pub(super) board: Arc<Board>,
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) serving: JoinHandle<()>,
}

impl Rig {
    /// On an address of its own.
    pub(super) async fn start(limits: BoardLimits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(any, limits, None).await
    }

    /// On this address.
    pub(super) async fn start_at(
        address: SocketAddr,
        limits: BoardLimits,
        tls: Option<ServerTlsConfig>,
    ) -> Self {
        let listener = loop {
            // Whoever was there may not be gone quite yet.
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let address = listener.local_addr().unwrap();
        let (updates, receiver) = mpsc::channel(1_024);
        let (publisher, board) = Publisher::new(receiver, limits);
        let stop = CancellationToken::new();
        tokio::spawn(publisher.run(stop.clone()));
        let serving = server::serve(listener, tls, Arc::clone(&board), stop.clone());
        let serving = tokio::spawn(async { serving.await.unwrap() });
        Self {
            updates,
            board,
            address,
            stop,
            serving,
        }
    }

    /// All pods there are; of the other kinds there is nothing.
    pub(super) async fn list(&self, pods: Vec<ClusterObject>) {
        for kind in ObjectKind::ALL.into_iter().rev() {
            let objects = if kind == ObjectKind::Pod {
                pods.clone()
            } else {
                Vec::new()
            };
            self.send(ClusterUpdate::Restarted { kind, objects }).await;
        }
        self.board
            .readiness()
            .wait_for(|ready| *ready)
            .await
            .unwrap();
    }

    pub(super) async fn apply(&self, pod: ClusterObject) {
        self.send(ClusterUpdate::Applied(Box::new(pod))).await;
    }

    pub(super) async fn delete(&self, uid: &str) {
        let (kind, uid) = (ObjectKind::Pod, uid.into());
        self.send(ClusterUpdate::Deleted { kind, uid }).await;
    }

    async fn send(&self, update: ClusterUpdate) {
        self.updates.send(update).await.unwrap();
    }

    /// Stops as after SIGTERM.
    pub(super) async fn stop(self) -> SocketAddr {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .unwrap()
            .unwrap();
        self.address
    }
}

/// An agent's side: the pods it was told of, with their addresses.
pub(super) struct Agent {
    pub(super) status: watch::Receiver<RemoteStatus>,
    pub(super) known: BTreeMap<String, u32>,
    updates: mpsc::Receiver<ClusterUpdate>,
}

impl Agent {
    pub(super) fn start(address: SocketAddr) -> Self {
        Self::start_with(&format!("http://{address}"), ClientFiles::default())
    }

    pub(super) fn start_with(url: &str, tls: ClientFiles) -> Self {
        let (sender, updates) = mpsc::channel(64);
        let settings = RemoteSettings {
            url: url.parse().unwrap(),
            tls,
            node_name: "node-a".to_owned(),
            max_objects: 1_000_000,
        };
        let (client, status) = ResolverClient::with_backoff(settings, sender, NoDelay, PATIENCE);
        tokio::spawn(client.run());
        Self {
            status,
            known: BTreeMap::new(),
            updates,
        }
    }

    /// Takes updates in until it knows exactly `expected`.
    pub(super) async fn learns(&mut self, expected: &[(&str, u32)]) {
        let expected: BTreeMap<String, u32> = expected
            .iter()
            .map(|(uid, ip)| ((*uid).to_owned(), *ip))
            .collect();
        let status = self.status.clone();
        let learn = async {
            while self.known != expected || !self.status.borrow().listed {
                let update = self.updates.recv().await.unwrap();
                self.take(update);
            }
        };
        let learned = tokio::time::timeout(PATIENCE, learn).await.is_ok();
        let status = status.borrow();
        assert!(learned, "{:?} for {expected:?}: {status:?}", self.known);
    }

    fn take(&mut self, update: ClusterUpdate) {
        let ip = |object: &ClusterObject| match object.addresses[0].ip {
            IpAddr::V4(ip) => ip.to_bits(),
            IpAddr::V6(_) => panic!("no address of this test"),
        };
        match update {
            ClusterUpdate::Applied(object) => {
                self.known
                    .insert(object.uid.as_ref().to_owned(), ip(&object));
            }
            ClusterUpdate::Deleted { uid, .. } => {
                self.known.remove(&*uid);
            }
            ClusterUpdate::Restarted {
                kind: ObjectKind::Pod,
                objects,
            } => {
                let objects = objects.iter();
                self.known = objects
                    .map(|object| (object.uid.as_ref().to_owned(), ip(object)))
                    .collect();
            }
            ClusterUpdate::Restarted { .. } => {}
        }
    }

    pub(super) fn status(&self) -> RemoteStatus {
        self.status.borrow().clone()
    }
}
