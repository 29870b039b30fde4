//! `/metrics`.

use std::io;
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
use tokio::time::{Instant, timeout};
use tracing::Span;

use crate::export::prometheus::negotiation::Exposition;
use crate::export::prometheus::page::{Page, Scope};
use crate::export::prometheus::standard::{self, BuildInfo};
use crate::own_span::own_span;
use crate::telemetry::handle::SnapshotHandle;

/// A page holds a reading of the store from when it begins until it is read: more scrapes at once wait their turn.
const CONCURRENT_PAGES: usize = 4;

/// Bytes of a page that are written at a time, when the connection takes them.
const CHUNK: usize = 64 << 10;

/// Prometheus gives up by then; an answer that says why is better than none.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a reader may take while others wait.
const READING: Duration = Duration::from_secs(10);

/// What `/metrics` shows.
#[derive(Clone, Debug)]
pub struct Metrics {
    snapshots: SnapshotHandle,
    build: BuildInfo,
    scope: Scope,
    pages: Arc<Semaphore>,
}

impl Metrics {
    /// Pages made of the store's snapshots.
    pub fn new(snapshots: SnapshotHandle, build: BuildInfo, scope: Scope) -> Self {
        Self {
            snapshots,
            build,
            scope,
            pages: Arc::new(Semaphore::new(CONCURRENT_PAGES)),
        }
    }

    /// Begins a page; `None` once the pipeline has stopped.
    async fn page(self, exposition: Exposition) -> Option<Turn> {
        let span = own_span!("wellhead.scrape");
        let pages = Arc::clone(&self.pages);
        let permit = self.pages.acquire_owned().await.ok()?;
        let snapshot = self.snapshots.take().await?;
        let build = self.build;
        let standard = spawn_blocking(move || standard::read(build)).await.ok()?;
        Some(Turn {
            page: Page::new(exposition, self.scope, snapshot, standard),
            pages,
            begun: Instant::now(),
            _span: span,
            _permit: permit,
        })
    }
}

/// A page under way. It has its turn until its reader has all of it, or is cut off.
struct Turn {
    page: Page,
    pages: Arc<Semaphore>,
    begun: Instant,
    _span: Span,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Whether it has had its time while all turns are taken.
    fn is_overdue(&self) -> bool {
        self.pages.available_permits() == 0 && self.begun.elapsed() > READING
    }

    /// Each piece is written when the last one is gone.
    fn into_body(self) -> Body {
        let chunks = stream::unfold(Some(self), |turn| async {
            let mut turn = turn?;
            if turn.is_overdue() {
                return Some((Err(io::ErrorKind::TimedOut.into()), None));
            }
            // A thread that may take its time: the first piece of a family looks at all of its points.
            let written = spawn_blocking(move || {
                let mut text = String::with_capacity(CHUNK + CHUNK / 4);
                let more = turn.page.write(&mut text, CHUNK);
                (text, more.map(|more| more.then_some(turn)))
            });
            match written.await {
                Ok((text, Ok(rest))) => Some((Ok(Bytes::from(text)), rest)),
                // The connection ends, so that its reader does not take what it has for the whole.
                Ok((_, Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(error) => Some((Err(io::Error::other(error)), None)),
            }
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
    let exposition = Exposition::negotiate(accept);
    match timeout(PATIENCE, metrics.page(exposition)).await {
        Ok(Some(page)) => (
            [(CONTENT_TYPE, exposition.content_type()), (VARY, "accept")],
            page.into_body(),
        )
            .into_response(),
        Ok(None) => unavailable("the agent is stopping\n"),
        Err(_) => unavailable(
            "no turn within ten seconds: others are reading pages, or the agent is very busy\n",
        ),
    }
}

fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::advance;

    use super::*;
    use crate::export::prometheus::negotiation::Format;
    use crate::identity::Value;
    use crate::telemetry::catalogue::{Attr, Metric};
    use crate::telemetry::snapshot::{Family, Point, PointValue, Snapshot};
    use crate::telemetry::store::SeriesId;

    const POINTS: i64 = 5_000;

    fn page() -> Page {
        let point = |number| Point {
            resource: 0,
            attributes: Arc::from([(Attr::DestinationPort, Value::Int(number))]),
            start_unix_nano: 1,
            value: PointValue::Int(number),
            series: SeriesId::NONE,
        };
        let snapshot = Snapshot {
            time_unix_nano: 1,
            resources: vec![Arc::default()],
            families: vec![Family {
                metric: Metric::TcpIo,
                points: (0..POINTS).map(point).collect(),
            }],
            ..Snapshot::default()
        };
        Page::new(Format::Text, Scope::Left, Arc::new(snapshot), Vec::new())
    }

    async fn turn(pages: &Arc<Semaphore>) -> Turn {
        Turn {
            page: page(),
            pages: Arc::clone(pages),
            begun: Instant::now(),
            _span: Span::none(),
            _permit: Arc::clone(pages).acquire_owned().await.unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_makes_room_for_others_once_all_turns_are_taken() {
        let pages = Arc::new(Semaphore::new(2));
        let mut slow = turn(&pages).await.into_body();
        slow.frame().await.unwrap().unwrap();
        advance(READING * 2).await;
        slow.frame().await.unwrap().unwrap();
        let other = turn(&pages).await;
        slow.frame().await.unwrap().unwrap_err();
        assert!(slow.frame().await.is_none());
        assert_eq!(pages.available_permits(), 1);
        drop(other);
    }

    #[tokio::test]
    async fn a_page_is_written_as_it_is_read_and_keeps_its_turn_until_then() {
        let pages = Arc::new(Semaphore::new(1));
        let mut body = turn(&pages).await.into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
            let last = pieces
                .concat()
                .ends_with(format!(" {}\n", POINTS - 1).as_bytes());
            assert_eq!(pages.available_permits() == 1, last);
        }
        assert!(pieces.iter().all(|piece| piece.len() < CHUNK + 1_024));
        assert!(pieces.len() >= 4, "{}", pieces.len());
        let mut whole = String::new();
        assert!(!page().write(&mut whole, usize::MAX).unwrap());
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), whole);
        assert_eq!(whole.lines().count(), 2 + 5_000);
    }
}
