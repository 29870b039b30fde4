use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message as _;
use tokio::time;

use super::*;
use crate::{
    counters::ExportFailure::{self, InvalidResponse, Refused, Throttled, Unavailable},
    export::otlp::outcome::{Any, ProtoDuration, Retry, RetryInfo, RpcStatus},
};

const PROTOBUF_BODY: (&str, &str) = ("content-type", PROTOBUF);
const WEB_PAGE: (&str, &str) = ("content-type", "text/html; charset=utf-8");
const PACKED: (&str, &str) = ("content-encoding", "gzip");

/// How a body ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    Cut,
    Silence,
}

async fn judge(
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    end: End,
) -> Result<Accepted, (ExportFailure, Retry)> {
    let end = match end {
        End::Whole => stream::empty().boxed(),
        End::Cut => stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]).boxed(),
        End::Silence => stream::pending().boxed(),
    };
    let data = stream::iter([Ok(Bytes::copy_from_slice(body))]);
    judge_chunks(status, headers, data.chain(end)).await
}

async fn judge_chunks(
    status: u16,
    headers: &[(&str, &str)],
    chunks: impl Stream<Item = io::Result<Bytes>>,
) -> Result<Accepted, (ExportFailure, Retry)> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data)));
    let answer = answer.body(body).unwrap();
    let deadline = time::sleep(Duration::from_secs(10));
    read(Signal::Metrics, answer, deadline)
        .await
        .map_err(|error| (error.failure, error.retry))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    Packing::Gzip.pack(plain).unwrap()
}

/// A status that asks for a delay of 7 s.
fn later() -> Vec<u8> {
    let delay = ProtoDuration {
        seconds: 7,
        nanos: 0,
    };
    let info = RetryInfo {
        retry_delay: Some(delay),
    };
    let any = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    RpcStatus {
        code: 14,
        message: "later".to_owned(),
        details: vec![any],
    }
    .encode_to_vec()
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_failure_decides_whatever_becomes_of_its_body() {
    let half_packed = &gzip(&later())[..20];
    for (status, expected) in [
        (400, (Refused, Retry::Never)),
        (429, (Throttled, Retry::Backoff)),
        (503, (Unavailable, Retry::Backoff)),
    ] {
        for end in [End::Whole, End::Cut, End::Silence] {
            let bodies: [(&[_], &[u8]); 5] = [
                (&[], b""),
                (&[], b"<html>"),
                (&[PROTOBUF_BODY], b"\xff\xff"),
                (&[PACKED], b"plain"),
                (&[PACKED], half_packed),
            ];
            for (headers, body) in bodies {
                let judged = judge(status, headers, body, end).await;
                assert_eq!(judged, Err(expected), "{status} {headers:?} {end:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_in_a_readable_body_counts() {
    let seven = Retry::After(Duration::from_secs(7));
    let packed = gzip(&later());
    for (status, headers, body, expected) in [
        (503, vec![], later(), (Unavailable, seven)),
        (429, vec![PACKED], packed.clone(), (Throttled, seven)),
        (400, vec![], later(), (Refused, Retry::Never)),
        // The header is what OTLP/HTTP asks for.
        (
            503,
            vec![("retry-after", "9")],
            later(),
            (Unavailable, Retry::After(Duration::from_secs(9))),
        ),
    ] {
        let judged = judge(status, &headers, &body, End::Whole).await;
        assert_eq!(judged, Err(expected), "{status} {headers:?}");
    }
    // All of it came before the connection was cut.
    let judged = judge(503, &[PACKED], &packed, End::Cut).await;
    assert_eq!(judged, Err((Unavailable, seven)));
}

#[tokio::test(start_paused = true)]
async fn a_success_that_cannot_be_read_is_not_sent_again() {
    let invalid = Err((InvalidResponse, Retry::Never));
    let packed = gzip(b"");
    let answers: [(&[_], &[u8], End); 6] = [
        (&[PROTOBUF_BODY], b"", End::Cut),
        (&[PROTOBUF_BODY], b"", End::Silence),
        (&[], b"", End::Cut),
        (&[PROTOBUF_BODY, PACKED], b"plain", End::Whole),
        (&[PROTOBUF_BODY, PACKED], &packed[..9], End::Whole),
        (&[WEB_PAGE], b"<html>", End::Whole),
    ];
    for (headers, body, end) in answers {
        let judged = judge(200, headers, body, end).await;
        assert_eq!(judged, invalid, "{headers:?} {end:?}");
    }
    let accepted = Ok(Accepted::default());
    assert_eq!(judge(204, &[], b"", End::Whole).await, accepted);
    assert_eq!(judge(200, &[WEB_PAGE], b"", End::Whole).await, accepted);
    let json = [("content-type", "application/json")];
    assert_eq!(judge(200, &json, b"{}", End::Whole).await, accepted);
}

/// 64 MiB are offered, 1 KiB at a time.
#[tokio::test]
async fn no_more_is_taken_of_a_body_than_the_limit() {
    const CHUNK: usize = 1024;
    for (status, headers, expected, limit) in [
        (200, vec![PROTOBUF_BODY], InvalidResponse, MAX_RESPONSE),
        (503, vec![], Unavailable, MAX_EXPLANATION),
        (503, vec![PACKED], Unavailable, MAX_EXPLANATION),
        (400, vec![], Refused, MAX_EXPLANATION),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let chunks = stream::iter(0..64 * 1024).map(move |_| {
            count.fetch_add(CHUNK, Ordering::Relaxed);
            Ok(Bytes::from_static(&[0; CHUNK]))
        });
        let judged = judge_chunks(status, &headers, chunks).await;
        assert_eq!(judged.unwrap_err().0, expected, "{status}");
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken <= limit + CHUNK, "{status}: {taken}");
    }
}

#[tokio::test]
async fn a_bomb_is_defused() {
    for packing in Packing::ALL {
        let headers = [("content-encoding", packing.name())];
        let at_limit = packing.pack(&vec![0; MAX_RESPONSE]).unwrap();
        let bomb = packing.pack(&vec![0; MAX_RESPONSE + 1]).unwrap();
        // Zeros are no protobuf, so it is told as another format.
        let judged = judge(200, &headers, &at_limit, End::Whole).await;
        assert_eq!(judged, Ok(Accepted::default()));
        let judged = judge(200, &headers, &bomb, End::Whole).await;
        assert_eq!(judged, Err((InvalidResponse, Retry::Never)));
        let judged = judge(503, &headers, &bomb, End::Whole).await;
        assert_eq!(judged, Err((Unavailable, Retry::Backoff)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_after_the_deadline() {
    let body = StreamBody::new(stream::pending::<io::Result<Frame<Bytes>>>());
    let answer = Response::builder().status(502).body(body).unwrap();
    let judged = read(Signal::Traces, answer, async {}).await;
    assert_eq!(judged.unwrap_err().retry, Retry::Backoff);
}
