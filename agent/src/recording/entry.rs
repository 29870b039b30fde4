//! Entries as bytes.
//!
//! One byte says what it is: a time, as 8 bytes; a record, as its length in 4 bytes and its own bytes; or what else was told, as its
//! length in 4 bytes and JSON. Numbers are little-endian.

use super::{Damage, Told};

const TIME: u8 = 1;
const IDENTITY_RECORD: u8 = 2;
const OTHER_RECORD: u8 = 3;
const TOLD: u8 = 4;

/// Which ring a record was in, as far as it matters: some tell who the others are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// The ring of cgroups.
    Identity,
    /// Any other.
    Other,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The boot clock by the time of what comes next, nanoseconds.
    Time(u64),
    /// A record of the kernel.
    Record(Ring, &'a [u8]),
    /// Anything else.
    Told(Told),
}

pub(super) fn write_time(block: &mut Vec<u8>, boot_ns: u64) {
    block.push(TIME);
    block.extend_from_slice(&boot_ns.to_le_bytes());
}

pub(super) fn write_record(block: &mut Vec<u8>, ring: Ring, record: &[u8]) {
    block.push(match ring {
        Ring::Identity => IDENTITY_RECORD,
        Ring::Other => OTHER_RECORD,
    });
    write_bytes(block, record);
}

pub(super) fn write_told(block: &mut Vec<u8>, told: &Told) -> serde_json::Result<()> {
    let json = serde_json::to_vec(told)?;
    block.push(TOLD);
    write_bytes(block, &json);
    Ok(())
}

fn write_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    // Records are of some kilobytes, and nothing told comes near 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(bytes);
}

/// Takes the next entry off the front; `None` at the end.
///
/// # Errors
/// There is no such entry.
pub(super) fn take<'a>(rest: &mut &'a [u8]) -> Result<Option<Entry<'a>>, Damage> {
    let Some((kind, after)) = rest.split_first() else {
        return Ok(None);
    };
    *rest = after;
    Ok(Some(match *kind {
        TIME => Entry::Time(u64::from_le_bytes(take_array(rest)?)),
        IDENTITY_RECORD => Entry::Record(Ring::Identity, take_bytes(rest)?),
        OTHER_RECORD => Entry::Record(Ring::Other, take_bytes(rest)?),
        TOLD => {
            let json = take_bytes(rest)?;
            Entry::Told(serde_json::from_slice(json).map_err(Damage::Told)?)
        }
        other => return Err(Damage::Kind(other)),
    }))
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damage> {
    let (array, after) = rest.split_first_chunk().ok_or(Damage::Short)?;
    *rest = after;
    Ok(*array)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damage> {
    let length = u32::from_le_bytes(take_array(rest)?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (bytes, after) = rest.split_at_checked(length).ok_or(Damage::Short)?;
    *rest = after;
    Ok(bytes)
}
