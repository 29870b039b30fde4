//! The client against resolvers good and bad.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::protocol::{Body, Heartbeat, PROTOCOL, Position, WatchRequest, Welcome};
use super::testing::*;
use super::*;
use crate::causes::chain;
use crate::identity::cluster::{ClusterUpdate, ObjectKind};
use crate::tls::ClientFiles;

const SILENCE: Duration = Duration::from_secs(20);

struct Fixture {
    server: Scripted,
    updates: mpsc::Receiver<ClusterUpdate>,
    status: watch::Receiver<RemoteStatus>,
    following: JoinHandle<()>,
}

async fn start(scripts: Vec<Vec<Act>>) -> Fixture {
    start_with(scripts, 100, SILENCE).await
}

async fn start_with(scripts: Vec<Vec<Act>>, max_objects: usize, silence: Duration) -> Fixture {
    let (server, address) = Scripted::serve(scripts).await;
    let (sender, updates) = mpsc::channel(64);
    let settings = settings(&format!("http://{address}"), max_objects);
    let (client, status) = ResolverClient::with_backoff(settings, sender, NoDelay, silence);
    Fixture {
        server,
        updates,
        status,
        following: tokio::spawn(client.run()),
    }
}

fn settings(url: &str, max_objects: usize) -> RemoteSettings {
    RemoteSettings {
        url: url.parse().unwrap(),
        tls: ClientFiles::default(),
        node_name: "node-a".to_owned(),
        max_objects,
    }
}

impl Fixture {
    /// The next updates, in short form; of lists only those with objects.
    async fn updates(&mut self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let update = tokio::time::timeout(SILENCE, self.updates.recv()).await;
            found.push(
                match update.expect("more updates").expect("the client goes on") {
                    ClusterUpdate::Applied(object) => format!("+{}", object.uid),
                    ClusterUpdate::Deleted { uid, .. } => format!("-{uid}"),
                    ClusterUpdate::Restarted { objects, kind } => {
                        if kind != ObjectKind::Pod {
                            assert!(objects.is_empty());
                            continue;
                        }
                        let text = String::from("=");
                        objects.iter().fold(text, |text, object| text + &object.uid)
                    }
                },
            );
        }
        found
    }

    /// Waits until the client has failed so often; what it said last.
    async fn failed(&mut self, errors: u64) -> String {
        let failed = self.status.wait_for(|status| status.errors >= errors);
        let failed = tokio::time::timeout(SILENCE, failed).await.unwrap();
        failed.unwrap().last_error.as_deref().unwrap().to_owned()
    }

    /// What was asked to be resumed, request by request.
    async fn resumes(&self, count: usize) -> Vec<Option<Position>> {
        loop {
            let requests = self.server.requests.lock().unwrap().clone();
            if requests.len() >= count {
                return requests.into_iter().map(|request| request.resume).collect();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn position(epoch: u64, version: u64) -> Position {
    Position { epoch, version }
}

#[tokio::test]
async fn a_snapshot_and_what_follows() {
    let mut script = snapshot(7, 40, &["a", "b"]);
    script.extend([
        say(delta(41, &["c"])),
        say(Body::Heartbeat(Heartbeat { version: 41 })),
        // Something that later versions tell.
        framed(&[0x9a, 0x06, 0x00]),
        say(delta(42, &["a"])),
        Act::Hang,
    ]);
    let mut all = start(vec![script]).await;
    assert_eq!(all.updates(3).await, ["=ab", "+c", "+a"]);
    let status = all.status.borrow().clone();
    assert_eq!(
        (
            status.connected,
            status.listed,
            status.events,
            status.snapshots,
            status.errors
        ),
        (true, true, 4, 1, 0)
    );
    let request = all.server.requests.lock().unwrap()[0].clone();
    let expected = WatchRequest {
        protocol: PROTOCOL,
        node_name: "node-a".to_owned(),
        resume: None,
    };
    assert_eq!(request, expected);
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let mut first = snapshot(7, 40, &["a"]);
    first.push(say(delta(41, &["b"])));
    let resumed = vec![say(welcome(7, true)), say(delta(42, &["c"]))];
    let mut all = start(vec![first, resumed]).await;
    assert_eq!(all.updates(3).await, ["=a", "+b", "+c"]);
    assert_eq!(
        all.resumes(3).await,
        [None, Some(position(7, 41)), Some(position(7, 42))]
    );
    let status = all.status.borrow().clone();
    assert_eq!((status.resumed, status.snapshots, status.errors), (1, 1, 2));
    let ended = "the resolver ended the stream";
    assert_eq!(status.last_error.as_deref(), Some(ended));
}

#[tokio::test]
async fn another_resolver_tells_everything_anew() {
    let other = snapshot(8, 3, &["b", "c"]);
    let mut all = start(vec![snapshot(7, 40, &["a"]), other]).await;
    assert_eq!(all.updates(2).await, ["=a", "=bc"]);
    assert_eq!(
        all.resumes(3).await,
        [None, Some(position(7, 40)), Some(position(8, 3))]
    );
}

#[tokio::test]
async fn what_breaks_off_in_the_middle_is_not_told() {
    let mut broken = snapshot(8, 3, &["x"]);
    broken.pop();
    broken.push(Act::Status(14, "going away"));
    let mut all = start(vec![
        snapshot(7, 40, &["a"]),
        broken,
        snapshot(8, 4, &["b"]),
    ])
    .await;
    assert_eq!(all.updates(2).await, ["=a", "=b"]);
    assert_eq!(
        all.resumes(3).await,
        [None, Some(position(7, 40)), Some(position(7, 40))]
    );
}

#[tokio::test]
async fn a_snapshot_can_begin_anew_at_any_time() {
    let mut script = vec![
        say(welcome(7, false)),
        say(begin(7, 1)),
        say(Body::Snapshot(batch(&["x"]))),
        say(begin(7, 5)),
        say(Body::Snapshot(batch(&["a"]))),
        say(end()),
        say(delta(6, &["b"])),
        say(begin(7, 9)),
        say(Body::Snapshot(batch(&["c"]))),
        say(end()),
    ];
    script.push(Act::Hang);
    let mut all = start(vec![script]).await;
    assert_eq!(all.updates(3).await, ["=a", "+b", "=c"]);
}

/// A resolver that knew better says `script`; what is known stays, and is asked for again.
async fn check_hostile(script: Vec<Act>, expected: &str) {
    let mut all = start(vec![
        snapshot(7, 40, &["a"]),
        script,
        vec![say(welcome(7, true)), say(delta(41, &["b"]))],
    ])
    .await;
    assert_eq!(all.updates(2).await, ["=a", "+b"], "{expected}");
    let resumes = all.resumes(3).await;
    assert_eq!(resumes[1..3], [Some(position(7, 40)); 2], "{expected}");
    let error = all.failed(3).await;
    assert_eq!(error, "the resolver ended the stream");
}

async fn check_error(script: Vec<Act>, expected: &str) {
    let mut all = start(vec![script.clone()]).await;
    let error = all.failed(1).await;
    assert!(error.contains(expected), "{error}\n{expected}");
    assert!(all.updates.try_recv().is_err());
    check_hostile(script, expected).await;
}

#[tokio::test]
async fn refusals_are_told() {
    let refuse = vec![Act::Status(8, "too-many")];
    check_error(refuse, "too-many (ResourceExhausted)").await;
    check_error(vec![], "the resolver ended the stream").await;
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let other = |protocol| {
        let epoch = 7;
        let resumed = true;
        say(Body::Welcome(Welcome {
            protocol,
            epoch,
            resumed,
        }))
    };
    let version = "it speaks version 2 of the protocol, this agent 1";
    check_error(vec![other(2)], version).await;
    check_error(vec![other(0)], "version 0").await;
}

#[tokio::test]
async fn what_comes_when_it_may_not() {
    let welcome = || say(welcome(9, false));
    check_error(vec![say(begin(9, 1))], "a welcome has to come first").await;
    check_error(vec![welcome(), welcome()], "a welcome has to come first").await;
    check_error(vec![welcome(), say(end())], "mixed up").await;
    check_error(vec![welcome(), say(delta(41, &["x"]))], "mixed up").await;
    let within = vec![welcome(), say(begin(9, 1)), say(delta(2, &["x"]))];
    check_error(within, "mixed up").await;
    let other_epoch = vec![welcome(), say(begin(7, 1))];
    check_error(other_epoch, "that of another epoch").await;
    let alone = vec![welcome(), say(Body::Snapshot(batch(&["x"])))];
    check_error(alone, "mixed up").await;
}

#[tokio::test]
async fn versions_follow_each_other() {
    for version in [0, 40, 42, u64::MAX] {
        let script = vec![say(welcome(7, true)), say(delta(version, &["x"]))];
        check_hostile(script, "a gap").await;
    }
    // Of an epoch that was never told.
    check_error(vec![say(welcome(9, true))], "it resumes what it never told").await;
}

#[tokio::test]
async fn garbage_is_refused() {
    check_error(vec![framed(b"\xff\xff\xff")], "cannot be decoded").await;
    // A batch that says it is longer than the message.
    check_error(
        vec![framed(&[0x1a, 0xff, 0xff, 0xff, 0x7f])],
        "cannot be decoded",
    )
    .await;
    let absurd = Act::Send(vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    check_error(vec![absurd], "the stream broke").await;
    check_error(vec![framed(&vec![0; 300 << 10])], "the stream broke").await;
    let compressed = Act::Send(vec![1, 0, 0, 0, 1, 0]);
    check_error(vec![compressed], "the stream broke").await;
}

#[tokio::test]
async fn more_objects_than_allowed_are_left_out() {
    let mut script = snapshot(7, 1, &["a", "b", "c"]);
    script.push(Act::Hang);
    let mut all = start_with(vec![script], 2, SILENCE).await;
    assert_eq!(all.updates(1).await, ["=ab"]);
    assert_eq!(all.status.borrow().skipped, 1);
}

#[tokio::test]
async fn silence_is_an_error() {
    let mut script = snapshot(7, 1, &["a"]);
    script.push(Act::Hang);
    let mut all = start_with(vec![script], 9, Duration::from_millis(500)).await;
    assert_eq!(all.updates(1).await, ["=a"]);
    assert!(all.failed(1).await.contains("silent for too long"));
}

#[tokio::test]
async fn nobody_there_and_nothing_but_noise() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, updates) = mpsc::channel(64);
    let settings = settings(&format!("http://{address}"), 9);
    let (client, mut status) = ResolverClient::with_backoff(settings, sender, NoDelay, SILENCE);
    let following = tokio::spawn(client.run());
    let noise = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text = b"HTTP/1.1 200 OK\r\n\r\nhello\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, text)
            .await
            .unwrap();
        drop(stream);
        drop(listener);
    });
    noise.await.unwrap();
    let failed = status.wait_for(|status| status.errors >= 3);
    let last = failed.await.unwrap().last_error.clone().unwrap();
    assert!(last.starts_with("cannot connect"), "{last}");
    drop(updates);
    following.await.unwrap();
}

#[tokio::test]
async fn files_that_are_missing_are_named() {
    let mut settings = settings("https://127.0.0.1:1", 9);
    settings.tls.ca = Some("/nonexistent/ca.pem".into());
    let error = chain(&settings.endpoint().unwrap_err());
    assert_eq!(
        error,
        "kubernetes.resolver_tls: cannot read /nonexistent/ca.pem: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let all = start(vec![]).await;
    drop(all.updates);
    all.following.await.unwrap();
}
