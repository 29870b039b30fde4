//! HTTP/2 and gRPC that are not what they should be.

use super::{
    http2::{
        CONTINUATION, END_STREAM, FIRST, HEADERS, RST_STREAM, data, fields, frame, go_away,
        greeting, headers,
    },
    *,
};
use crate::export::otlp::{packing::Packing, settings::Compression, transport::MAX_RESPONSE};

const GRPC: Attempt = Attempt::of(Protocol::Grpc);

const INVALID: Verdict = dropped(ExportFailure::InvalidResponse);
const LOST: Verdict = retried(ExportFailure::Connection);
const UNAVAILABLE: Verdict = retried(ExportFailure::Unavailable);

const TYPE: (&str, &str) = ("content-type", "application/grpc");
const OK: (&str, &str) = (":status", "200");

/// A partial success of either signal: two items were refused.
const TWO_REFUSED: [u8; 4] = [0x0a, 0x02, 0x08, 0x02];

/// A message as gRPC frames it.
fn message(packed: bool, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[u8::from(packed)], &length[..], body].concat()
}

fn answer_of(body: &[u8]) -> Vec<u8> {
    [
        greeting(),
        headers(0, &[OK, TYPE]),
        data(0, &message(false, body)),
        headers(END_STREAM, &[("grpc-status", "0")]),
    ]
    .concat()
}

pub(super) fn success() -> Vec<u8> {
    answer_of(b"")
}

/// Expects that these frames, after the server's first, are judged so.
async fn check(what: &str, expected: Verdict, frames: &[Vec<u8>]) {
    check_of(GRPC, what, expected, frames).await;
}

async fn check_of(attempt: Attempt, what: &str, expected: Verdict, frames: &[Vec<u8>]) {
    let bytes = [greeting(), frames.concat()].concat();
    let script = move |mut stream| {
        let bytes = bytes.clone();
        async move {
            http2::read_request(&mut stream).await;
            write(&mut stream, &bytes).await;
            drain(stream).await;
        }
    };
    attempt.meets(what, expected, script).await;
}

#[tokio::test]
async fn answers_that_are_not_grpc() {
    let page = b"<html><title>Log in</title></html>".as_slice();
    let html = ("content-type", "text/html");
    for (status, expected) in [
        ("200", INVALID),
        ("302", dropped(ExportFailure::Other)),
        ("400", dropped(ExportFailure::Refused)),
        ("401", dropped(ExportFailure::Unauthorized)),
        ("403", dropped(ExportFailure::Unauthorized)),
        ("404", dropped(ExportFailure::NotFound)),
        ("429", retried(ExportFailure::Throttled)),
        ("500", dropped(ExportFailure::Other)),
        ("502", UNAVAILABLE),
        ("503", UNAVAILABLE),
        ("504", UNAVAILABLE),
    ] {
        let status = (":status", status);
        let frames = [headers(0, &[status, html]), data(END_STREAM, page)];
        check(status.1, expected, &frames).await;
        let empty = [headers(END_STREAM, &[status, html])];
        check(status.1, expected, &empty).await;
    }
    // What asks for patience is heard, whoever it is.
    let patience = [(":status", "503"), html, ("retry-after", "7")];
    let seven = Err((
        ExportFailure::Unavailable,
        Retry::After(Duration::from_secs(7)),
    ));
    check("503 for 7 s", seven, &[headers(END_STREAM, &patience)]).await;
}

/// gRPC's own status decides, whatever the rest looks like.
#[tokio::test]
async fn odd_statuses() {
    let unavailable = ("grpc-status", "14");
    let refused = dropped(ExportFailure::Refused);
    let other = dropped(ExportFailure::Other);
    for (what, expected, named) in [
        ("alone", UNAVAILABLE, vec![OK, TYPE, unavailable]),
        ("without a type", UNAVAILABLE, vec![OK, unavailable]),
        (
            "under another",
            refused,
            vec![(":status", "503"), TYPE, ("grpc-status", "3")],
        ),
        ("unheard of", other, vec![OK, TYPE, ("grpc-status", "99")]),
        ("no number", other, vec![OK, TYPE, ("grpc-status", "busy")]),
        ("none", other, vec![OK, TYPE]),
        ("success alone", other, vec![OK, TYPE, ("grpc-status", "0")]),
        (
            "details that are none",
            UNAVAILABLE,
            vec![OK, TYPE, unavailable, DETAILS],
        ),
    ] {
        check(what, expected, &[headers(END_STREAM, &named)]).await;
    }
    let frames = [
        headers(0, &[OK, TYPE]),
        headers(END_STREAM, &[unavailable, DETAILS]),
    ];
    check("details that are none, behind", UNAVAILABLE, &frames).await;
    let frames = [
        headers(0, &[OK, TYPE]),
        data(0, &message(false, b"")),
        headers(END_STREAM, &[("grpc-status", "0"), DETAILS]),
    ];
    check("details that are none, of a success", Ok(0), &frames).await;
}

/// tonic 0.14 panics at these.
const DETAILS: (&str, &str) = ("grpc-status-details-bin", "!!!");

#[tokio::test]
async fn messages_that_cannot_be_read() {
    let start = headers(0, &[OK, TYPE]);
    let gzip_start = headers(0, &[OK, TYPE, ("grpc-encoding", "gzip")]);
    let end = headers(END_STREAM, &[("grpc-status", "0")]);
    let packed = packed(&TWO_REFUSED);
    let cut = message(true, &packed[..packed.len() / 2]);
    let bad = message(false, b"<html>");
    let flag = [&[7], &message(false, b"")[1..]].concat();
    let huge = [0, 255, 255, 255, 255];
    let whole = data(0, &message(true, &packed));
    check(
        "whole gzip",
        Ok(2),
        &[gzip_start.clone(), whole, end.clone()],
    )
    .await;
    let bomb = message(
        true,
        &Packing::Gzip.pack(&vec![0; MAX_RESPONSE + 1]).unwrap(),
    );
    let bodies: [(&str, &[u8], &[u8]); 5] = [
        ("gzip cut short", &gzip_start, &cut),
        ("a bomb", &gzip_start, &bomb),
        ("no OTLP", &start, &bad),
        ("no flag of gRPC's", &start, &flag),
        ("four gigabytes", &start, &huge),
    ];
    for (what, head, body) in bodies {
        let frames = [head.to_vec(), data(0, body), end.clone()];
        check(what, INVALID, &frames).await;
    }
    // Without a status nobody knows whether that was all.
    let message = message(false, b"");
    let no_status = [start.clone(), data(END_STREAM, &message)];
    check("no status", dropped(ExportFailure::Other), &no_status).await;
    let half = [start, data(END_STREAM, &message[..3])];
    check("half a message", dropped(ExportFailure::Other), &half).await;
}

#[tokio::test]
async fn messages_packed_by_zstd() {
    let start = headers(0, &[OK, TYPE, ("grpc-encoding", "zstd")]);
    let end = headers(END_STREAM, &[("grpc-status", "0")]);
    let pack = |plain: &[u8]| Packing::Zstd.pack(plain).unwrap();
    let packed = pack(&TWO_REFUSED);
    let cut = &packed[..packed.len() / 2];
    let bomb = pack(&vec![0; MAX_RESPONSE + 1]);
    let asking = GRPC.packed_by(Compression::Zstd);
    for (what, attempt, expected, body) in [
        ("whole zstd", asking, Ok(2), &packed[..]),
        ("zstd cut short", asking, INVALID, cut),
        ("a bomb", asking, INVALID, &bomb),
        ("no zstd at all", asking, INVALID, b"plain"),
        ("not asked for", GRPC, INVALID, &packed),
    ] {
        let frames = [start.clone(), data(0, &message(true, body)), end.clone()];
        check_of(attempt, what, expected, &frames).await;
    }
    // The receiver's own word, in which tonic's servers and clients do not differ.
    let refused = [
        OK,
        TYPE,
        ("grpc-status", "12"),
        (
            "grpc-message",
            "Content is compressed with `zstd` which isn't supported",
        ),
    ];
    let frames = [headers(END_STREAM, &refused)];
    check_of(
        asking,
        "cannot unpack it",
        dropped(ExportFailure::NotFound),
        &frames,
    )
    .await;
}

#[tokio::test]
async fn streams_that_are_reset() {
    for (what, reason) in [
        ("NO_ERROR", 0_u32),
        ("INTERNAL_ERROR", 2),
        ("REFUSED_STREAM", 7),
        ("CANCEL", 8),
        ("ENHANCE_YOUR_CALM", 11),
    ] {
        let reset = frame(RST_STREAM, 0, FIRST, &reason.to_be_bytes());
        check(what, LOST, &[reset]).await;
    }
}

#[tokio::test]
async fn connections_that_go_away() {
    for (what, frames) in [
        ("before the request", vec![go_away(0, 0)]),
        ("in anger", vec![go_away(0, 11)]),
    ] {
        let mut frames = frames;
        frames.insert(0, greeting());
        let bytes = frames.concat();
        let script = move |mut stream| {
            let bytes = bytes.clone();
            async move {
                http2::read_request(&mut stream).await;
                write(&mut stream, &bytes).await;
                leave(stream).await;
            }
        };
        GRPC.meets(what, LOST, script).await;
    }
}

/// A server that is about to restart answers what it has and takes no more: the next request goes to the next connection.
#[tokio::test]
async fn a_farewell_loses_and_repeats_nothing() {
    for signal in SIGNALS {
        let (listener, address) = listener().await;
        let script = |mut stream| async move {
            http2::read_request(&mut stream).await;
            let bytes = [greeting(), go_away(FIRST, 0), success()].concat();
            write(&mut stream, &bytes).await;
            leave(stream).await;
        };
        let receiver = Receiver::start(listener, Arc::new(script));
        let client = Client::new(&settings(Protocol::Grpc, signal, address)).unwrap();
        let mut exporter = Exporter::new(client, signal);
        let request = GRPC.request(signal);
        for round in 1..=3_usize {
            let now = Instant::now();
            let delivery = exporter.sender.deliver(&request, now).await;
            assert_eq!(delivery, Delivery::Done, "{signal:?}");
            assert_eq!(receiver.connections(), round);
        }
        assert_eq!(exporter.counts(), [3 * request.items, 0, 0, 0]);
        assert_eq!(exporter.failures(), []);
    }
}

#[tokio::test]
async fn an_answer_byte_by_byte() {
    let script = |mut stream: TcpStream| async move {
        stream.set_nodelay(true).unwrap();
        http2::read_request(&mut stream).await;
        for byte in answer_of(&TWO_REFUSED) {
            write(&mut stream, &[byte]).await;
            tokio::task::yield_now().await;
        }
        drain(stream).await;
    };
    GRPC.meets("byte by byte", Ok(2), script).await;
}

/// Whoever goes on without an end is cut off.
#[tokio::test]
async fn answers_without_an_end() {
    let size = u32::try_from(MAX_RESPONSE).unwrap().to_be_bytes();
    let start = data(0, &[&[0], &size[..]].concat());
    let head = headers(0, &[OK, TYPE]);
    let open_head = frame(HEADERS, 0, FIRST, &fields(&[OK, TYPE]));
    let filler = fields(&[("x-filler", &"x".repeat(100))]).repeat(100);
    for (what, start, more) in [
        ("data", [head, start].concat(), data(0, &[0; 16 << 10])),
        ("a head", open_head, frame(CONTINUATION, 0, FIRST, &filler)),
    ] {
        let start = [greeting(), start].concat();
        let ends = Ends::new();
        let script = {
            let ends = ends.clone();
            move |mut stream: TcpStream| {
                let (start, more, ends) = (start.clone(), more.clone(), ends.clone());
                async move {
                    http2::read_request(&mut stream).await;
                    write(&mut stream, &start).await;
                    while stream.write_all(&more).await.is_ok() {}
                    ends.add();
                }
            }
        };
        // Data within the window is read until there is no time left, and none of it kept.
        let expected = [LOST, retried(ExportFailure::Timeout)];
        GRPC.impatient().meets_any(what, &expected, script).await;
        ends.all().await;
    }
}
