//! How the exporter takes each answer the OTLP specification knows (`docs/specification.md` of opentelemetry-proto 1.8,
//! "Failures" and "Throttling"), asked of the whole agent: an independent receiver gives the answer, and what arrives
//! afterwards and what the agent counts shows how it was understood. `docs/conformance.md` lists all rules and their tests.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{Agent, Need, Page, Programs, Receiver, eventually, ready, text, until};

/// An answer, and what has to become of what it answers.
struct Row {
    answer: Value,
    becomes: Becomes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// Sent once more, whole.
    Retried,
    /// Counted under this `error.type` and never sent again.
    Dropped(&'static str),
    /// So many items are counted as rejected and nothing is sent again.
    Rejected(u64),
}
use Becomes::{Dropped, Rejected, Retried};

/// `google.rpc.Status` with a `RetryInfo` of 10 ms, in hex: what a throttled client may be told.
fn retry_info(code: u8) -> String {
    let field = |number: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("a short field");
        [&[number << 3 | 2, length], content].concat()
    };
    let delay = [0x10, 0x80, 0xad, 0xe2, 0x04];
    let kind = field(1, b"type.googleapis.com/google.rpc.RetryInfo");
    let any = [kind, field(2, &field(1, &delay))].concat();
    let status = [vec![0x08, code], field(3, &any)].concat();
    status.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("room");
        hex
    })
}

fn grpc_rows() -> Vec<Row> {
    let code = |code: &str, becomes| Row {
        answer: json!({ "code": code }),
        becomes,
    };
    let throttled = Row {
        answer: json!({ "code": "RESOURCE_EXHAUSTED", "details": retry_info(8) }),
        becomes: Retried,
    };
    vec![
        code("CANCELLED", Retried),
        code("UNKNOWN", Dropped("_OTHER")),
        code("INVALID_ARGUMENT", Dropped("refused")),
        code("DEADLINE_EXCEEDED", Retried),
        code("NOT_FOUND", Dropped("not_found")),
        code("ALREADY_EXISTS", Dropped("refused")),
        code("PERMISSION_DENIED", Dropped("unauthorized")),
        code("RESOURCE_EXHAUSTED", Dropped("throttled")),
        throttled,
        code("FAILED_PRECONDITION", Dropped("refused")),
        code("ABORTED", Retried),
        code("OUT_OF_RANGE", Retried),
        code("UNIMPLEMENTED", Dropped("not_found")),
        code("INTERNAL", Dropped("_OTHER")),
        code("UNAVAILABLE", Retried),
        code("DATA_LOSS", Retried),
        code("UNAUTHENTICATED", Dropped("unauthorized")),
        partial(),
    ]
}

fn http_rows() -> Vec<Row> {
    let status = |status: u16, becomes| Row {
        answer: json!({ "status": status }),
        becomes,
    };
    let after = |status: u16, when: &str| Row {
        answer: json!({ "status": status, "headers": { "retry-after": when } }),
        becomes: Retried,
    };
    vec![
        status(400, Dropped("refused")),
        status(401, Dropped("unauthorized")),
        status(403, Dropped("unauthorized")),
        status(404, Dropped("not_found")),
        status(405, Dropped("not_found")),
        status(408, Dropped("refused")),
        status(413, Dropped("refused")),
        status(429, Retried),
        after(429, "1"),
        status(500, Dropped("_OTHER")),
        status(501, Dropped("_OTHER")),
        status(502, Retried),
        status(503, Retried),
        after(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
        status(504, Retried),
        status(505, Dropped("_OTHER")),
        partial(),
    ]
}

fn partial() -> Row {
    Row {
        answer: json!({ "rejected": 1, "message": "one of them is not liked" }),
        becomes: Rejected(1),
    }
}

#[test]
fn every_grpc_code_is_understood() {
    every_row_holds("grpc", grpc_rows());
}

#[test]
fn every_http_status_is_understood() {
    every_row_holds("http/protobuf", http_rows());
}

fn every_row_holds(protocol: &str, rows: Vec<Row>) {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_spans_to(&receiver, protocol)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start();
    let programs = Programs::new();
    let mut seen = 0;
    for row in rows {
        let before = agent.metrics();
        let sent = send(&mut receiver, &mut seen, &programs, &row);
        check(&agent, &before, &row, &sent);
    }
}

/// How often the spans of one request were sent.
#[derive(Default)]
struct Sent {
    spans: Vec<Value>,
    times: usize,
}

/// Has one request answered as the row says, and looks how often its spans are sent, until those of later arrive: requests
/// are sent in order. What is seen is read once.
fn send(receiver: &mut Receiver, seen: &mut u64, programs: &Programs, row: &Row) -> Sent {
    let mark = programs.link("/bin/true", "answered");
    let mut answer = row.answer.clone();
    answer["kind"] = "traces".into();
    answer["mark"] = mark.name.as_str().into();
    receiver.answer_next(&answer);
    mark.run(&[]);
    let mut sent = Sent::default();
    let mut look = |last: &str| {
        let mut is_over = false;
        for request in receiver.requests_after(seen) {
            let Some(spans) = request["spans"].as_array() else {
                continue;
            };
            let ids = |spans: &[Value]| -> Vec<Value> {
                spans.iter().map(|span| span["span_id"].clone()).collect()
            };
            if request["answer"]["mark"] == mark.name.as_str() {
                sent = Sent {
                    spans: ids(spans),
                    times: 1,
                };
            } else if ids(spans) == sent.spans {
                sent.times += 1;
            } else {
                let again = spans
                    .iter()
                    .any(|span| sent.spans.contains(&span["span_id"]));
                assert!(!again, "only some were sent again: {answer}");
            }
            is_over |= spans.iter().any(|span| text(span, "name") == last);
        }
        (is_over || (last.is_empty() && sent.times > 0)).then_some(())
    };
    until("a request that is answered so", || look(""));
    let last = programs.link("/bin/true", "afterwards");
    last.run(&[]);
    until("a span of later", || look(&last.name));
    sent
}

fn check(agent: &Agent, before: &Page, row: &Row, sent: &Sent) {
    let Row { answer, becomes } = row;
    let times = if *becomes == Retried { 2 } else { 1 };
    assert_eq!(sent.times, times, "{answer}: how often it was sent");
    let items = sent.spans.len() as u64;
    let grown = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("wellhead_signal", "traces")], more].concat();
        let of = |page: &Page| page.sum(name, &labels);
        of(&agent.metrics()) - of(before)
    };
    let failures = "wellhead_agent_export_failures_total";
    let counted = || {
        let lost = grown(failures, &[]);
        let rejected = grown("wellhead_agent_export_rejected_total", &[]);
        let retried = grown("wellhead_agent_export_retries_total", &[]);
        (lost, rejected, retried)
    };
    let (expected, because) = match becomes {
        // Each failure is counted, also of what is sent again.
        Retried => ((items, 0, items), None),
        Rejected(some) => ((0, *some, 0), None),
        Dropped(why) => ((items, 0, 0), Some(*why)),
    };
    eventually(&format!("{answer}: counted"), &expected, counted);
    if let Some(why) = because {
        let because = grown(failures, &[("error_type", why)]);
        assert_eq!(because, items, "{answer}: for the reason {why}");
    }
}
