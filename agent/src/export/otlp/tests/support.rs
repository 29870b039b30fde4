//! Readings, spans and a receiver made of a script, for the tests of this module.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use prost::Message as _;
use tokio::time::{self, Instant};

use super::super::{
    outcome::{Accepted, Any, ProtoDuration, RetryInfo, RpcStatus, SendError},
    transport::{Encoded, Transport},
};
use crate::{
    identity::{Resource, Value},
    telemetry::{
        catalogue::{Attr, Metric},
        live::{LiveEvent, OwnedEvent, Severity},
        snapshot::{Family, Point, PointValue, Snapshot},
        span::{FinishedSpan, Span, SpanEvents, SpanKind, SpanLinks},
        store::SeriesId,
    },
};

/// The details of a status that asks for a delay.
pub(super) fn retry_details(seconds: i64, nanos: i32) -> Vec<u8> {
    let info = RetryInfo {
        retry_delay: Some(ProtoDuration { seconds, nanos }),
    };
    let any = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    RpcStatus {
        code: 0,
        message: String::new(),
        details: vec![any],
    }
    .encode_to_vec()
}

/// A resource that only has a name.
pub(super) fn resource(name: &str) -> Arc<Resource> {
    Arc::new(Resource {
        attributes: vec![("service.name".into(), Value::Str(name.into()))],
        labels: Vec::new(),
    })
}

/// A reading of `points` series of one counter, taken at `time`.
pub(super) fn snapshot(time: u64, points: u16) -> Arc<Snapshot> {
    let point = |port| Point {
        resource: 0,
        attributes: Arc::new([(Attr::DestinationPort, Value::Int(port))]),
        start_unix_nano: 1,
        value: PointValue::Int(7),
        series: SeriesId::NONE,
    };
    Arc::new(Snapshot {
        time_unix_nano: time,
        resources: vec![resource("node")],
        families: vec![Family {
            metric: Metric::TcpConnectionsOpened,
            points: (0..i64::from(points)).map(point).collect(),
        }],
        ..Snapshot::default()
    })
}

/// A span told from others by its number.
pub(super) fn span(number: u64) -> FinishedSpan {
    FinishedSpan {
        resource: resource("shop"),
        span: Span {
            trace_id: [1; 16],
            span_id: (number + 1).to_be_bytes(),
            parent_span_id: None,
            trace_state: None,
            name: "sh".into(),
            kind: SpanKind::Internal,
            start_unix_nano: 10,
            end_unix_nano: 20,
            attributes: Vec::new(),
            error: None,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
        },
    }
}

/// An event.
pub(super) fn event() -> OwnedEvent {
    OwnedEvent {
        resource: resource("shop"),
        event: LiveEvent {
            time_unix_nano: 10,
            name: "wellhead.process.exit",
            severity: Severity::Warn,
            attributes: vec![("process.exit.code", Value::Int(3))],
            arguments: None,
        },
    }
}

/// What a [`Scripted`] receiver answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Accept,
    AcceptAfter(Duration),
    Partly { rejected: u64 },
    Fail(SendError),
    Hang,
}

/// Answers by a script, then always with its last word, and remembers what it was sent and when.
#[derive(Clone)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

struct Script {
    answers: VecDeque<Answer>,
    last: Answer,
    sent: Vec<(Instant, Encoded)>,
}

impl Scripted {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer>, last: Answer) -> Self {
        Self(Arc::new(Mutex::new(Script {
            answers: answers.into_iter().collect(),
            last,
            sent: Vec::new(),
        })))
    }

    pub(super) fn sent(&self) -> Vec<(Instant, Encoded)> {
        self.0.lock().unwrap().sent.clone()
    }

    fn next(&self, request: &Encoded) -> Answer {
        let mut script = self.0.lock().unwrap();
        script.sent.push((Instant::now(), request.clone()));
        let last = script.last.clone();
        script.answers.pop_front().unwrap_or(last)
    }
}

impl Transport for Scripted {
    async fn send(&mut self, request: &Encoded) -> Result<Accepted, SendError> {
        match self.next(request) {
            Answer::Accept => Ok(Accepted::default()),
            Answer::AcceptAfter(delay) => {
                time::sleep(delay).await;
                Ok(Accepted::default())
            }
            Answer::Partly { rejected } => Ok(Accepted {
                rejected,
                message: "no".to_owned(),
            }),
            Answer::Fail(error) => Err(error),
            Answer::Hang => std::future::pending().await,
        }
    }
}
