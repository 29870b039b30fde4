//! How the exporter takes each answer the OTLP specification knows (`docs/specification.md` of opentelemetry-proto 1.8,
//! "Failures" and "Throttling"), asked of the whole agent: an independent receiver gives the answer, and what arrives
//! afterwards and what the agent counts shows how it was understood. `docs/conformance.md` lists all rules and their tests.

use serde_json::{Value, json};

use crate::support::{
    Agent, Need, Page, Program, Programs, Receiver, eventually, ready, text, until,
};

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

/// `google.rpc.Status` with a `RetryInfo` of no time at all, as hex: what a throttled client may be told.
fn retry_info(code: u8) -> String {
    let kind = b"type.googleapis.com/google.rpc.RetryInfo";
    // retry_delay, a Duration of 10 ms.
    let info = [0x0a, 0x05, 0x10, 0x80, 0xad, 0xe2, 0x04];
    let mut any = vec![0x0a, kind.len() as u8];
    any.extend(kind);
    any.extend([0x12, info.len() as u8]);
    any.extend(info);
    let mut status = vec![0x08, code, 0x1a, any.len() as u8];
    status.extend(any);
    status.iter().map(|byte| format!("{byte:02x}")).collect()
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
        .export_to(&receiver, protocol)
        .set("traces.process", "on")
        // Every process of the machine makes a span: room for those of a busy one.
        .set("otlp.queue_size", "64MiB")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start();
    let programs = Programs::new();
    for row in rows {
        holds(&mut receiver, &agent, &programs, &row);
    }
}

fn holds(receiver: &mut Receiver, agent: &Agent, programs: &Programs, row: &Row) {
    let before = agent.metrics();
    let mut answer = row.answer.clone();
    answer["kind"] = "traces".into();
    // So that it is known again.
    let mark = programs.link("/bin/true", "answered");
    answer["mark"] = mark.name.as_str().into();
    receiver.answer_next(&answer);
    mark.run(&[]);
    let is_answered_so = |request: &Value| request["answer"]["mark"] == mark.name.as_str();
    let answered = until("a request that is answered so", || {
        let mut requests = receiver.requests_of("traces");
        requests.retain(is_answered_so);
        requests.pop()
    });
    let spans = ids(&answered);
    // Requests are sent in order: whatever is sent again is so before this arrives.
    let last = programs.link("/bin/true", "afterwards");
    last.run(&[]);
    until("a span of later", || arrived(receiver, &last));
    let expected = if row.becomes == Retried { 2 } else { 1 };
    for span in &spans {
        let requests = receiver.requests_of("traces");
        let times = requests.iter().filter(|request| ids(request).contains(span));
        assert_eq!(times.count(), expected, "{answer}: how often it was sent");
    }
    let items = spans.len() as u64;
    let grown = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("wellhead_signal", "traces")], more].concat();
        let of = |page: &Page| page.sum(name, &labels);
        of(&agent.metrics()) - of(&before)
    };
    let failures = "wellhead_agent_export_failures_total";
    let counted = || {
        let lost = grown(failures, &[]);
        let rejected = grown("wellhead_agent_export_rejected_total", &[]);
        let retried = grown("wellhead_agent_export_retries_total", &[]);
        (lost, rejected, retried)
    };
    match row.becomes {
        Retried => eventually(&format!("{answer}: retries"), &(0, 0, items), counted),
        Rejected(some) => eventually(&format!("{answer}: rejected"), &(0, some, 0), counted),
        Dropped(why) => {
            eventually(&format!("{answer}: failures"), &(items, 0, 0), counted);
            let because = grown(failures, &[("error_type", why)]);
            assert_eq!(because, items, "{answer}: for the reason {why}");
        }
    }
}

fn ids(request: &Value) -> Vec<Value> {
    let spans = request["spans"].as_array().expect("spans");
    spans.iter().map(|span| span["span_id"].clone()).collect()
}

fn arrived(receiver: &Receiver, program: &Program) -> Option<()> {
    let spans = receiver.spans();
    let is_there = spans.iter().any(|span| text(span, "name") == program.name);
    is_there.then_some(())
}
