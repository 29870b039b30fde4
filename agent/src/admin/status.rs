//! `/api/v1/status`: what `doctor` says, plus live counts.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

/// Whoever can say how the agent is doing.
#[derive(Clone)]
pub struct Status(Arc<dyn Fn() -> BoxFuture<'static, Value> + Send + Sync>);

impl Status {
    /// A status asked for anew on every request.
    pub fn new<F, Answer>(ask: F) -> Self
    where
        F: Fn() -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Value> + Send + 'static,
    {
        Self(Arc::new(move || ask().boxed()))
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

/// Whether a listener can be reached from this machine alone, so that the status may be shown on it.
pub fn is_local(listener: SocketAddr) -> bool {
    listener.ip().to_canonical().is_loopback()
}

pub(super) fn router(status: Status) -> Router {
    Router::new()
        .route("/api/v1/status", get(show))
        .with_state(status)
}

async fn show(State(Status(ask)): State<Status>) -> Json<Value> {
    Json(ask().await)
}
