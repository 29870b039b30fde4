//! An API server that plays a script, for the tests of watches.

use std::fmt::Write as _;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use kube::runtime::utils::Backoff;
use serde_json::{Value, json};
use tower_test::mock::Handle;

/// One request the server expects, by parts of its URI, and its answer.
pub(super) struct Step(
    pub(super) &'static [&'static str],
    pub(super) u16,
    pub(super) String,
);

/// Never waits, but counts how often it was told that all is well.
#[derive(Clone, Default)]
pub(super) struct NoDelay {
    pub(super) resets: Arc<AtomicUsize>,
}

impl Iterator for NoDelay {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoDelay {
    fn reset(&mut self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

/// Plays the steps, then leaves the next request without an answer.
pub(super) async fn serve(mut server: Handle<Request<Body>, Response<Body>>, steps: Vec<Step>) {
    for Step(parts, status, body) in steps {
        let (request, reply) = server.next_request().await.unwrap();
        let uri = request.uri().to_string();
        assert!(
            parts.iter().all(|part| uri.contains(part)),
            "{uri} lacks one of {parts:?}"
        );
        let response = Response::builder()
            .status(status)
            .body(Body::from(body.into_bytes()));
        reply.send_response(response.unwrap());
    }
    let unanswered = server.next_request().await;
    pending::<()>().await;
    drop(unanswered);
}

pub(super) fn stream(events: &[(&str, Value)]) -> String {
    events
        .iter()
        .fold(String::new(), |mut text, (kind, object)| {
            writeln!(text, "{}", json!({"type": kind, "object": object})).unwrap();
            text
        })
}

pub(super) fn initial_end() -> (&'static str, Value) {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": "9", "annotations": annotations});
    (
        "BOOKMARK",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}),
    )
}

pub(super) fn list(pods: &[Value]) -> String {
    let metadata = json!({"resourceVersion": "8"});
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": pods}).to_string()
}

pub(super) fn failure(code: u16, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Reason", "code": code,
    })
}
