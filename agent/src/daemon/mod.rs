//! The daemon: puts the parts together in the order data flows, and takes them apart in the same order.

mod capture;
mod cluster;
mod error;
mod lock;
mod own_log;
pub mod pipeline;
mod record;
mod reload;
mod replay;
mod settings;
mod signals;
mod sockets;
mod status;
mod threads;

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::capture::Capture;
use self::cluster::ClusterSource;
pub use self::error::DaemonError;
pub use self::lock::{Lock, LockError};
pub use self::own_log::OwnLog;
pub use self::record::record;
use self::reload::Reloader;
pub use self::reload::{ConfigFile, ConfigSource};
pub use self::replay::replay;
pub use self::settings::{Settings, SettingsError};
pub(crate) use self::signals::{HangUp, stop as stop_signal};
use self::sockets::Sockets;
pub use self::sockets::socket_path;
use crate::admin::{self, AccessSettings, Endpoints, Metrics, Readiness, Status};
use crate::causes::chain;
use crate::config::budget::USUAL_BUDGET;
use crate::config::{Config, Toggle};
use crate::counters::{Counters, ExportStats};
use crate::export::console;
use crate::export::otlp::{OtlpExporter, OwnTelemetry};
use crate::export::prometheus::page::Scope;
use crate::export::prometheus::standard::BuildInfo;
use crate::identity::NodeFacts;
use crate::identity::kube::{self, KubeStatus, PodWatch};
use crate::kernel::{check_privilege, remove_pins};
use crate::supervised::Tasks;
use crate::telemetry::handle::SnapshotHandle;

/// Updates of pods that may wait for the pipeline.
const POD_UPDATES: usize = 256;

/// Clients that may wait to be accepted.
const BACKLOG: u32 = 128;

/// How long readiness waits for the first list of pods.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// How often the table at a terminal is printed.
const TABLE_INTERVAL: Duration = Duration::from_secs(5);

/// What was built.
pub const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("WELLHEAD_REVISION"),
};

/// Captures, identifies and exports until SIGTERM or SIGINT, then delivers what there is within the grace.
///
/// # Errors
/// What keeps the daemon from starting. Once it runs, it runs until it is told to stop, or one of its tasks dies.
pub async fn run(
    config: &Config,
    settings: Settings,
    source: ConfigSource,
    own: OwnTelemetry,
) -> Result<(), DaemonError> {
    let (access, renewer) = AccessSettings::new(&config.prometheus).open()?;
    // Before anything else fails for the same reason with a less helpful message.
    check_privilege().map_err(DaemonError::Attach)?;
    let stop_signal = stop_signal(HangUp::Reloads).map_err(DaemonError::Signals)?;
    let hang_ups = signals::hang_ups().map_err(DaemonError::Signals)?;
    let lock = Lock::acquire(&config.runtime_directory)?;
    let (bound, listen) = take_address(config.prometheus.listen.get())?;
    let sockets = Sockets::bind(&config.runtime_directory)?;

    let counters = Arc::new(Counters::default());
    let exports = Arc::new(ExportStats::default());
    let tasks = Tasks::default();
    let stop_serving = CancellationToken::new();
    let telling = Arc::clone(&source.log).keep_telling(Arc::clone(&counters));
    let telling = stop_serving.clone().run_until_cancelled_owned(telling);
    tasks.spawn("own log", telling);
    let client = connect_to_cluster(&settings).await?;
    let pods = watch_pods(client.as_ref(), config, &settings, &tasks);
    let kube_status = pods.as_ref().map(|pods| pods.status.clone());
    let cluster = cluster::follow(client.as_ref(), &settings, &tasks);
    let (cluster, cluster_source) = cluster.map(|news| (news.updates, news.source)).unzip();

    let (snapshots, requests) = SnapshotHandle::channel(16);
    let stop_exporters = CancellationToken::new();
    let exporter = OtlpExporter::start(
        &settings.otlp,
        snapshots.clone(),
        &counters,
        &exports,
        stop_exporters.clone(),
        config.shutdown_grace.get(),
        &tasks,
    )?;
    let own = own.start(&counters, config.shutdown_grace.get(), &tasks)?;
    let (subscriptions, subscribers) = mpsc::channel(16);
    let (take_up, changes) = mpsc::channel(1);
    let inputs = pipeline::Inputs {
        snapshots: requests,
        changes: Some(changes),
        subscriptions: subscribers,
        pods,
        facts: learn_facts(client.as_ref(), config, &tasks),
        cluster,
        cluster_watches: cluster_source.as_ref().and_then(ClusterSource::watches),
        spans: exporter.spans(),
        logs: exporter.logs(),
        exports: Arc::clone(&exports),
        recorder: None,
    };
    remove_unwanted_pins(config);
    let capture = Capture::start(&settings, Arc::clone(&counters), inputs, &tasks)?;
    capture.log_features();
    tell_budget(config);
    let listener = bound
        .listen(BACKLOG)
        .map_err(|error| cannot_listen(listen, error))?;

    let status = status::provider(status::Parts {
        features: capture.features(),
        counters: Arc::clone(&counters),
        exports,
        kube: kube_status.clone(),
        cluster: cluster_source,
        snapshots: snapshots.clone(),
        otlp: settings.otlp.clone(),
    });
    let endpoints = Endpoints {
        metrics: Metrics::new(snapshots.clone(), BUILD, scope(config)),
        readiness: readiness(kube_status, &tasks),
        status: config.prometheus.serves_status().then(|| status.clone()),
        access,
    };
    let serving = admin::listen(listener, endpoints, renewer, stop_serving.clone());
    tasks.spawn("HTTP server", serving);
    let reloader = Reloader {
        source,
        config: config.clone(),
        hang_ups,
        pipeline: take_up,
        counters: Arc::clone(&counters),
    };
    tasks.spawn("configuration", reloader.run(stop_serving.clone()));
    sockets.serve(socket_routes(status, subscriptions), &tasks, &stop_serving);
    show_table(&settings, &snapshots, &tasks, &stop_serving);
    tracing::info!(%listen, version = BUILD.version, "capturing");

    let died = tokio::select! {
        () = stop_signal => None,
        died = tasks.death() => Some(died),
    };
    tracing::info!("stopping: exporting what there is");
    // Empties the rings too: spans of what happened just now are queued before their exporter looks a last time. Within
    // the grace, should the pipeline hang.
    drop(tokio::time::timeout(config.shutdown_grace.get(), capture.settle()).await);
    drop(snapshots);
    // Exporters read the pipeline a last time, so it goes on until they are done.
    stop_exporters.cancel();
    if !exporter.finished().await {
        tracing::warn!("not everything could be exported before the end");
    }
    stop_serving.cancel();
    capture.stop().await;
    own.finish().await;
    // Only clients that are slow to leave are still there; the listener they came from is gone.
    tasks.ended(Duration::from_millis(200)).await;
    drop(lock);
    died.map_or(Ok(()), |died| Err(died.into()))
}

/// What there is room for, where that is less than usual.
fn tell_budget(config: &Config) {
    if config.memory_budget >= USUAL_BUDGET {
        return;
    }
    let sizes = config.sizes();
    tracing::info!(
        memory_budget = %config.memory_budget,
        usual = %USUAL_BUDGET,
        series = sizes.series,
        connections = sizes.connections,
        processes = sizes.processes,
        pods = sizes.pods,
        cluster_objects = sizes.cluster_objects,
        "memory_budget is less than usual: there is room for less"
    );
}

/// Where nothing is to be kept, what an earlier agent kept goes: its programs would work beside this one's, and the next
/// agent that keeps any would count again what this one counts.
fn remove_unwanted_pins(config: &Config) {
    if config.pins.keep.is_on() {
        return;
    }
    match remove_pins(&config.pins.directory) {
        Ok(true) => {
            tracing::info!("removed what an earlier agent kept in the kernel (pins.keep: off)");
        }
        Ok(false) => {}
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(%error, "what an earlier agent kept in the kernel stays there");
        }
    }
}

/// Takes the address, but does not listen yet: only a listener that begins after the programs were attached is known to
/// them, and only so does the agent know who scrapes it for its own traffic.
fn take_address(address: SocketAddr) -> Result<(TcpSocket, SocketAddr), DaemonError> {
    let cannot = |error| cannot_listen(address, error);
    let socket = bind(address).map_err(cannot)?;
    // With port 0 the kernel has chosen one.
    let chosen = socket.local_addr().map_err(cannot)?;
    Ok((socket, chosen))
}

fn cannot_listen(address: SocketAddr, source: io::Error) -> DaemonError {
    DaemonError::Listen { address, source }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait for the last agent's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn scope(config: &Config) -> Scope {
    match config.prometheus.scope_labels {
        Toggle::On => Scope::Shown,
        Toggle::Off => Scope::Left,
    }
}

fn socket_routes(
    status: Status,
    subscriptions: mpsc::Sender<crate::export::live::Subscription>,
) -> axum::Router {
    admin::status_router(status).merge(admin::events_router(subscriptions))
}

/// Shows a table, where somebody may look at it and nothing is sent elsewhere.
fn show_table(
    settings: &Settings,
    snapshots: &SnapshotHandle,
    tasks: &Tasks,
    stop: &CancellationToken,
) {
    if settings.otlp.metrics.is_none() && io::stdout().is_terminal() {
        let table = console::run(snapshots.clone(), TABLE_INTERVAL, stop.clone());
        tasks.spawn("table", table);
    }
}

/// Has the API server asked what else it says of this node, if there is one.
fn learn_facts(
    client: Option<&::kube::Client>,
    config: &Config,
    tasks: &Tasks,
) -> Option<mpsc::Receiver<NodeFacts>> {
    let (tell, facts) = mpsc::channel(1);
    let learning = kube::learn_facts(client?.clone(), config.node_name.clone(), tell);
    tasks.spawn("node's facts", learning);
    Some(facts)
}

/// Starts the watch of this node's pods, if there is a cluster.
pub(crate) fn watch_pods(
    client: Option<&::kube::Client>,
    config: &Config,
    settings: &Settings,
    tasks: &Tasks,
) -> Option<pipeline::PodInput> {
    let client = client?.clone();
    let (sender, updates) = mpsc::channel(POD_UPDATES);
    let (watch, status) = PodWatch::new(
        client,
        &config.node_name,
        settings.allowed.clone(),
        settings.pods,
        sender,
    );
    tasks.spawn("pods", watch.run());
    Some(pipeline::PodInput { updates, status })
}

/// A client for the API server, if there is to be one.
pub(crate) async fn connect_to_cluster(
    settings: &Settings,
) -> Result<Option<::kube::Client>, DaemonError> {
    match kube::connect(settings.kubernetes).await {
        Ok(client) => Ok(client),
        Err(error) if settings.kubernetes == kube::KubernetesMode::Auto => {
            tracing::warn!(error = %chain(&error), "going on without Kubernetes");
            Ok(None)
        }
        Err(error) => Err(DaemonError::Kubernetes(error)),
    }
}

/// Everything but the first list of pods is done by the time anybody can ask.
fn readiness(
    kube: Option<watch::Receiver<KubeStatus>>,
    tasks: &Tasks,
) -> watch::Receiver<Readiness> {
    let ready = Readiness {
        probes_attached: true,
        exporters_configured: true,
        kubernetes_listed: kube.is_none(),
    };
    let (sender, receiver) = watch::channel(ready);
    if let Some(mut kube) = kube {
        tasks.spawn("readiness", async move {
            let listed = kube.wait_for(|status| status.listed);
            // Whether the list came or not: after that long, what is known is served.
            drop(tokio::time::timeout(FIRST_LIST, listed).await);
            sender.send_modify(|readiness| readiness.kubernetes_listed = true);
            sender.closed().await;
        });
    }
    receiver
}
