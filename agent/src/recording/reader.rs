//! Reading a recording as far as it is whole.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::block::{MAGIC, VERSION, unpack};
use super::{Damage, Entry, RecordingError, Start, Told, entry};
use crate::small_file;

/// An opened recording.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: BufReader<File>,
    start: Start,
    /// Whatever comes after the start in its block.
    first: Option<Block>,
    damage: Option<Damage>,
    is_over: bool,
}

/// Entries that were written together.
#[derive(Debug)]
pub struct Block {
    entries: Vec<u8>,
    /// Where those begin that were not taken yet.
    place: usize,
}

impl Recording {
    /// Opens a file and reads how it begins.
    ///
    /// # Errors
    /// It cannot be read, or is none that this version can use.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let open_error = |source| RecordingError::Open {
            path: path.to_owned(),
            source,
        };
        let file = small_file::open(path).map_err(open_error)?;
        // Of a pipe nobody knows when there will be more of it.
        if !file.metadata().map_err(open_error)?.is_file() {
            return Err(RecordingError::NoFile {
                path: path.to_owned(),
            });
        }
        let mut recording = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            start: Start::default(),
            first: None,
            damage: None,
            is_over: false,
        };
        recording.read_version()?;
        let no_start = || RecordingError::NoStart {
            path: path.to_owned(),
        };
        let mut block = recording.next_block()?.ok_or_else(no_start)?;
        match block.next() {
            Ok(Some(Entry::Told(Told::Start(start)))) => recording.start = start,
            _ => return Err(no_start()),
        }
        recording.first = Some(block);
        Ok(recording)
    }

    fn read_version(&mut self) -> Result<(), RecordingError> {
        let mut beginning = [0; MAGIC.len() + 4];
        let path = || self.path.clone();
        match self.file.read_exact(&mut beginning) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(RecordingError::Foreign { path: path() });
            }
            Err(source) => {
                return Err(RecordingError::Read {
                    path: path(),
                    source,
                });
            }
        }
        let (magic, version) = beginning.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(RecordingError::Foreign { path: path() });
        }
        let version = version
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes));
        match version.unwrap_or_default() {
            VERSION => Ok(()),
            version => Err(RecordingError::Version {
                path: path(),
                version,
                known: VERSION,
            }),
        }
    }

    /// The circumstances.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The next block; `None` at the end, or where it is of no use any more: see [`Self::take_damage`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_block(&mut self) -> Result<Option<Block>, RecordingError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.is_over {
            return Ok(None);
        }
        let block = unpack(&mut self.file).map_err(|source| RecordingError::Read {
            path: self.path.clone(),
            source,
        })?;
        self.is_over = !matches!(block, Some(Ok(_)));
        Ok(match block {
            None => None,
            Some(Ok(entries)) => Some(Block { entries, place: 0 }),
            Some(Err(damage)) => {
                self.damage = Some(damage);
                None
            }
        })
    }

    /// Why it cannot be read to its end, if that is so.
    pub fn take_damage(&mut self) -> Option<Damage> {
        self.damage.take()
    }
}

impl Block {
    /// Takes the next entry.
    ///
    /// # Errors
    /// What is left of the block is of no use.
    #[expect(
        clippy::should_implement_trait,
        reason = "entries are borrowed from the block"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        let whole = self.entries.get(self.place..).unwrap_or_default();
        let mut rest = whole;
        let entry = entry::take(&mut rest);
        self.place += match &entry {
            Ok(_) => whole.len() - rest.len(),
            // What comes next is not known.
            Err(_) => whole.len(),
        };
        entry
    }
}
