//! Nothing is lost but what is counted, whatever happens to the files.

use std::{fs, fs::OpenOptions, os::unix::fs::PermissionsExt as _};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::*;

/// Returns how many items had to make room.
fn append(spill: &mut Spill, request: &Request) -> Result<u64, SpillError> {
    let mut dropped = 0;
    spill.append(request, &mut dropped)?;
    Ok(dropped)
}

fn request(number: usize, bytes: usize) -> Request {
    let byte = u8::try_from(number % 251).unwrap();
    Request {
        body: vec![byte; bytes].into(),
        items: number as u64 + 1,
    }
}

fn open(directory: &TempDir, limit: u64) -> Spill {
    Spill::open(directory.path(), limit).unwrap().0
}

/// Items of each request that is left, in order, and those that could not be read.
fn drain(spill: &mut Spill) -> (Vec<u64>, u64) {
    let mut torn = 0;
    let mut items = Vec::new();
    while let Some(request) = spill.next(&mut torn) {
        items.push(request.items);
        spill.settle();
    }
    (items, torn)
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn what_one_agent_leaves_the_next_one_sends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let mut spill = Spill::open(&path, 1 << 30).unwrap().0;
    for number in 0..9 {
        assert_eq!(append(&mut spill, &request(number, 300 << 10)).unwrap(), 0);
    }
    assert_eq!(spill.items(), 45);
    for file in fs::read_dir(&path).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // The first segment is sent, and one of the second.
    for number in 0..5 {
        assert_eq!(spill.next(&mut 0), Some(request(number, 300 << 10)));
        spill.settle();
    }
    assert!(matches!(
        Spill::open(&path, 1),
        Err(SpillError::InUse { .. })
    ));
    drop(spill);
    let (mut spill, found) = Spill::open(&path, 1 << 30).unwrap();
    assert_eq!(found, Found::default());
    assert_eq!(drain(&mut spill), ((5..=9).collect(), 0));
    assert_eq!(spill.items(), 0);
    assert!(fs::read_dir(&path).unwrap().next().is_none());
}

#[test]
fn the_oldest_segment_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 3 << 20);
    let mut dropped = 0;
    for number in 0..12 {
        dropped += append(&mut spill, &request(number, 512 << 10)).unwrap();
    }
    let (left, torn) = drain(&mut spill);
    assert_eq!(torn, 0);
    assert_eq!(left.iter().sum::<u64>() + dropped, 78);
    assert!(dropped > 0 && left.last() == Some(&12));
}

#[test]
fn for_what_could_never_be_kept_nothing_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 1 << 20);
    append(&mut spill, &request(0, 512 << 10)).unwrap();
    let error = append(&mut spill, &request(1, 1 << 20)).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    assert_eq!(drain(&mut spill), (vec![1], 0));
}

#[test]
fn where_there_is_little_room_it_is_made_in_small_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 512 << 10);
    for number in 0..16 {
        append(&mut spill, &request(number, 60 << 10)).unwrap();
    }
    let (left, _) = drain(&mut spill);
    assert_eq!(left, (9..=16).collect::<Vec<_>>());
}

#[test]
fn what_is_given_out_is_not_counted_as_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 2 << 20);
    append(&mut spill, &request(0, 1 << 20)).unwrap();
    assert_eq!(spill.next(&mut 0).map(|it| it.items), Some(1));
    let dropped: u64 = (1..4)
        .map(|number| append(&mut spill, &request(number, 1 << 20)).unwrap())
        .sum();
    // It went with its segment.
    spill.settle();
    let (left, _) = drain(&mut spill);
    assert_eq!(left.iter().sum::<u64>() + dropped, 2 + 3 + 4);
}

#[test]
fn files_of_other_versions_and_of_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("00000000000000000007.seg"), b"WHSPILL\x02what is this").unwrap();
    fs::write(path("notes.txt"), b"mine").unwrap();
    fs::write(path("7.seg"), b"mine").unwrap();
    let (mut spill, found) = Spill::open(directory.path(), 1 << 20).unwrap();
    assert_eq!((found.foreign, found.torn), (1, 0));
    append(&mut spill, &request(0, 10)).unwrap();
    assert!(path("00000000000000000008.seg").exists());
    assert_eq!(drain(&mut spill), (vec![1], 0));
    assert_eq!(segments(&directory).len(), 3);
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Spill::open(&file.path().join("x"), 1).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot make the directory"),
        "{error}"
    );
}

#[test]
fn what_stands_in_the_way_of_one_segment_does_not_of_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 1 << 20);
    fs::write(directory.path().join("00000000000000000000.seg"), b"mine").unwrap();
    let error = append(&mut spill, &request(0, 10)).unwrap_err();
    assert!(error.to_string().starts_with("cannot make"), "{error}");
    assert_eq!(append(&mut spill, &request(1, 10)).unwrap(), 0);
    assert_eq!(drain(&mut spill), (vec![2], 0));
}

#[test]
fn what_is_no_file_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let name = |number: u64| directory.path().join(format!("{number:020}.seg"));
    fs::create_dir(name(3)).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        name(u64::MAX),
        pipe,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let (mut spill, found) = Spill::open(directory.path(), 1 << 20).unwrap();
    assert_eq!((found.foreign, found.torn), (2, 0));
    append(&mut spill, &request(0, 10)).unwrap();
    assert_eq!(drain(&mut spill), (vec![1], 0));
}

#[test]
fn what_made_room_in_vain_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 3 << 20);
    append(&mut spill, &request(6, 2 << 20)).unwrap();
    fs::write(directory.path().join("00000000000000000001.seg"), b"mine").unwrap();
    let mut dropped = 0;
    spill
        .append(&request(0, 1 << 20), &mut dropped)
        .unwrap_err();
    assert_eq!(dropped, 7);
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 1 << 20);
    fs::remove_dir(directory.path()).unwrap();
    append(&mut spill, &request(0, 10)).unwrap();
    assert_eq!(drain(&mut spill), (vec![1], 0));
}

#[test]
fn a_segment_that_is_gone_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut spill = open(&directory, 1 << 30);
    for number in 0..3 {
        append(&mut spill, &request(number, 1 << 20)).unwrap();
    }
    fs::remove_file(&segments(&directory)[0]).unwrap();
    assert_eq!(drain(&mut spill), (vec![2, 3], 1));
}

proptest! {
    /// Cut off anywhere, as by a power cut: what was whole before the cut is sent.
    #[test]
    fn a_torn_tail_is_skipped(lengths in vec(0_usize..300, 1..12), cut in 0_usize..4_000) {
        let directory = tempfile::tempdir().unwrap();
        let mut spill = open(&directory, 1 << 30);
        let mut ends = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            append(&mut spill, &request(number, *length)).unwrap();
            ends.push(spill.bytes());
        }
        drop(spill);
        let path = segments(&directory).remove(0);
        let length = ends.last().copied().unwrap().min(cut as u64);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let (mut spill, found) = Spill::open(directory.path(), 1 << 30).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count() as u64;
        prop_assert_eq!(found.torn, u64::from(!(ends.contains(&length) || length == 8)));
        prop_assert_eq!(drain(&mut spill), ((1..=whole).collect(), 0));
    }

    /// One byte is another one: nothing is sent that was not written, and what is given up is counted.
    #[test]
    fn damage_is_noticed(lengths in vec(0_usize..300, 1..12), at in 8_usize..4_000, with in 1_u8..) {
        let directory = tempfile::tempdir().unwrap();
        let mut spill = open(&directory, 1 << 30);
        for (number, length) in lengths.iter().enumerate() {
            append(&mut spill, &request(number, *length)).unwrap();
        }
        drop(spill);
        let path = segments(&directory).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        let at = 8 + (at - 8) % (bytes.len() - 8);
        bytes[at] ^= with;
        fs::write(&path, bytes).unwrap();
        let (mut spill, found) = Spill::open(directory.path(), 1 << 30).unwrap();
        let known = spill.items();
        let mut torn = 0;
        let mut sent = 0;
        let mut number = 0;
        while let Some(read) = spill.next(&mut torn) {
            prop_assert_eq!(&read, &request(number, lengths[number]));
            sent += read.items;
            number += 1;
            spill.settle();
        }
        prop_assert!(number < lengths.len());
        prop_assert_eq!(sent + torn, known);
        prop_assert!(torn > 0 || found.torn > 0);
    }
}
