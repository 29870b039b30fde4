//! What one client is told.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::board::Board;
use super::snapshot::{Snapshot, encoded};
use crate::identity::remote::protocol::{Body, Heartbeat, PROTOCOL, Position, Welcome};

/// How long nothing may be told.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Bytes of deltas taken from the log at a time.
const AHEAD: usize = 32 << 10;

/// A client's place. Dropped when the client is gone.
#[derive(Debug)]
pub(super) struct Feed {
    board: Arc<Board>,
    at: Place,
    /// Taken from the log and not sent yet.
    deltas: VecDeque<Bytes>,
    versions: watch::Receiver<u64>,
    heartbeat: Instant,
    stop: CancellationToken,
}

#[derive(Debug)]
enum Place {
    /// The welcome is next.
    Start(Option<Position>),
    /// A message of a snapshot is next. Its owner keeps it, not those it is sent to: a client that does not read must not
    /// keep megabytes.
    Within(Weak<Snapshot>, usize),
    /// A delta is next.
    After(u64),
}

impl Feed {
    /// The feed of a client that knows what is before `resume`. The client must have entered.
    pub(super) fn new(
        board: Arc<Board>,
        resume: Option<Position>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            at: Place::Start(resume),
            deltas: VecDeque::new(),
            versions: board.versions(),
            heartbeat: Instant::now() + HEARTBEAT,
            board,
            stop,
        }
    }

    /// Messages until the client goes or the server stops.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Status>> + Send {
        unfold(self, |mut feed| async {
            let stop = feed.stop.clone();
            let message = tokio::select! {
                () = stop.cancelled() => None,
                message = feed.next() => message,
            }?;
            feed.board.stats.add_bytes(message.len());
            feed.heartbeat = Instant::now() + HEARTBEAT;
            Some((Ok(message), feed))
        })
    }

    /// The next message; `None` when the publisher has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(delta) = self.deltas.pop_front() {
                self.board.stats.add_delta();
                return Some(delta);
            }
            match &mut self.at {
                Place::Start(resume) => {
                    let resume = resume.take();
                    return self.welcome(resume).await;
                }
                Place::Within(snapshot, number) => {
                    let Some(snapshot) = snapshot.upgrade() else {
                        // It was so slow that a later one took its place.
                        self.at = self.begin().await?;
                        continue;
                    };
                    if let Some(message) = snapshot.message(*number) {
                        *number += 1;
                        return Some(message);
                    }
                    self.at = Place::After(snapshot.version);
                }
                Place::After(version) => {
                    self.versions.mark_unchanged();
                    match self.board.after(*version, AHEAD) {
                        Some(deltas) if deltas.is_empty() => {
                            let version = *version;
                            tokio::select! {
                                changed = self.versions.changed() => changed.ok()?,
                                () = sleep_until(self.heartbeat) => {
                                    return Some(encoded(Body::Heartbeat(Heartbeat { version })));
                                }
                            }
                        }
                        Some(deltas) => {
                            *version += deltas.len() as u64;
                            self.deltas = deltas.into();
                        }
                        None => self.at = self.begin().await?,
                    }
                }
            }
        }
    }

    async fn welcome(&mut self, resume: Option<Position>) -> Option<Bytes> {
        let epoch = self.board.epoch;
        let resume = resume.filter(|position| {
            position.epoch == epoch && self.board.after(position.version, 0).is_some()
        });
        self.at = match resume {
            Some(position) => Place::After(position.version),
            None => self.begin().await?,
        };
        Some(encoded(Body::Welcome(Welcome {
            protocol: PROTOCOL,
            epoch,
            resumed: resume.is_some(),
        })))
    }

    async fn begin(&self) -> Option<Place> {
        self.board.stats.add_snapshot();
        Some(Place::Within(self.board.snapshot().await?, 0))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.board.stats.leave();
    }
}
