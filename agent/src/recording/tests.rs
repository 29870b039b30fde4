//! Recordings that are whole, torn, damaged, or none at all.

use std::fs;
use std::io::{PipeReader, Read as _, pipe};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::identity::PodUpdate;

/// What a recording holds, written out.
fn shown(path: &Path) -> Result<(Vec<String>, Option<String>), RecordingError> {
    let mut recording = Recording::open(path)?;
    let mut entries = Vec::new();
    let mut damage = None;
    while let Some(mut block) = recording.next_block()? {
        loop {
            match block.next() {
                Ok(Some(entry)) => entries.push(format!("{entry:?}")),
                Ok(None) => break,
                Err(error) => {
                    damage = Some(error.to_string());
                    break;
                }
            }
        }
    }
    let damage = damage.or_else(|| recording.take_damage().map(|damage| damage.to_string()));
    Ok((entries, damage))
}

fn start() -> Start {
    Start {
        node_name: "node-a".to_owned(),
        own_pid: Some(7),
        ..Start::default()
    }
}

/// A recording of a few blocks.
fn record(path: &Path) -> Outcome {
    let (mut recorder, writer) = Writer::create(path, start()).unwrap();
    recorder.begin(|start| Start {
        boot_ns: 5,
        ..start
    });
    recorder.time(6);
    recorder.record(Ring::Identity, b"cgroup");
    recorder.told(&Told::Pods(PodUpdate::Deleted { uid: "u".into() }));
    recorder.time(6);
    recorder.record(Ring::Other, b"process");
    for _ in 0..5 {
        recorder.second_passed();
    }
    recorder.time(8);
    recorder.told(&Told::Missing(Missing {
        sockets: vec![1, 2],
        namespaces: [9].into(),
        is_complete: true,
    }));
    recorder.record(Ring::Other, &vec![0xff; 70_000]);
    recorder.end();
    finish(writer).unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn finish(writer: Writer) -> Result<Outcome, RecordingError> {
    writer.finish(Duration::from_secs(10)).await
}

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("file.wellrec")
}

#[test]
fn what_is_recorded_is_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let outcome = record(&path);
    let bytes = fs::metadata(&path).unwrap().len();
    let expected = Outcome {
        records: 3,
        missed: 0,
        bytes,
    };
    assert_eq!(outcome, expected);
    let recording = Recording::open(&path).unwrap();
    let expected = Start {
        boot_ns: 5,
        ..start()
    };
    assert_eq!(*recording.start(), expected);
    let (entries, damage) = shown(&path).unwrap();
    assert_eq!(damage, None);
    let short = entries.iter().map(|entry| &entry[..entry.len().min(59)]);
    let text = short.collect::<Vec<_>>().join("\n");
    expect_test::expect![[r#"
        Time(6)
        Record(Identity, [99, 103, 114, 111, 117, 112])
        Told(Pods(Deleted { uid: "u" }))
        Record(Other, [112, 114, 111, 99, 101, 115, 115])
        Time(8)
        Told(Missing(Missing { sockets: [1, 2], namespaces: {9}, is
        Record(Other, [255, 255, 255, 255, 255, 255, 255, 255, 255,
        Told(End)"#]]
    .assert_eq(&text);
    // A second recording does not replace the first.
    let error = Writer::create(&path, start()).unwrap_err();
    assert!(matches!(error, RecordingError::Create { .. }), "{error}");
}

#[test]
fn a_torn_recording_is_used_as_far_as_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    record(&path);
    let whole = fs::read(&path).unwrap();
    let (all, _) = shown(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        match shown(&path) {
            Ok((entries, damage)) => {
                assert_eq!(entries, all[..entries.len()], "{length}");
                // Between two blocks nothing is wrong; that the end is missing is seen by its entry.
                let at_boundary = damage.is_none();
                assert!(
                    at_boundary || damage.as_deref() == Some("it ends in the middle of a block")
                );
                seen.insert((entries.len(), at_boundary));
            }
            Err(error) => {
                let no_use = matches!(
                    error,
                    RecordingError::Foreign { .. } | RecordingError::NoStart { .. }
                );
                assert!(no_use && seen.is_empty(), "{length}: {error}");
            }
        }
    }
    // Between blocks and within, each time with what stands before.
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_changed_byte_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    record(&path);
    let whole = fs::read(&path).unwrap();
    let (all, _) = shown(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(&path, &changed).unwrap();
        let noticed = match shown(&path) {
            Ok((entries, damage)) => damage.is_some() && all.starts_with(&entries),
            Err(_) => true,
        };
        assert!(noticed, "byte {at}");
    }
}

#[test]
fn other_files_are_told_from_recordings() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let check = |content: &[u8], expected: &str| {
        fs::write(&path, content).unwrap();
        let error = Recording::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(b"", "is no recording");
    check(b"\x7fELF and so on and on", "is no recording");
    check(
        b"WELLREC\n\x05\0\0\0",
        "is of version 5, and this wellhead reads version 4",
    );
    check(b"WELLREC\n\x04\0\0\0", "has no beginning");
    let absent = Recording::open(&directory.path().join("absent")).unwrap_err();
    assert!(matches!(absent, RecordingError::Open { .. }), "{absent}");
    let error = Recording::open(directory.path()).unwrap_err();
    assert!(matches!(error, RecordingError::NoFile { .. }), "{error}");
}

/// A recording into a pipe, which takes nothing more once it is full, until somebody reads.
fn stalled() -> (Recorder, Writer, PipeReader) {
    let (reader, pipe) = pipe().unwrap();
    let (mut recorder, writer) = Writer::writing_to(Path::new("pipe"), pipe, start()).unwrap();
    recorder.begin(|start| start);
    (recorder, writer, reader)
}

/// So many bytes that cannot be made fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    bytes.take(length).collect()
}

#[test]
fn while_nothing_is_written_records_are_left_out_and_counted() {
    const RECORDS: u64 = 20_000;
    let (mut recorder, writer, mut reader) = stalled();
    // Records that are not alike, or very many would fit into the pipe.
    let noise = noise(1_000_000);
    for (time, record) in (0..RECORDS).zip(noise.chunks_exact(1_000).cycle()) {
        recorder.time(time);
        recorder.record(Ring::Other, record);
    }
    assert!(recorder.waiting() < 3 << 20, "{}", recorder.waiting());
    recorder.end();
    let reading = thread::spawn(move || {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        content
    });
    let outcome = finish(writer).unwrap();
    assert!(outcome.missed > RECORDS / 2, "{outcome:?}");
    assert_eq!(outcome.records + outcome.missed, RECORDS);

    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    fs::write(&path, reading.join().unwrap()).unwrap();
    let (entries, damage) = shown(&path).unwrap();
    assert_eq!(damage, None);
    let told = format!("Told(Missed {{ records: {} }})", outcome.missed);
    assert_eq!(entries[entries.len() - 2..], [told.as_str(), "Told(End)"]);
}

#[tokio::test]
async fn what_is_never_written_is_not_waited_for() {
    let (mut recorder, writer, _reader) = stalled();
    for _ in 0..100 {
        recorder.record(Ring::Other, &noise(70_000));
    }
    recorder.end();
    let error = writer.finish(Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(error, RecordingError::Stalled { .. }), "{error}");
}

#[test]
fn what_cannot_be_left_out_ends_a_recording_that_is_not_written() {
    let (mut recorder, writer, mut reader) = stalled();
    let uid = "u".repeat(4 << 20);
    for _ in 0..40 {
        recorder.told(&Told::Pods(PodUpdate::Deleted {
            uid: uid.as_str().into(),
        }));
        recorder.record(Ring::Other, &noise(300_000));
    }
    assert_eq!(recorder.waiting(), 0);
    recorder.record(Ring::Other, b"more");
    recorder.end();
    thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    let error = finish(writer).unwrap_err();
    assert!(matches!(error, RecordingError::Stalled { .. }), "{error}");
}

#[test]
fn counts_are_set_as_they_were() {
    use crate::counters::{Counters, Discard, RecordKind};
    let counters = Counters::default();
    assert_eq!(Counts::of(&counters), Counts::default());
    counters.set_lost(RecordKind::Exec, 3);
    counters.set_skipped(RecordKind::TcpClose, 2);
    counters.set_discards(Discard::RingProcessFull, 3);
    let counts = Counts::of(&counters);
    let text = serde_json::to_string(&counts).unwrap();
    let read: Counts = serde_json::from_str(&text).unwrap();
    let others = Counters::default();
    read.set(&others);
    assert_eq!(Counts::of(&others), counts);
    assert_eq!(others.lost(RecordKind::Exec), 3);
}

proptest! {
    /// Whatever stands in a file that begins as a recording does: an error, or entries, and no panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory);
        let mut content = b"WELLREC\n\x01\0\0\0".to_vec();
        content.extend_from_slice(&bytes);
        fs::write(&path, &content).unwrap();
        prop_assert!(shown(&path).is_err());
    }

    /// Likewise of entries in a block whose checksum is right.
    #[test]
    fn any_entries_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = bytes.as_slice();
        let mut taken = 0;
        while let Ok(Some(_)) = entry::take(&mut rest) {
            taken += 1;
            prop_assert!(taken <= bytes.len());
        }
    }

    #[test]
    fn entries_come_back(time: u64, record in prop::collection::vec(any::<u8>(), 0..300), nanoseconds: i64) {
        let told = Told::WallClockMoved { nanoseconds };
        let mut block = Vec::new();
        entry::write_time(&mut block, time);
        entry::write_record(&mut block, Ring::Other, &record);
        entry::write_told(&mut block, &told).unwrap();
        let mut rest = block.as_slice();
        let mut next = || entry::take(&mut rest).unwrap();
        prop_assert_eq!(next(), Some(Entry::Time(time)));
        prop_assert_eq!(next(), Some(Entry::Record(Ring::Other, record.as_slice())));
        prop_assert_eq!(next(), Some(Entry::Told(told)));
        prop_assert_eq!(next(), None);
    }
}
