//! Everything there is, encoded once for all who ask at about the same time.

use bytes::Bytes;
use prost::Message as _;

use super::table::Table;
use crate::identity::remote::BatchWriter;
use crate::identity::remote::protocol::{
    BATCH_BYTES, Batch, Body, Position, SnapshotBegin, SnapshotEnd, WatchResponse,
};

/// The messages of a snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The version it brings a client to.
    pub(super) version: u64,
    messages: Vec<Bytes>,
}

impl Snapshot {
    /// Writes down what is in the table.
    pub(super) fn of(table: &Table, epoch: u64, version: u64) -> Self {
        let begin = SnapshotBegin {
            position: Some(Position { epoch, version }),
            objects: table.len() as u64,
        };
        let mut messages = vec![encoded(Body::SnapshotBegin(begin))];
        let mut writer = BatchWriter::default();
        let part = |batch: Batch| encoded(Body::Snapshot(batch));
        for told in table.all() {
            writer.applied(&told);
            if writer.bytes() >= BATCH_BYTES {
                messages.extend(writer.take().map(part));
            }
        }
        messages.extend(writer.take().map(part));
        messages.push(encoded(Body::SnapshotEnd(SnapshotEnd {})));
        Self { version, messages }
    }

    /// A message by its number; `None` after the last.
    pub(super) fn message(&self, number: usize) -> Option<Bytes> {
        self.messages.get(number).cloned()
    }
}

/// A message as it is sent.
pub(super) fn encoded(body: Body) -> Bytes {
    WatchResponse { body: Some(body) }.encode_to_vec().into()
}
