//! `/readyz`: whether the agent does what it was asked to.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;

/// What has to be done before the agent is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The kernel programs of every wanted feature are attached, or switched off with a reason.
    pub probes_attached: bool,
    /// Every configured exporter is set up.
    pub exporters_configured: bool,
    /// The first list of Kubernetes objects is complete, was waited for long enough, or is not wanted.
    pub kubernetes_listed: bool,
}

impl Readiness {
    /// What is still missing.
    pub fn missing(self) -> Vec<&'static str> {
        let parts = [
            ("probes", self.probes_attached),
            ("exporters", self.exporters_configured),
            ("kubernetes", self.kubernetes_listed),
        ];
        parts
            .into_iter()
            .filter(|(_, done)| !done)
            .map(|(name, _)| name)
            .collect()
    }
}

#[derive(Serialize)]
struct Answer {
    ready: bool,
    missing: Vec<&'static str>,
}

pub(super) fn router(readiness: watch::Receiver<Readiness>) -> Router {
    Router::new()
        .route("/readyz", get(ready))
        .with_state(readiness)
}

async fn ready(State(readiness): State<watch::Receiver<Readiness>>) -> (StatusCode, Json<Answer>) {
    let missing = readiness.borrow().missing();
    let ready = missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Answer { ready, missing }))
}
