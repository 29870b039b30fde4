//! The resolver: puts the parts together, and takes them apart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::board::{Board, BoardLimits};
use super::error::ResolverError;
use super::metrics;
use super::publisher::Publisher;
use super::readiness;
use super::server;
use super::settings::ResolverSettings;
use crate::admin::{self, Endpoints, Metrics, Readiness};
use crate::daemon::{BUILD, HangUp, stop_signal};
use crate::export::prometheus::page::Scope;
use crate::identity::kube::{self, ClusterStatus, ClusterWatch, KubernetesMode};
use crate::supervised::Tasks;
use crate::telemetry::handle::SnapshotHandle;
use crate::tls::ServerFiles;

/// Updates that may wait for the publisher. A list is one.
const UPDATES: usize = 1_024;

/// How long everything may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// Watches the cluster and tells agents until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the resolver from starting. Once it runs, it runs until it is told to stop, or one of its tasks dies.
pub async fn run(settings: &ResolverSettings) -> Result<(), ResolverError> {
    let stop_signal = stop_signal(HangUp::Noted).map_err(ResolverError::Signals)?;
    let tls = settings.tls.as_ref().map(ServerFiles::tonic).transpose();
    let tls = tls.map_err(ResolverError::Files)?;
    let (access, renewer) = settings.access.open()?;
    let listener = bind(settings.listen, "resolver.listen").await?;
    let http_listener = bind(settings.http_listen, "resolver.http_listen").await?;
    let client = match kube::connect(KubernetesMode::Required).await {
        Ok(Some(client)) => client,
        Ok(None) => return Err(ResolverError::Kubernetes(kube::KubeError::NoCredentials)),
        Err(error) => return Err(ResolverError::Kubernetes(error)),
    };

    let tasks = Tasks::default();
    let stop = CancellationToken::new();
    let (sender, updates) = mpsc::channel(UPDATES);
    let watch = ClusterWatch::new(&client, settings.max_objects, &sender);
    // The watches end when the publisher, which receives from them, has ended.
    drop(sender);
    let status = watch.status();
    for kind in watch.into_tasks() {
        tasks.spawn("cluster", kind);
    }
    let (publisher, board) = Publisher::new(updates, BoardLimits::default());
    let serving = server::serve(listener, tls, Arc::clone(&board), stop.clone());
    let serving = tasks.spawn("server", serving);
    let (snapshots, requests) = SnapshotHandle::channel(16);
    let reading = metrics::answer(requests, Arc::clone(&board), status.clone(), stop.clone());
    tasks.spawn("metrics", reading);
    let endpoints = Endpoints {
        metrics: Metrics::new(snapshots, BUILD, Scope::Left),
        readiness: readiness(&board, status.clone(), &tasks),
        status: None,
        access,
    };
    let http_server = admin::listen(http_listener, endpoints, renewer, stop.clone());
    tasks.spawn("HTTP server", http_server);
    tasks.spawn("publisher", publisher.run(stop.clone()));
    let (listen, http, encrypted) = (
        settings.listen,
        settings.http_listen,
        settings.tls.is_some(),
    );
    tracing::info!(%listen, %http, encrypted, version = BUILD.version, "resolving");

    let result = tokio::select! {
        () = stop_signal => Ok(()),
        died = tasks.death() => Err(died.into()),
        Ok(Some(served)) = serving => served.map_err(ResolverError::Tls),
    };
    tracing::info!("stopping");
    stop.cancel();
    // Agents see the stream end, and turn to another replica.
    tasks.ended(GRACE).await;
    result
}

async fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, ResolverError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ResolverError::Listen {
        address,
        key,
        source,
    })
}

fn readiness(board: &Board, status: ClusterStatus, tasks: &Tasks) -> watch::Receiver<Readiness> {
    let (sender, receiver) = watch::channel(Readiness {
        probes_attached: true,
        exporters_configured: true,
        kubernetes_listed: false,
    });
    let connected = move || status.is_connected();
    let following = readiness::follow(board.readiness(), connected, sender);
    tasks.spawn("readiness", following);
    receiver
}
