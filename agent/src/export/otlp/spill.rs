//! Requests that wait on disk: those memory has no room for, and those that an agent leaves behind when it stops.
//!
//! A directory of segments, which are files of records in the order of their making. The oldest request is read first; a segment
//! is removed when all of it was delivered. What an agent that is killed had delivered of the oldest segment is sent once more
//! by the next one, which receivers have to put up with (OTLP specification, "Duplicate Data").

mod error;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

pub(super) use self::error::SpillError;
use self::{
    error::Operation,
    segment::{Next, Segment},
};
use super::{grouped::Request, settings::SpillSettings};
use crate::causes::chain;
use crate::counters::{Counters, Discard};

/// What a segment holds before the next one is begun: also what may be sent twice, and what makes room at a time. Less where there
/// is little room in all.
const SEGMENT: u64 = 1 << 20;
/// So many segments there are at least before the first has to make room.
const SEGMENTS: u64 = 8;

/// Requests on disk, the oldest first, bounded by bytes.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    limit: u64,
    /// The oldest first; the last may still be written to.
    segments: VecDeque<Segment>,
    next: u64,
    /// The request that was given out and not settled yet: its segment, and its items.
    out: Option<(u64, u64)>,
    /// The directory; keeps other agents out.
    lock: File,
}

/// What an earlier agent left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Requests that were not written to their end.
    pub(super) torn: u64,
    /// Files of another version, which are left alone.
    pub(super) foreign: u64,
}

impl SpillSettings {
    /// Opens it. What stands in the way is logged, and then memory has to do.
    pub(super) fn open(&self, counters: &Counters) -> Option<Spill> {
        let directory = &self.directory;
        match Spill::open(directory, self.limit) {
            Ok((spill, found)) => {
                counters.discard(Discard::ExportSpillTorn, found.torn);
                let Found { torn, foreign } = found;
                if spill.items() > 0 || torn > 0 || foreign > 0 {
                    let (items, directory) = (spill.items(), directory.display());
                    tracing::info!(items, torn, foreign, %directory, "an earlier agent left what it could not export");
                }
                Some(spill)
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "nothing is kept on disk that waits for its export");
                None
            }
        }
    }
}

fn make(directory: &Path) -> Result<(), SpillError> {
    DirBuilder::new()
        .recursive(true)
        // Events carry the arguments of processes.
        .mode(0o700)
        .create(directory)
        .map_err(SpillError::of(Operation::CreateDirectory, directory))
}

impl Spill {
    /// Opens a directory, made if it is not there, for at most `limit` bytes.
    ///
    /// # Errors
    /// The directory cannot be made or read, or another agent uses it.
    pub(super) fn open(directory: &Path, limit: u64) -> Result<(Self, Found), SpillError> {
        make(directory)?;
        let lock = File::open(directory).map_err(SpillError::of(Operation::Open, directory))?;
        lock.try_lock().map_err(|error| SpillError::InUse {
            path: directory.to_owned(),
            source: error.into(),
        })?;
        let mut spill = Self {
            directory: directory.to_owned(),
            limit,
            segments: VecDeque::new(),
            next: 0,
            out: None,
            lock,
        };
        let found = spill.find()?;
        Ok((spill, found))
    }

    /// Puts a request in as the newest. The oldest make room for it, whether it is the limit that is reached or the disk that is full:
    /// but not where all of them would not be enough. Adds to `dropped` how many items those were, whether the request found room or not.
    ///
    /// # Errors
    /// It could not be written, and is not in there.
    pub(super) fn append(
        &mut self,
        request: &Request,
        dropped: &mut u64,
    ) -> Result<(), SpillError> {
        let bytes = segment::record_len(request);
        if bytes > self.room() {
            return Err(SpillError::NoRoom {
                path: self.directory.clone(),
                bytes,
            });
        }
        while self.bytes().saturating_add(bytes) > self.limit && !self.segments.is_empty() {
            *dropped += self.drop_oldest();
        }
        loop {
            // One that is made for this request alone makes no room for it.
            let can_make_room = !self.segments.is_empty();
            match self.write(request) {
                Err(full) if full.is_full() && can_make_room => {
                    *dropped += self.drop_oldest();
                }
                written => return written,
            }
        }
    }

    fn write(&mut self, request: &Request) -> Result<(), SpillError> {
        let enough = SEGMENT.min(self.room() / SEGMENTS);
        let has_room = |last: &Segment| last.is_open() && last.bytes() < enough;
        if !self.segments.back().is_some_and(has_room) {
            // A number is tried once: what stands in the way of one segment does not of the next.
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            // Somebody may have removed it.
            make(&self.directory)?;
            let segment = Segment::create(&self.directory, number)?;
            self.segments.push_back(segment);
        }
        match self.segments.back_mut() {
            Some(last) => last.append(request),
            None => unreachable!("one was put there"),
        }
    }

    /// The oldest request, which stays in there until it is settled. Adds to `torn` the items of those that cannot be read.
    pub(super) fn next(&mut self, torn: &mut u64) -> Option<Request> {
        loop {
            let oldest = self.segments.front_mut()?;
            match oldest.next() {
                Ok(Next::Request(request)) => {
                    self.out = Some((oldest.number(), request.items));
                    return Some(request);
                }
                Ok(Next::End) => _ = self.drop_oldest(),
                Err(error) => {
                    tracing::warn!(%error, "requests that were kept on disk are given up");
                    *torn += self.drop_oldest();
                }
            }
        }
    }

    /// The request given out last was delivered, or is given up.
    pub(super) fn settle(&mut self) {
        let Some((number, _)) = self.out.take() else {
            return;
        };
        if let Some(oldest) = self.segments.front_mut().filter(|it| it.number() == number) {
            oldest.advance();
            if oldest.is_read() {
                self.drop_oldest();
            }
        }
    }

    /// Items in it, the one given out included.
    pub(super) fn items(&self) -> u64 {
        self.segments.iter().map(Segment::items).sum()
    }

    /// What there can be in it: what others have put on the disk is not ours to remove.
    fn room(&self) -> u64 {
        // Where the file system does not say, a write will.
        let free = rustix::fs::fstatvfs(&self.lock)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        self.limit.min(self.bytes().saturating_add(free))
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Removes the oldest segment. Returns the items in it that nobody was given; what is given out is delivered or not, as it
    /// may be.
    fn drop_oldest(&mut self) -> u64 {
        let Some(oldest) = self.segments.pop_front() else {
            return 0;
        };
        let out = match self.out {
            Some((number, items)) if number == oldest.number() => {
                self.out = None;
                items
            }
            _ => 0,
        };
        let left = oldest.items().saturating_sub(out);
        if let Err(error) = oldest.remove() {
            tracing::warn!(%error, "what is done with stays on disk, and may be sent again by the next agent");
        }
        left
    }

    fn find(&mut self) -> Result<Found, SpillError> {
        let mut found = Found::default();
        let listed = || -> std::io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.directory)?;
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        let paths = listed().map_err(SpillError::of(Operation::List, &self.directory))?;
        let mut numbered: Vec<(u64, PathBuf)> = paths
            .into_iter()
            .filter_map(|path| Some((segment::number_of(&path)?, path)))
            .collect();
        numbered.sort_unstable();
        for (number, path) in numbered {
            self.next = self.next.max(number.wrapping_add(1));
            match Segment::find(&path, number)? {
                Some((segment, is_torn)) => {
                    found.torn += u64::from(is_torn);
                    self.segments.push_back(segment);
                }
                None => found.foreign += 1,
            }
        }
        Ok(found)
    }
}
