use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tower_http::map_response_body::MapResponseBody;
use tower_test::mock;

use super::super::allow_list::AllowList;
use super::super::client::{LONGEST_LINE, bounded};
use super::super::node_pods::NodePods;
use super::super::testing::{NoDelay, Step, failure, initial_end, list, serve, stream};
use super::{KubeStatus, Watch};
use crate::identity::pods::PodUpdate;

const STREAMED: &[&str] = &[
    "watch=true",
    "sendInitialEvents=true",
    "fieldSelector=spec.nodeName%3Dnode-a",
];
const LISTED: &[&str] = &[
    "/api/v1/pods?",
    "fieldSelector=spec.nodeName%3Dnode-a",
    "limit=500",
];

struct Fixture {
    updates: mpsc::Receiver<PodUpdate>,
    status: watch::Receiver<KubeStatus>,
    backoff: NoDelay,
    server: JoinHandle<()>,
    watching: JoinHandle<()>,
}

fn start(max_pods: usize, steps: Vec<Step>) -> Fixture {
    start_with(max_pods, super::QUIET, steps)
}

fn start_with(max_pods: usize, quiet: Duration, steps: Vec<Step>) -> Fixture {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let (sender, updates) = mpsc::channel(4);
    let backoff = NoDelay::default();
    let client = Client::new(MapResponseBody::new(service, bounded::<Body>), "default");
    let (mut watch, status) = Watch::with_backoff(
        client,
        NodePods::new("node-a", AllowList::default()),
        max_pods,
        sender,
        backoff.clone(),
    );
    watch.quiet = quiet;
    Fixture {
        updates,
        status,
        backoff,
        server: tokio::spawn(serve(server, steps)),
        watching: tokio::spawn(watch.run()),
    }
}

impl Fixture {
    /// The next updates, in short form.
    async fn updates(&mut self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let update = tokio::select! {
                update = self.updates.recv() => update.expect("the watch goes on"),
                failed = &mut self.server => panic!("{failed:?}"),
                () = tokio::time::sleep(Duration::from_secs(20)) => panic!("no more updates after {found:?}"),
            };
            found.push(match update {
                PodUpdate::Applied(pod) => format!("+{}", pod.name),
                PodUpdate::Deleted { uid } => format!("-{uid}"),
                PodUpdate::Restarted(pods) => pods
                    .iter()
                    .fold("=".to_owned(), |text, pod| text + &pod.name),
            });
        }
        found
    }

    fn status(&self) -> KubeStatus {
        self.status.borrow().clone()
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"uid": format!("u-{name}"), "name": name, "namespace": "ns", "resourceVersion": "7"},
    })
}

fn malformed(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"] = json!({"containers": "not a list"});
    pod
}

#[tokio::test]
async fn a_streamed_list_and_what_follows() {
    let body = stream(&[
        ("ADDED", pod("a")),
        ("ADDED", pod("b")),
        initial_end(),
        ("ADDED", pod("c")),
        ("MODIFIED", pod("a")),
        ("DELETED", pod("b")),
    ]);
    let mut all = start(10, vec![Step(STREAMED, 200, body)]);
    assert_eq!(all.updates(4).await, ["=ab", "+c", "+a", "-u-b"]);
    let expected = KubeStatus {
        connected: true,
        listed: true,
        objects: 2,
        events: 5,
        ..KubeStatus::default()
    };
    assert_eq!(all.status(), expected);
}

#[tokio::test]
async fn an_old_server_is_listed_and_then_watched() {
    let refusal = failure(422, "resourceVersionMatch is forbidden for watch").to_string();
    let gone = stream(&[
        ("ADDED", pod("b")),
        ("ERROR", failure(410, "too old resource version")),
    ]);
    let mut all = start(
        10,
        vec![
            Step(STREAMED, 422, refusal),
            Step(LISTED, 200, list(&[pod("a")])),
            Step(&["watch=true", "resourceVersion=8"], 200, gone),
            // It is remembered: the relist does not try to stream again.
            Step(LISTED, 200, list(&[pod("c")])),
        ],
    );
    assert_eq!(all.updates(3).await, ["=a", "+b", "=c"]);
    let status = all.status();
    assert_eq!(
        (
            status.list_then_watch,
            status.relists,
            status.objects,
            status.errors
        ),
        (true, 1, 1, 1)
    );
    assert_eq!(
        status.last_error.as_deref(),
        Some("too old resource version (410)")
    );
}

#[tokio::test]
async fn a_page_that_is_too_long_is_asked_for_in_parts() {
    let refusal = failure(422, "resourceVersionMatch is forbidden for watch").to_string();
    let too_long = || " ".repeat(LONGEST_LINE + 1);
    let mut page: Value = serde_json::from_str(&list(&[pod("a")])).unwrap();
    page["metadata"]["continue"] = json!("more");
    let mut all = start(
        10,
        vec![
            Step(STREAMED, 422, refusal),
            Step(LISTED, 200, too_long()),
            Step(&["/api/v1/pods?", "limit=250"], 200, too_long()),
            Step(&["/api/v1/pods?", "limit=125"], 200, page.to_string()),
            Step(&["limit=125", "continue=more"], 200, list(&[pod("b")])),
        ],
    );
    assert_eq!(all.updates(1).await, ["=ab"]);
    assert_eq!(all.status().errors, 2);
}

#[tokio::test]
async fn a_version_that_is_gone_is_streamed_anew() {
    let first = stream(&[
        ("ADDED", pod("a")),
        initial_end(),
        ("ERROR", failure(410, "Gone")),
    ]);
    let again = stream(&[("ADDED", pod("b")), initial_end()]);
    let mut all = start(
        10,
        vec![Step(STREAMED, 200, first), Step(STREAMED, 200, again)],
    );
    assert_eq!(all.updates(2).await, ["=a", "=b"]);
    assert_eq!(all.status().relists, 1);
}

#[tokio::test]
async fn a_version_that_is_gone_when_resuming() {
    let first = stream(&[("ADDED", pod("a")), initial_end()]);
    let again = stream(&[("ADDED", pod("b")), initial_end()]);
    let mut all = start(
        10,
        vec![
            Step(STREAMED, 200, first),
            Step(
                &["watch=true", "resourceVersion=9"],
                410,
                failure(410, "Gone").to_string(),
            ),
            Step(STREAMED, 200, again),
        ],
    );
    assert_eq!(all.updates(2).await, ["=a", "=b"]);
}

#[tokio::test]
async fn outages_pass() {
    let first = stream(&[("ADDED", pod("a")), initial_end()]);
    let resumed = stream(&[("ADDED", pod("b"))]);
    let mut all = start(
        10,
        vec![
            Step(STREAMED, 500, failure(500, "etcd is away").to_string()),
            Step(STREAMED, 403, failure(403, "pods is forbidden").to_string()),
            Step(STREAMED, 200, first),
            Step(
                &["watch=true", "resourceVersion=9"],
                500,
                failure(500, "etcd is away").to_string(),
            ),
            Step(
                &["watch=true", "resourceVersion=9"],
                200,
                "not json\n".to_owned() + &resumed,
            ),
        ],
    );
    // Nothing is listed again: the second outage only interrupts.
    assert_eq!(all.updates(2).await, ["=a", "+b"]);
    let status = all.status();
    assert_eq!(
        (
            status.errors,
            status.relists,
            status.connected,
            status.listed
        ),
        (4, 0, true, true)
    );
}

#[tokio::test]
async fn an_outage_shows_in_the_status() {
    let mut all = start(
        10,
        vec![Step(
            STREAMED,
            403,
            failure(403, "pods is forbidden").to_string(),
        )],
    );
    let failed = all
        .status
        .wait_for(|status| status.errors == 1)
        .await
        .unwrap()
        .clone();
    assert_eq!((failed.connected, failed.listed), (false, false));
    assert_eq!(
        failed.last_error.as_deref(),
        Some("pods is forbidden (403)")
    );
}

#[tokio::test]
async fn delays_grow_until_something_arrives() {
    let refusal = || failure(422, "resourceVersionMatch is forbidden for watch").to_string();
    let away = || failure(500, "etcd is away").to_string();
    let mut steps = vec![Step(STREAMED, 422, refusal())];
    steps.extend((0..3).map(|_| Step(LISTED, 500, away())));
    let mut all = start(10, steps);
    all.status
        .wait_for(|status| status.errors == 3)
        .await
        .unwrap();
    // Beginning a list is no success yet.
    assert_eq!(all.backoff.resets.load(Ordering::Relaxed), 0);

    let mut steps = vec![Step(STREAMED, 500, away())];
    steps.push(Step(
        STREAMED,
        200,
        stream(&[("ADDED", pod("a")), initial_end()]),
    ));
    let mut all = start(10, steps);
    assert_eq!(all.updates(1).await, ["=a"]);
    assert_ne!(all.backoff.resets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_quiet_watch_counts_as_connected() {
    let refusal = failure(403, "pods is forbidden").to_string();
    let mut all = start_with(10, Duration::ZERO, vec![Step(STREAMED, 403, refusal)]);
    let status = all
        .status
        .wait_for(|status| status.errors == 1 && status.connected)
        .await;
    assert!(status.is_ok_and(|status| !status.listed));
}

#[tokio::test]
async fn malformed_pods_are_left_out() {
    let body = stream(&[
        ("ADDED", malformed("x")),
        ("ADDED", pod("a")),
        initial_end(),
        ("MODIFIED", malformed("a")),
        ("DELETED", malformed("a")),
    ]);
    let mut all = start(10, vec![Step(STREAMED, 200, body)]);
    assert_eq!(all.updates(2).await, ["=a", "-u-a"]);
    let status = all.status();
    assert_eq!((status.skipped, status.objects, status.errors), (2, 0, 0));
}

#[tokio::test]
async fn malformed_pods_do_not_spoil_a_list() {
    let mut all = start(
        10,
        vec![
            Step(STREAMED, 400, failure(400, "unknown parameter").to_string()),
            Step(LISTED, 200, list(&[malformed("x"), pod("a")])),
        ],
    );
    assert_eq!(all.updates(1).await, ["=a"]);
    assert_eq!(all.status().skipped, 1);
}

#[tokio::test]
async fn more_pods_than_allowed_are_left_out() {
    let body = stream(&[
        ("ADDED", pod("a")),
        ("ADDED", pod("b")),
        initial_end(),
        ("ADDED", pod("c")),
        ("DELETED", pod("c")),
        ("DELETED", pod("a")),
        ("ADDED", pod("c")),
    ]);
    let mut all = start(1, vec![Step(STREAMED, 200, body)]);
    assert_eq!(all.updates(3).await, ["=a", "-u-a", "+c"]);
    assert_eq!((all.status().skipped, all.status().objects), (2, 1));
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let all = start(10, vec![]);
    drop(all.updates);
    all.watching.await.unwrap();
}
