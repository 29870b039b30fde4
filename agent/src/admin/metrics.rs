//! `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::export::prometheus;
use crate::export::prometheus::negotiation::Format;
use crate::export::prometheus::samples::Exposition;
use crate::export::prometheus::standard::{self, BuildInfo};
use crate::telemetry::handle::SnapshotHandle;

/// A page of 20 000 series takes megabytes while it is written: more scrapes at once wait their turn.
const CONCURRENT_PAGES: usize = 4;

/// Prometheus gives up by then; an answer that says why is better than none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `/metrics` shows.
#[derive(Clone, Debug)]
pub struct Metrics {
    snapshots: SnapshotHandle,
    build: BuildInfo,
    pages: Arc<Semaphore>,
}

impl Metrics {
    /// Pages made of the store's snapshots.
    pub fn new(snapshots: SnapshotHandle, build: BuildInfo) -> Self {
        Self {
            snapshots,
            build,
            pages: Arc::new(Semaphore::new(CONCURRENT_PAGES)),
        }
    }

    /// Writes a page; `None` once the pipeline has stopped.
    async fn page(self, format: Format) -> Option<String> {
        let permit = self.pages.acquire_owned().await.ok()?;
        let snapshot = self.snapshots.take().await?;
        let build = self.build;
        let written = spawn_blocking(move || {
            let exposition = Exposition::new(snapshot, standard::read(build));
            let page = prometheus::encode(format, exposition);
            drop(permit);
            page
        });
        written.await.ok()?.ok()
    }
}

pub(super) fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(metrics)
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accept = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    match timeout(PATIENCE, metrics.page(format)).await {
        Ok(Some(page)) => (
            [(CONTENT_TYPE, format.content_type()), (VARY, "accept")],
            page,
        )
            .into_response(),
        Ok(None) => unavailable("the agent is stopping\n"),
        Err(_) => unavailable("the agent did not read its series in time\n"),
    }
}

fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
