//! Blocks of entries as bytes: the length packed, the length unpacked, the CRC-32 of these and of what is packed, each in 4 bytes, and
//! then that, by zstd.

use std::io::{self, Read};

use super::Damage;

/// What a file begins with. What comes after it is the version, in 4 bytes.
pub(super) const MAGIC: &[u8; 8] = b"WELLREC\n";

/// The version of the format, and of the layout of the kernel's records in it.
pub(super) const VERSION: u32 = 4;

/// A block is written out once it has so many bytes.
pub(super) const FULL: usize = 256 << 10;

/// No block is larger: one entry may be a list of all pods of a large cluster.
const MOST: usize = 256 << 20;

const HEADER: usize = 12;
/// The part of it that the checksum is of.
const CHECKED: usize = 8;

/// Of zstd: the fastest that is asked for by number.
const LEVEL: i32 = 1;

/// Packs a block.
pub(super) fn pack(entries: &[u8]) -> io::Result<Vec<u8>> {
    let packed = zstd::bulk::compress(entries, LEVEL)?;
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let (length, unpacked) = (
        u32::try_from(packed.len()).map_err(too_large)?,
        u32::try_from(entries.len()).map_err(too_large)?,
    );
    let mut block = Vec::with_capacity(HEADER + packed.len());
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&unpacked.to_le_bytes());
    let sum = checksum(&block, &packed);
    block.extend_from_slice(&sum.to_le_bytes());
    block.extend_from_slice(&packed);
    Ok(block)
}

/// Reads the next block; `None` at the end of the file. The inner result says why it is of no use.
pub(super) fn unpack(file: &mut impl Read) -> io::Result<Option<Result<Vec<u8>, Damage>>> {
    let mut header = [0; HEADER];
    match read_all(file, &mut header)? {
        0 => return Ok(None),
        HEADER => {}
        _ => return Ok(Some(Err(Damage::Torn))),
    }
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let [length, unpacked] = [0, 4].map(|at| number(at) as usize);
    if let Some(length) = [length, unpacked].into_iter().find(|length| *length > MOST) {
        return Ok(Some(Err(Damage::TooLarge(length as u64))));
    }
    let mut packed = Vec::new();
    // Grows with what there is, whatever the header says.
    file.take(length as u64).read_to_end(&mut packed)?;
    Ok(Some(if packed.len() < length {
        Err(Damage::Torn)
    } else if checksum(&header[..CHECKED], &packed) != number(CHECKED) {
        Err(Damage::Checksum)
    } else {
        unpack_entries(&packed, unpacked)
    }))
}

fn unpack_entries(packed: &[u8], expected: usize) -> Result<Vec<u8>, Damage> {
    let entries = zstd::bulk::decompress(packed, expected).map_err(Damage::Packed)?;
    let found = entries.len();
    if found != expected {
        return Err(Damage::Length { found, expected });
    }
    Ok(entries)
}

fn checksum(lengths: &[u8], packed: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(lengths);
    sum.update(packed);
    sum.finalize()
}

/// Reads until the buffer is full or there is no more; how much there was.
fn read_all(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
