//! Records made by hand, and records made of anything.

use proptest::prelude::*;

use wellhead_common::record::exec_flag;

use super::*;
use crate::events::{Exec, ExitStatus, PathNames, ProcessId};

fn bytes_of<T: Plain>(value: &T) -> Vec<u8> {
    // SAFETY: `Plain` types have no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
        .to_vec()
}

fn header(kind: Kind) -> Header {
    Header {
        kind: kind as u32,
        length: 0,
        boot_ns: 7,
        cgroup_id: 9,
    }
}

/// An exec record with these texts, of which the lengths of the first and the last are claimed to be these.
fn exec_bytes(texts: [&[u8]; 5], claimed: (u32, u32)) -> Vec<u8> {
    let mut bytes = bytes_of(&header(Kind::Exec));
    for word in [10_u32, 1, 1000, 0, 4, 3] {
        bytes.extend(word.to_ne_bytes());
    }
    for long in [5_u64, 2, 1 << 21] {
        bytes.extend(long.to_ne_bytes());
    }
    bytes.extend(*b"true\0\0\0\0\0\0\0\0\0\0\0\0");
    let flags = exec_flag::ARGUMENTS_TRUNCATED | exec_flag::EXECUTABLE_UNLINKED;
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(claimed.0.to_ne_bytes());
    for text in &texts[1..4] {
        bytes.extend(u32::try_from(text.len()).expect("short").to_ne_bytes());
    }
    bytes.extend(claimed.1.to_ne_bytes());
    bytes.extend(texts.concat());
    bytes
}

#[test]
fn decodes_an_exec() {
    let texts: [&[u8]; 5] = [b"x.sh", b"/bin/sh", b"dash\0bin\0", b"tmp\0", b"sh\0-x\0"];
    let bytes = exec_bytes(texts, (4, 6));
    let event = decode(&bytes).expect("decodes");
    assert_eq!((event.boot_ns, event.cgroup_id), (7, 9));
    let id = |pid, start_ns| ProcessId { pid, start_ns };
    let path = |names| PathNames {
        names,
        is_cut: false,
    };
    let expected = Exec {
        process: id(10, 5),
        parent: id(1, 2),
        own_pid: Some(3),
        real_uid: 1000,
        uid: 0,
        gid: 4,
        permitted: 1 << 21,
        comm: b"true",
        file_name: b"x.sh",
        interpreter: b"/bin/sh",
        executable: path(b"dash\0bin\0"),
        is_unlinked: true,
        directory: path(b"tmp\0"),
        arguments: b"sh\0-x\0",
        arguments_truncated: true,
        ..Exec::default()
    };
    assert_eq!(event.body, Body::Exec(expected));
}

#[test]
fn refuses_lengths_beyond_the_record() {
    let check = |claimed, expected| {
        let bytes = exec_bytes([b"/bin/true", b"", b"", b"", b"true\0"], claimed);
        assert_eq!(decode(&bytes).expect_err("refused"), expected);
    };
    check(
        (100, 0),
        DecodeError::BadLength {
            length: 100,
            available: 14,
        },
    );
    check(
        (9, 6),
        DecodeError::BadLength {
            length: 6,
            available: 5,
        },
    );
    check(
        (u32::MAX, u32::MAX),
        DecodeError::BadLength {
            length: u32::MAX as usize,
            available: 14,
        },
    );
}

#[test]
fn of_a_packet_no_more_is_kept_than_was_captured() {
    let mut record = vec![0xee; record::DNS_FIXED + wellhead_common::limits::DNS_PAYLOAD];
    record[..24].copy_from_slice(&bytes_of(&header(Kind::Dns)));
    let at = std::mem::offset_of!(record::Dns, captured);
    record[at..at + 4].copy_from_slice(&3_u32.to_ne_bytes());
    let length = std::mem::offset_of!(Header, length);
    let long = u32::try_from(record::DNS_FIXED + 3).unwrap();
    record[length..length + 4].copy_from_slice(&long.to_ne_bytes());
    let kept = written(&record);
    assert_eq!(kept.len(), record::DNS_FIXED + 3);
    let Ok(Event {
        body: Body::Dns(packet),
        ..
    }) = decode(kept)
    else {
        panic!("a packet");
    };
    assert_eq!(packet.payload, [0xee; 3]);
    // One that claims more than there is.
    record[at..at + 4].copy_from_slice(&513_u32.to_ne_bytes());
    record[length..length + 4].copy_from_slice(&10_000_u32.to_ne_bytes());
    assert_eq!(written(&record).len(), record.len());
    let refused = decode(&record).map_err(DecodeError::discard);
    assert_eq!(refused, Err(Discard::DecodeBadLength));
    let other = bytes_of(&header(Kind::Exit));
    assert_eq!(written(&other), other);
}

#[test]
fn refuses_what_is_short_or_unknown() {
    assert_eq!(
        decode(&[]),
        Err(DecodeError::Short {
            actual: 0,
            needed: 24
        })
    );
    let mut unknown = header(Kind::Exit);
    unknown.kind = 77;
    assert_eq!(
        decode(&bytes_of(&unknown)),
        Err(DecodeError::UnknownKind(77))
    );
    let short = bytes_of(&header(Kind::TcpClose));
    assert_eq!(
        decode(&short),
        Err(DecodeError::Short {
            actual: 24,
            needed: 272
        })
    );
}

#[test]
fn decodes_a_connection() {
    let mut record = record::TcpClose {
        header: header(Kind::TcpClose),
        ..record::TcpClose::default()
    };
    record.socket.local_address =
        wellhead_common::Sixteen::new([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
    record.socket.remote_address =
        wellhead_common::Sixteen::new([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    record.socket.local_port = 80;
    record.socket.remote_port = 40_000;
    record.socket.role = role::DESTINATION;
    record.socket.flags = tcp_flag::OPEN_LOST;
    record.traffic.bytes_sent = 200;
    let bytes = bytes_of(&record);
    let Body::TcpClose(end) = decode(&bytes).expect("decodes").body else {
        panic!("wrong kind")
    };
    assert_eq!(end.connection.local.to_string(), "127.0.0.1:80");
    assert_eq!(end.connection.remote.to_string(), "[::1]:40000");
    assert_eq!(end.connection.role, Some(Role::Destination));
    assert_eq!(end.connection.destination_port(), 80);
    assert_eq!(end.connection.owner, None);
    assert!(end.connection.open_lost);
    assert_eq!(end.totals.bytes_sent, 200);
    record.socket.role = 9;
    assert_eq!(
        decode(&bytes_of(&record)),
        Err(DecodeError::BadValue {
            field: "role",
            value: 9
        })
    );
}

#[test]
fn tells_codes_from_signals() {
    let check = |status, expected| {
        assert_eq!(
            ExitStatus::from_wait_status(status),
            expected,
            "{status:#x}"
        );
    };
    check(0, ExitStatus::Code(0));
    check(u32::MAX, ExitStatus::Unknown);
    check(0x300, ExitStatus::Code(3));
    check(0xff00, ExitStatus::Code(255));
    check(9, ExitStatus::Signal(9));
    // A core dump sets bit 7.
    check(0x0b | 0x80, ExitStatus::Signal(11));
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        let _decoded = decode(&bytes);
    }

    #[test]
    fn never_panics_on_a_known_kind(kind in 0_u32..Kind::COUNT, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(rest);
        let _decoded = decode(&bytes);
    }
}
