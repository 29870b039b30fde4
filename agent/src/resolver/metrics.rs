//! The resolver about itself, as readings like the agent's.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use crate::identity::kube::ClusterStatus;
use crate::identity::{Resource, Value};
use crate::kernel::Clock;
use crate::self_telemetry::{self, KubeWatch, ResolverView};
use crate::telemetry::handle::ReadingRequest;
use crate::telemetry::snapshot::Snapshot;

/// Answers requests for readings until `stop`.
pub(super) async fn answer(
    mut requests: mpsc::Receiver<ReadingRequest>,
    board: Arc<Board>,
    status: ClusterStatus,
    stop: CancellationToken,
) {
    // Anew each time: the wall clock may be set.
    let now = || Clock::new().now_unix_nano();
    let start_unix_nano = now();
    let resource = Arc::new(Resource {
        attributes: vec![("service.name".into(), Value::Static("wellhead-resolver"))],
        labels: Vec::new(),
    });
    loop {
        let request = tokio::select! {
            () = stop.cancelled() => return,
            request = requests.recv() => request,
        };
        let Some(request) = request else { return };
        let mut snapshot = Snapshot {
            time_unix_nano: now(),
            resources: vec![Arc::clone(&resource)],
            ..Snapshot::default()
        };
        let counted = board.stats.read();
        let kube: Vec<_> = status
            .read()
            .iter()
            .map(|(kind, status)| KubeWatch::new(kind.as_str(), status))
            .collect();
        let view = ResolverView {
            start_unix_nano,
            kube: &kube,
            clients: counted.clients,
            deltas: counted.deltas,
            snapshots: counted.snapshots,
            bytes: counted.bytes,
        };
        self_telemetry::append_resolver(&mut snapshot, &view);
        // Whoever asked may have gone.
        drop(request.reply.send(snapshot.into()));
    }
}
