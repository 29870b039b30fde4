//! `/api/v1/events` on the Unix socket: live events, one JSON object a line, until the client leaves.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::export::live::{EventFilter, Subscription};

/// What a subscriber asks for, as the query of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventQuery {
    /// Kinds of events, separated by commas; empty for all.
    pub kind: String,
    /// `NAMESPACE/NAME` of a pod; empty for all.
    pub pod: String,
}

impl EventQuery {
    /// The filter it stands for.
    ///
    /// # Errors
    /// An unknown kind, or a pod without namespace.
    pub fn filter(&self) -> Result<EventFilter, crate::export::live::FilterError> {
        let kinds = self
            .kind
            .split(',')
            .map(str::trim)
            .filter(|kind| !kind.is_empty());
        EventFilter::parse(kinds, (!self.pod.is_empty()).then_some(&*self.pod))
    }
}

/// The endpoint; each request becomes a subscription.
pub fn events_router(subscriptions: mpsc::Sender<Subscription>) -> Router {
    Router::new()
        .route("/api/v1/events", get(stream_events))
        .with_state(subscriptions)
}

async fn stream_events(
    State(subscriptions): State<mpsc::Sender<Subscription>>,
    Query(query): Query<EventQuery>,
) -> Response {
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let (subscription, lines) = Subscription::new(filter);
    if subscriptions.send(subscription).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let body = stream::unfold(lines, |mut lines| async {
        let line = lines.recv().await?;
        Some((
            Ok::<_, std::convert::Infallible>(format!("{line}\n")),
            lines,
        ))
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(body),
    )
        .into_response()
}
