//! `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::stream::{self, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::export::prometheus;
use crate::export::prometheus::negotiation::Format;
use crate::export::prometheus::samples::Exposition;
use crate::export::prometheus::standard::{self, BuildInfo};
use crate::telemetry::handle::SnapshotHandle;

/// A page of 20 000 series takes megabytes from when it is written until it is read: more scrapes at once wait their turn.
const CONCURRENT_PAGES: usize = 4;

/// Bytes of a page that are handed to a connection at a time.
const CHUNK: usize = 64 << 10;

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
    async fn page(self, format: Format) -> Option<Page> {
        let permit = self.pages.acquire_owned().await.ok()?;
        let snapshot = self.snapshots.take().await?;
        let build = self.build;
        let written = spawn_blocking(move || {
            let exposition = Exposition::new(snapshot, standard::read(build));
            prometheus::encode(format, exposition)
        });
        let text = written.await.ok()?.ok()?;
        Some(Page {
            rest: text.into(),
            _permit: permit,
        })
    }
}

/// A page, or what is left to send of it. It has its turn until its reader has all of it, or is cut off.
struct Page {
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl Page {
    /// Handed over piece by piece: in one piece, the connection would keep it after its turn.
    fn into_body(self) -> Body {
        let chunks = stream::unfold(self, |mut page| async {
            let length = page.rest.len().min(CHUNK);
            let chunk = page.rest.split_to(length);
            (length > 0).then_some((Ok::<_, Infallible>(chunk), page))
        });
        // Compression asks again after the end.
        Body::from_stream(chunks.fuse())
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
            page.into_body(),
        )
            .into_response(),
        Ok(None) => unavailable("the agent is stopping\n"),
        Err(_) => unavailable("the agent did not read its series in time\n"),
    }
}

fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_page_keeps_its_turn_until_it_is_read() {
        let pages = Arc::new(Semaphore::new(1));
        let text = "abc\n".repeat(CHUNK);
        let page = Page {
            rest: text.clone().into(),
            _permit: Arc::clone(&pages).acquire_owned().await.unwrap(),
        };
        let mut body = page.into_body();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            assert_eq!(pages.available_permits(), 0);
            read.extend(frame.unwrap().into_data().unwrap());
        }
        assert_eq!((read.len(), pages.available_permits()), (text.len(), 1));
        assert_eq!(read, text.as_bytes());
    }
}
