//! One file of requests: a mark of its version, then records.
//!
//! A record is four little-endian numbers of 32 bits, the length of the body, its items, the CRC-32 of the body and that of the
//! three numbers, and then the body. A record that was not written to its end is the last one.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Operation, SpillError};
use crate::export::otlp::grouped::Request;
use crate::small_file;

/// What a segment begins with: the last byte is its version.
const MAGIC: &[u8; 8] = b"WHSPILL\x01";
const MAGIC_LEN: u64 = MAGIC.len() as u64;
const HEADER: usize = 16;
/// The part of a header that its last number is of.
const CHECKED: usize = 12;

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    number: u64,
    /// For writing; `None` for one that an earlier agent wrote.
    file: Option<File>,
    /// Up to where it is whole.
    end: u64,
    /// Up to where it was delivered.
    read: u64,
    /// Of records that were not delivered.
    items: u64,
    /// The record that was read last and not delivered yet.
    current: Option<Header>,
}

/// What is next in a segment.
#[derive(Debug)]
pub(super) enum Next {
    Request(Request),
    End,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    length: u32,
    items: u32,
    /// Of the body.
    crc: u32,
}

impl Segment {
    pub(super) fn create(directory: &Path, number: u64) -> Result<Self, SpillError> {
        let path = directory.join(format!("{number:020}.seg"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(SpillError::of(Operation::Create, &path))?;
        if let Err(error) = file.write_all_at(MAGIC, 0) {
            // Where the disk is full, no empty files are left behind.
            _ = fs::remove_file(&path);
            return Err(SpillError::of(Operation::Write, &path)(error));
        }
        Ok(Self {
            path,
            number,
            file: Some(file),
            end: MAGIC_LEN,
            read: MAGIC_LEN,
            items: 0,
            current: None,
        })
    }

    /// One that an earlier agent wrote, and whether its last record is torn. `None` if it is of another version, or no file.
    pub(super) fn find(path: &Path, number: u64) -> Result<Option<(Self, bool)>, SpillError> {
        let file = small_file::open(path).map_err(SpillError::of(Operation::Open, path))?;
        let read_error = |error| SpillError::of(Operation::Read, path)(error);
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let length = metadata.len();
        let mut segment = Self {
            path: path.to_owned(),
            number,
            file: None,
            end: MAGIC_LEN,
            read: MAGIC_LEN,
            items: 0,
            current: None,
        };
        if length < MAGIC_LEN {
            return Ok(Some((segment, true)));
        }
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0).map_err(read_error)?;
        if magic != *MAGIC {
            return Ok(None);
        }
        while let Some(header) = read_header(&file, segment.end).map_err(read_error)? {
            let next = segment.end + header.record_len();
            if next > length {
                break;
            }
            segment.end = next;
            segment.items += u64::from(header.items);
        }
        let is_torn = segment.end < length;
        Ok(Some((segment, is_torn)))
    }

    /// Writes a record. What cannot be written whole is taken back.
    pub(super) fn append(&mut self, request: &Request) -> Result<(), SpillError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let header = Header::of(request);
        let mut record = Vec::with_capacity(HEADER + request.body.len());
        record.extend_from_slice(&header.bytes());
        record.extend_from_slice(&request.body);
        if let Err(error) = file.write_all_at(&record, self.end) {
            // If this fails too, the record is torn, and the next one is written over it.
            _ = file.set_len(self.end);
            return Err(SpillError::of(Operation::Write, &self.path)(error));
        }
        self.end += record.len() as u64;
        self.items += u64::from(header.items);
        Ok(())
    }

    /// The oldest record that was not delivered.
    pub(super) fn next(&mut self) -> Result<Next, SpillError> {
        if self.is_read() {
            return Ok(Next::End);
        }
        let read_error = |error| SpillError::of(Operation::Read, &self.path)(error);
        let damaged = || SpillError::Damaged {
            path: self.path.clone(),
            at: self.read,
        };
        let file = File::open(&self.path).map_err(SpillError::of(Operation::Open, &self.path))?;
        let header = read_header(&file, self.read).map_err(read_error)?;
        let header = header.ok_or_else(damaged)?;
        if self.read + header.record_len() > self.end {
            return Err(damaged());
        }
        let mut body = vec![0; header.length as usize];
        file.read_exact_at(&mut body, self.read + HEADER as u64)
            .map_err(SpillError::of(Operation::Read, &self.path))?;
        if header.crc != crc32fast::hash(&body) {
            return Err(damaged());
        }
        self.current = Some(header);
        Ok(Next::Request(Request {
            body: body.into(),
            items: u64::from(header.items),
        }))
    }

    /// The record that was read last was delivered.
    pub(super) fn advance(&mut self) {
        if let Some(header) = self.current.take() {
            self.read += header.record_len();
            self.items = self.items.saturating_sub(u64::from(header.items));
        }
    }

    pub(super) fn remove(self) -> Result<(), SpillError> {
        fs::remove_file(&self.path).map_err(SpillError::of(Operation::Remove, &self.path))
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether records can be added.
    pub(super) const fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.end
    }

    pub(super) const fn items(&self) -> u64 {
        self.items
    }

    /// Whether all of it was delivered.
    pub(super) const fn is_read(&self) -> bool {
        self.read >= self.end
    }
}

impl Header {
    fn of(request: &Request) -> Self {
        // Requests are far below; a longer one would be found damaged.
        let length = u32::try_from(request.body.len()).unwrap_or(u32::MAX);
        let items = u32::try_from(request.items).unwrap_or(u32::MAX);
        Self {
            length,
            items,
            crc: crc32fast::hash(&request.body),
        }
    }

    fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [self.length, self.items, self.crc];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let own = crc32fast::hash(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    const fn record_len(self) -> u64 {
        HEADER as u64 + self.length as u64
    }
}

/// What a request takes up.
pub(super) fn record_len(request: &Request) -> u64 {
    Header::of(request).record_len()
}

/// The number in a segment's name; `None` for files that are none.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| is_number)
}

/// `None` if there is none: the file ends before it does, or something else is written there.
fn read_header(file: &File, at: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let field = |at: usize| {
        let mut field = [0; 4];
        field.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(field)
    };
    let is_whole = field(CHECKED) == crc32fast::hash(&bytes[..CHECKED]);
    Ok(is_whole.then(|| Header {
        length: field(0),
        items: field(4),
        crc: field(8),
    }))
}
