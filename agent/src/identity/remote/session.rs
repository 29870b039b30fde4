//! One conversation with a resolver: what may come when, and what it comes to.

use super::error::Violation;
use super::protocol::{Batch, Body, Delta, PROTOCOL, Position, SnapshotBegin, Welcome};
use super::read::{BatchReader, Change};
use crate::identity::cluster::{ClusterObject, ClusterUpdate, ObjectKind};

/// What a message comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// To be told, in this order.
    pub(super) updates: Vec<ClusterUpdate>,
    /// What is known once they were.
    pub(super) position: Option<Position>,
    /// Objects among them.
    pub(super) events: u64,
    /// Whether this completes a snapshot.
    pub(super) snapshot: bool,
    /// Whether the resolver goes on where it was.
    pub(super) resumed: bool,
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Session {
    known: Option<Position>,
    epoch: Option<u64>,
    snapshot: Option<Snapshot>,
    max_objects: usize,
    skipped: u64,
    reader: BatchReader,
}

#[derive(Debug)]
struct Snapshot {
    position: Position,
    objects: [Vec<ClusterObject>; ObjectKind::ALL.len()],
    count: usize,
}

impl Session {
    /// A conversation that begins by asking for what comes after `known`.
    pub(super) fn new(known: Option<Position>, max_objects: usize) -> Self {
        Self {
            known,
            epoch: None,
            snapshot: None,
            max_objects,
            skipped: 0,
            reader: BatchReader::default(),
        }
    }

    /// Takes a message in.
    pub(super) fn take(&mut self, body: Body) -> Result<News, Violation> {
        let Some(epoch) = self.epoch else {
            return match body {
                Body::Welcome(welcome) => self.welcome(welcome),
                _ => Err(Violation::Welcome),
            };
        };
        match body {
            Body::Welcome(_) => Err(Violation::Welcome),
            Body::SnapshotBegin(SnapshotBegin { position, .. }) => {
                let position = position.filter(|position| position.epoch == epoch);
                // One that was begun before is not worth having any more.
                self.snapshot = Some(Snapshot {
                    position: position.ok_or(Violation::Position)?,
                    objects: [const { Vec::new() }; ObjectKind::ALL.len()],
                    count: 0,
                });
                Ok(News::default())
            }
            Body::Snapshot(batch) => self.part(batch),
            Body::SnapshotEnd(_) => self.complete(),
            Body::Delta(delta) => self.delta(delta),
            Body::Heartbeat(_) => Ok(News::default()),
        }
    }

    /// Objects left out so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped + self.reader.skipped()
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<News, Violation> {
        let Welcome {
            protocol,
            epoch,
            resumed,
        } = welcome;
        if protocol != PROTOCOL {
            return Err(Violation::Version {
                theirs: protocol,
                ours: PROTOCOL,
            });
        }
        if !resumed {
            self.known = None;
        } else if self.known.is_none_or(|known| known.epoch != epoch) {
            return Err(Violation::Resumed);
        }
        self.epoch = Some(epoch);
        Ok(News {
            resumed,
            ..News::default()
        })
    }

    fn part(&mut self, batch: Batch) -> Result<News, Violation> {
        let snapshot = self.snapshot.as_mut().ok_or(Violation::Order)?;
        for change in self.reader.read(batch) {
            match change {
                Change::Applied(object) if snapshot.count < object.kind.room(self.max_objects) => {
                    snapshot.count += 1;
                    snapshot.objects[object.kind.index()].push(*object);
                }
                // Too many, or told to be gone before it was told of.
                _ => self.skipped += 1,
            }
        }
        Ok(News::default())
    }

    fn complete(&mut self) -> Result<News, Violation> {
        let snapshot = self.snapshot.take().ok_or(Violation::Order)?;
        self.known = Some(snapshot.position);
        let kinds = ObjectKind::ALL.into_iter().zip(snapshot.objects);
        Ok(News {
            updates: kinds
                .map(|(kind, objects)| ClusterUpdate::Restarted { kind, objects })
                .collect(),
            position: self.known,
            events: snapshot.count as u64,
            snapshot: true,
            resumed: false,
        })
    }

    fn delta(&mut self, delta: Delta) -> Result<News, Violation> {
        let Some(known) = self.known.as_mut().filter(|_| self.snapshot.is_none()) else {
            return Err(Violation::Order);
        };
        if Some(delta.version) != known.version.checked_add(1) {
            return Err(Violation::Gap {
                known: known.version,
                told: delta.version,
            });
        }
        known.version = delta.version;
        let changes = self.reader.read(delta.changes.unwrap_or_default());
        let updates: Vec<_> = changes.into_iter().map(update).collect();
        Ok(News {
            events: updates.len() as u64,
            updates,
            position: self.known,
            ..News::default()
        })
    }
}

fn update(change: Change) -> ClusterUpdate {
    match change {
        Change::Applied(object) => ClusterUpdate::Applied(object),
        Change::Gone { kind, uid } => ClusterUpdate::Deleted { kind, uid },
    }
}
