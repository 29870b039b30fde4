//! Connections that end, or do not go on, where they should not.

use std::future::pending;

use futures::future::join_all;

use super::*;

const LOST: Verdict = retried(ExportFailure::Connection);
const SILENT: Verdict = retried(ExportFailure::Timeout);

/// The beginning of an answer, from which nothing follows yet.
fn beginning(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Grpc => [http2::greeting(), vec![0, 0, 40, http2::HEADERS]].concat(),
        Protocol::HttpProtobuf => b"HTTP/1.1 200 OK\r\nconte".to_vec(),
    }
}

#[tokio::test]
async fn half_closed() {
    for protocol in PROTOCOLS {
        let attempt = Attempt::of(protocol);
        attempt.meets("half-closed at once", LOST, leave).await;
        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            leave(stream).await;
        };
        attempt.meets("half-closed later", LOST, script).await;
        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            write(&mut stream, &beginning(protocol)).await;
            leave(stream).await;
        };
        attempt.meets("half an answer", LOST, script).await;
    }
}

#[tokio::test]
async fn silent_after_the_request() {
    for protocol in PROTOCOLS {
        let attempt = Attempt::of(protocol).impatient();
        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            drain(stream).await;
        };
        attempt.meets("no answer", SILENT, script).await;
        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            write(&mut stream, &beginning(protocol)).await;
            drain(stream).await;
        };
        attempt.meets("an answer that stops", SILENT, script).await;
    }
}

#[tokio::test]
async fn a_request_that_is_never_read() {
    for protocol in PROTOCOLS {
        let attempt = Attempt::of(protocol).with_much_to_send().impatient();
        let script = |stream: TcpStream| async move {
            pending::<()>().await;
            drop(stream);
        };
        attempt.meets("nothing is read", SILENT, script).await;
    }
}

#[tokio::test]
async fn connections_that_are_reset() {
    for protocol in PROTOCOLS {
        let attempt = Attempt::of(protocol);
        let script = |stream| async move { reset(stream) };
        attempt.meets("reset at once", LOST, script).await;

        let script = |mut stream: TcpStream| async move {
            drop(stream.read_exact(&mut [0; 1024]).await);
            reset(stream);
        };
        let much = attempt.with_much_to_send();
        much.meets("reset in the request", LOST, script).await;

        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            reset(stream);
        };
        attempt.meets("reset after the request", LOST, script).await;

        let script = move |mut stream| async move {
            read_request(protocol, &mut stream).await;
            write(&mut stream, &beginning(protocol)).await;
            reset(stream);
        };
        attempt.meets("reset in the answer", LOST, script).await;
    }
}

#[tokio::test]
async fn another_protocol_altogether() {
    for protocol in PROTOCOLS {
        let attempt = Attempt::of(protocol);
        let zeros: &[u8] = &[0; 100];
        let http2 = http2::greeting();
        let http1: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let greetings: [(&str, &[u8]); 4] = [
            ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
            ("TLS alert", b"\x15\x03\x03\x00\x02\x02\x46"),
            ("zeros", zeros),
            match protocol {
                Protocol::Grpc => ("HTTP/1.1", http1),
                Protocol::HttpProtobuf => ("HTTP/2", &http2),
            },
        ];
        for (what, greeting) in greetings {
            let greeting = greeting.to_vec();
            let script = move |mut stream| {
                let greeting = greeting.clone();
                async move {
                    write(&mut stream, &greeting).await;
                    leave(stream).await;
                }
            };
            attempt.meets(what, LOST, script).await;
        }
    }
}

/// The first connection is reset in the middle of the request; the second attempt finds a receiver that works.
#[tokio::test]
async fn what_was_lost_arrives_once_when_the_receiver_is_well_again() {
    let cases = PROTOCOLS.into_iter().flat_map(|protocol| {
        SIGNALS
            .into_iter()
            .map(move |signal| recovers(protocol, signal))
    });
    join_all(cases).await;
}

async fn recovers(protocol: Protocol, signal: Signal) {
    let (listener, address) = listener().await;
    let (served, arrived) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let arriving = Arc::clone(&arrived);
    let script = move |mut stream: TcpStream| {
        let attempt = served.fetch_add(1, Ordering::Relaxed);
        let arriving = Arc::clone(&arriving);
        async move {
            if attempt == 0 {
                drop(stream.read_exact(&mut [0; 40]).await);
                return reset(stream);
            }
            read_request(protocol, &mut stream).await;
            arriving.fetch_add(1, Ordering::Relaxed);
            let success = match protocol {
                Protocol::Grpc => grpc::success(),
                Protocol::HttpProtobuf => http::success(),
            };
            write(&mut stream, &success).await;
            leave(stream).await;
        }
    };
    let receiver = Receiver::start(listener, Arc::new(script));
    let client = Client::new(&settings(protocol, signal, address)).unwrap();
    let mut exporter = Exporter::new(client, signal);
    let request = Attempt::of(protocol).request(signal);
    let until = Instant::now() + PATIENCE;
    let delivery = exporter.sender.deliver(&request, until).await;
    let items = request.items;
    assert_eq!(delivery, Delivery::Done, "{protocol:?}, {signal:?}");
    assert_eq!(exporter.failures(), [(ExportFailure::Connection, items)]);
    assert_eq!(exporter.counts(), [items, 0, items, 0]);
    assert_eq!(receiver.connections(), 2);
    assert_eq!(arrived.load(Ordering::Relaxed), 1);
}
