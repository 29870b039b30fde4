//! `/api/v1/events` on the Unix socket: live events, one JSON object a line, until the client leaves.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::stream;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::export::live::{Asked, EventFilter, FilterError, Subscription};

const PATH: &str = "/api/v1/events";

/// What a subscriber asks for, as the query of the request. What is empty does not matter; what is unknown is refused, as it would leave
/// something out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventQuery {
    /// Kinds of events, separated by commas.
    pub kind: String,
    /// A namespace, or a pattern of namespaces.
    pub namespace: String,
    /// `NAMESPACE/NAME` of a pod.
    pub pod: String,
    /// The name of a program, or a pattern of names.
    pub executable: String,
    /// How a process has to have ended.
    pub exit: String,
}

impl EventQuery {
    /// The filter it stands for.
    ///
    /// # Errors
    /// See [`EventFilter::parse`].
    pub fn filter(&self) -> Result<EventFilter, FilterError> {
        let [kinds, namespace, pod, executable, exit] = self
            .pairs()
            .map(|(_, value)| Some(value).filter(|value| !value.is_empty()));
        EventFilter::parse(&Asked {
            kinds,
            namespace,
            pod,
            executable,
            exit,
        })
    }

    /// It as the path and query of a request. What is empty is left out: a daemon that does not know of it does as well.
    pub fn path_and_query(&self) -> String {
        let pairs = self
            .pairs()
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        format!("{PATH}?{query}")
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        let Self {
            kind,
            namespace,
            pod,
            executable,
            exit,
        } = self;
        [
            ("kind", kind),
            ("namespace", namespace),
            ("pod", pod),
            ("executable", executable),
            ("exit", exit),
        ]
    }
}

/// The endpoint; each request becomes a subscription.
pub fn events_router(subscriptions: mpsc::Sender<Subscription>) -> Router {
    Router::new()
        .route(PATH, get(stream_events))
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

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use proptest::prelude::*;

    use super::*;

    fn read(path_and_query: &str) -> Result<EventQuery, String> {
        let uri: Uri = path_and_query.parse().expect("a URI");
        assert_eq!(uri.path(), PATH);
        let query = Query::<EventQuery>::try_from_uri(&uri);
        query
            .map(|Query(query)| query)
            .map_err(|error| error.body_text())
    }

    #[test]
    fn what_is_empty_is_not_asked_for() {
        assert_eq!(EventQuery::default().path_and_query(), "/api/v1/events?");
        let query = EventQuery {
            kind: "exec,tcp.close".to_owned(),
            executable: "[ &?*".to_owned(),
            ..EventQuery::default()
        };
        let written = query.path_and_query();
        assert_eq!(
            written,
            "/api/v1/events?kind=exec%2Ctcp.close&executable=%5B+%26%3F*"
        );
        assert_eq!(read(&written), Ok(query));
        // As clients before it do.
        let all = read("/api/v1/events?kind=&pod=").expect("a query");
        assert_eq!(all.filter(), Ok(EventFilter::default()));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let refused = read("/api/v1/events?kind=exec&colour=red").unwrap_err();
        assert!(refused.contains("unknown field `colour`"), "{refused}");
        assert!(read("/api/v1/events?exit=1&exit=2").is_err());
    }

    proptest! {
        #[test]
        fn any_text_arrives(texts in prop::array::uniform5(".{0,8}|[*?&=%+#\\[\\] /;\"]{0,8}")) {
            let [kind, namespace, pod, executable, exit] = texts;
            let query = EventQuery { kind, namespace, pod, executable, exit };
            prop_assert_eq!(read(&query.path_and_query()), Ok(query));
        }
    }
}
