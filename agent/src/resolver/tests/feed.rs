//! What a client is told, message by message; the client being the test.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::super::board::BoardLimits;
use super::super::feed::Feed;
use super::support::{PATIENCE, Rig, pod};
use crate::identity::remote::protocol::{Body, PROTOCOL, Position, WatchResponse};

type Messages = Pin<Box<dyn Stream<Item = Result<bytes::Bytes, Status>> + Send>>;

/// Room for a handful of deltas.
const SMALL: BoardLimits = BoardLimits {
    log_bytes: 1_000,
    clients: 10,
};

fn feed(rig: &Rig, resume: Option<Position>) -> Messages {
    assert!(rig.board.stats.enter(10));
    Box::pin(Feed::new(Arc::clone(&rig.board), resume, CancellationToken::new()).into_stream())
}

async fn next(messages: &mut Messages) -> Body {
    let message = tokio::time::timeout(PATIENCE, messages.next()).await;
    let message = message
        .expect("a message in time")
        .expect("the feed goes on");
    let response = WatchResponse::decode(message.unwrap()).unwrap();
    response.body.unwrap()
}

/// In short form.
async fn told(messages: &mut Messages) -> String {
    match next(messages).await {
        Body::Welcome(welcome) => {
            assert_eq!(welcome.protocol, PROTOCOL);
            format!("welcome, resumed {}", welcome.resumed)
        }
        Body::SnapshotBegin(begin) => format!("snapshot of {}", begin.position.unwrap().version),
        Body::Snapshot(batch) => format!("{} objects", batch.objects.len()),
        Body::SnapshotEnd(_) => "end".to_owned(),
        Body::Delta(delta) => format!("delta {}", delta.version),
        Body::Heartbeat(heartbeat) => format!("heartbeat {}", heartbeat.version),
    }
}

/// Makes so many deltas, one by one.
async fn churn(rig: &Rig, deltas: u64) {
    for _ in 0..deltas {
        let head = rig.board.head();
        rig.apply(pod("a", u32::try_from(head).unwrap() + 100))
            .await;
        let mut versions = rig.board.versions();
        versions.wait_for(|version| *version > head).await.unwrap();
    }
}

async fn rig(limits: BoardLimits) -> Rig {
    let rig = Rig::start(limits).await;
    rig.list(vec![pod("a", 1), pod("b", 2)]).await;
    rig
}

fn position(rig: &Rig, version: u64) -> Position {
    let epoch = rig.board.epoch;
    Position { epoch, version }
}

const WHOLE: [&str; 4] = [
    "welcome, resumed false",
    "snapshot of 0",
    "2 objects",
    "end",
];

#[tokio::test(start_paused = true)]
async fn who_is_new_is_told_everything_and_then_what_is_new() {
    let rig = rig(BoardLimits::default()).await;
    let mut messages = feed(&rig, None);
    for expected in WHOLE {
        assert_eq!(told(&mut messages).await, expected);
    }
    churn(&rig, 2).await;
    assert_eq!(told(&mut messages).await, "delta 1");
    assert_eq!(told(&mut messages).await, "delta 2");
    assert_eq!(told(&mut messages).await, "heartbeat 2");
    assert_eq!(told(&mut messages).await, "heartbeat 2");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_told_what_is_new() {
    let rig = rig(BoardLimits::default()).await;
    churn(&rig, 3).await;
    let mut messages = feed(&rig, Some(position(&rig, 1)));
    assert_eq!(told(&mut messages).await, "welcome, resumed true");
    assert_eq!(told(&mut messages).await, "delta 2");
    assert_eq!(told(&mut messages).await, "delta 3");
    let mut messages = feed(&rig, Some(position(&rig, 3)));
    assert_eq!(told(&mut messages).await, "welcome, resumed true");
    assert_eq!(told(&mut messages).await, "heartbeat 3");

    // What never was, or of another process.
    let strange = Position {
        epoch: rig.board.epoch ^ 1,
        version: 3,
    };
    for resume in [position(&rig, 4), position(&rig, u64::MAX), strange] {
        let mut messages = feed(&rig, Some(resume));
        assert_eq!(told(&mut messages).await, "welcome, resumed false");
        assert_eq!(told(&mut messages).await, "snapshot of 3");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_away_for_too_long_is_told_everything() {
    let rig = rig(SMALL).await;
    churn(&rig, 30).await;
    let mut messages = feed(&rig, Some(position(&rig, 1)));
    assert_eq!(told(&mut messages).await, "welcome, resumed false");
    assert_eq!(told(&mut messages).await, "snapshot of 30");
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_is_told_everything_anew() {
    let rig = rig(SMALL).await;
    let mut slow = feed(&rig, None);
    for expected in WHOLE {
        assert_eq!(told(&mut slow).await, expected);
    }
    churn(&rig, 30).await;
    assert_eq!(told(&mut slow).await, "snapshot of 30");

    // Even within a snapshot: later ones have taken its place, and nobody keeps it for the slowest.
    for round in 2..5 {
        churn(&rig, 30).await;
        let mut other = feed(&rig, None);
        assert_eq!(told(&mut other).await, "welcome, resumed false");
        assert_eq!(
            told(&mut other).await,
            format!("snapshot of {}", 30 * round)
        );
    }
    assert_eq!(told(&mut slow).await, "snapshot of 120");
    assert_eq!(told(&mut slow).await, "2 objects");
    assert_eq!(told(&mut slow).await, "end");
}

#[tokio::test(start_paused = true)]
async fn one_snapshot_is_for_all_who_come_at_about_the_same_time() {
    let rig = rig(BoardLimits::default()).await;
    let mut first = feed(&rig, None);
    assert_eq!(told(&mut first).await, WHOLE[0]);
    churn(&rig, 2).await;
    let mut second = feed(&rig, None);
    for expected in WHOLE.into_iter().chain(["delta 1", "delta 2"]) {
        assert_eq!(told(&mut second).await, expected);
    }
}
