//! Answers of HTTP/1.1 that are not what they should be.

use std::sync::atomic::AtomicU64;

use super::*;

const HTTP: Attempt = Attempt::of(Protocol::HttpProtobuf);

const INVALID: Verdict = dropped(ExportFailure::InvalidResponse);
const UNAVAILABLE: Verdict = retried(ExportFailure::Unavailable);

/// A partial success of either signal: two items were refused.
const TWO_REFUSED: [u8; 4] = [0x0a, 0x02, 0x08, 0x02];

/// Reads up to the end of a request.
pub(super) async fn read_request(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
}

/// An answer with these lines for a head.
fn answer(head: &[&str], body: &[u8]) -> Vec<u8> {
    [head.join("\r\n").as_bytes(), b"\r\n\r\n", body].concat()
}

pub(super) fn success() -> Vec<u8> {
    let head = [
        "HTTP/1.1 200 OK",
        "content-type: application/x-protobuf",
        "content-length: 0",
    ];
    answer(&head, b"")
}

/// Expects that this answer, after which the connection ends, is judged so.
async fn check(what: &str, expected: Verdict, bytes: Vec<u8>) {
    let script = move |mut stream| {
        let bytes = bytes.clone();
        async move {
            read_request(&mut stream).await;
            write(&mut stream, &bytes).await;
            leave(stream).await;
        }
    };
    HTTP.meets(what, expected, script).await;
}

#[tokio::test]
async fn the_rig_itself_is_no_obstacle() {
    check("success", ACCEPTED, success()).await;
}

#[tokio::test]
async fn web_pages() {
    let page = b"<html><title>Log in</title></html>";
    for (status, expected) in [
        ("200 OK", INVALID),
        ("400 Bad Request", dropped(ExportFailure::Refused)),
        ("403 Forbidden", dropped(ExportFailure::Unauthorized)),
        ("502 Bad Gateway", UNAVAILABLE),
    ] {
        let line = format!("HTTP/1.1 {status}");
        let head = [
            line.as_str(),
            "content-type: text/html",
            "connection: close",
        ];
        check(status, expected, answer(&head, page)).await;
    }
}

#[tokio::test]
async fn bodies_that_are_cut_short() {
    let half = b"half".as_slice();
    for (status, expected) in [
        ("200 OK", INVALID),
        ("400 Bad Request", dropped(ExportFailure::Refused)),
        ("500 Internal Server Error", dropped(ExportFailure::Other)),
        ("503 Service Unavailable", UNAVAILABLE),
    ] {
        let line = format!("HTTP/1.1 {status}");
        for (what, framing) in [
            ("by length", "content-length: 100"),
            ("by chunks", "transfer-encoding: chunked"),
        ] {
            let head = [
                line.as_str(),
                "content-type: application/x-protobuf",
                framing,
            ];
            let what = format!("{status}, cut short {what}");
            let bytes = answer(&head, half);
            check(&what, expected, bytes.clone()).await;
            let script = move |mut stream| {
                let bytes = bytes.clone();
                async move {
                    read_request(&mut stream).await;
                    write(&mut stream, &bytes).await;
                    reset(stream);
                }
            };
            // The reset may overtake the head, which then was never said.
            let lost = retried(ExportFailure::Connection);
            HTTP.meets_any(&what, &[expected, lost], script).await;
        }
    }
}

#[tokio::test]
async fn gzip_that_is_cut_short() {
    let packed = packed(&TWO_REFUSED);
    let half = &packed[..packed.len() / 2];
    for (status, body, expected) in [
        ("200 OK", packed.as_slice(), Ok(2)),
        ("200 OK", half, INVALID),
        ("503 Service Unavailable", half, UNAVAILABLE),
        ("404 Not Found", half, dropped(ExportFailure::NotFound)),
    ] {
        let line = format!("HTTP/1.1 {status}");
        let length = format!("content-length: {}", body.len());
        let head = [
            line.as_str(),
            "content-type: application/x-protobuf",
            "content-encoding: gzip",
            length.as_str(),
        ];
        check(status, expected, answer(&head, body)).await;
    }
}

#[tokio::test]
async fn other_formats() {
    let answers: [(&str, &[u8], Verdict); 4] = [
        ("application/json", b"{}", ACCEPTED),
        ("text/plain", b"ok", ACCEPTED),
        ("application/x-protobuf", b"{}", INVALID),
        // Of no type that says how to read it.
        ("application/grpc", &TWO_REFUSED, ACCEPTED),
    ];
    for (content_type, body, expected) in answers {
        let line = format!("content-type: {content_type}");
        let head = ["HTTP/1.1 200 OK", line.as_str(), "connection: close"];
        check(content_type, expected, answer(&head, body)).await;
    }
}

#[tokio::test]
async fn an_answer_byte_by_byte() {
    let script = |mut stream: TcpStream| async move {
        stream.set_nodelay(true).unwrap();
        read_request(&mut stream).await;
        let head = [
            "HTTP/1.1 200 OK",
            "content-type: application/x-protobuf",
            "content-length: 4",
        ];
        for byte in answer(&head, &TWO_REFUSED) {
            write(&mut stream, &[byte]).await;
            tokio::task::yield_now().await;
        }
        leave(stream).await;
    };
    HTTP.meets("byte by byte", Ok(2), script).await;
}

/// The receiver goes on for as long as anybody reads: it is cut off, and soon. How little of it is kept is told in
/// `http/answer/tests.rs`; what goes beyond that here is in the sockets' buffers.
#[tokio::test]
async fn answers_without_an_end() {
    const PLENTY: u64 = 64 << 20;
    let filler = format!("x-filler: {}\r\n", "x".repeat(1000));
    let lost = retried(ExportFailure::Connection);
    for (what, start, rest, expected) in [
        ("a body", "HTTP/1.1 200 OK\r\n\r\n", "x", INVALID),
        ("a failure", "HTTP/1.1 503 No\r\n\r\n", "x", UNAVAILABLE),
        ("a head", "HTTP/1.1 200 OK\r\n", filler.as_str(), lost),
        ("a status line", "HTTP/1.1 200 ", "x", lost),
    ] {
        let (written, ends) = (Arc::new(AtomicU64::new(0)), Ends::new());
        let rest = rest.repeat((64 << 10) / rest.len());
        let script = {
            let (written, ends) = (Arc::clone(&written), ends.clone());
            move |mut stream: TcpStream| {
                let (rest, written, ends) = (rest.clone(), Arc::clone(&written), ends.clone());
                async move {
                    read_request(&mut stream).await;
                    write(&mut stream, start.as_bytes()).await;
                    while stream.write_all(rest.as_bytes()).await.is_ok() {
                        written.fetch_add(rest.len() as u64, Ordering::Relaxed);
                    }
                    ends.add();
                }
            }
        };
        HTTP.meets(what, expected, script).await;
        ends.all().await;
        // By both signals' receivers.
        let written = written.load(Ordering::Relaxed);
        assert!(written < 2 * PLENTY, "{what}: {written}");
    }
}
