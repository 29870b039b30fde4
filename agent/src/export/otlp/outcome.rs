//! What an answer means: accepted, try again (when), or never again. Pure functions over what the receiver sent.
//!
//! The rules are those of the OTLP specification, "OTLP/gRPC Response", "OTLP/HTTP Response" and the throttling
//! sections under them.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
    trace::v1::ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::{Code, Status};

use super::grpc::NotGrpc;
use super::settings::Compression;
use crate::causes::{causes, chain};
use crate::counters::{ExportFailure, Signal};

/// No receiver can hold the exporter back for longer than this by one answer.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// How much of a receiver's own words is kept for the log.
pub(super) const MAX_DETAIL: usize = 256;

/// The receiver took the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Items it refused all the same. They must not be sent again.
    pub(super) rejected: u64,
    /// Its reason, or a warning if nothing was rejected; often empty.
    pub(super) message: String,
}

/// One attempt at a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SendError {
    /// In what way.
    pub(super) failure: ExportFailure,
    /// Whether and when to try again.
    pub(super) retry: Retry,
    /// In words, for the log.
    pub(super) detail: String,
}

/// Whether and when a failed request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail again.
    Never,
    /// By exponential backoff.
    Backoff,
    /// Not before the receiver's own delay has passed.
    After(Duration),
}

impl SendError {
    pub(super) fn new(failure: ExportFailure, retry: Retry, detail: impl AsRef<str>) -> Self {
        Self {
            failure,
            retry,
            detail: shorten(detail.as_ref()),
        }
    }

    /// No answer in time. Worth another attempt, like gRPC's DEADLINE_EXCEEDED.
    pub(super) fn timeout(limit: Duration) -> Self {
        Self::new(
            ExportFailure::Timeout,
            Retry::Backoff,
            format!("no answer within {limit:?}"),
        )
    }

    /// No connection, or one that ended before the answer.
    pub(super) fn connection(error: &(dyn Error + 'static)) -> Self {
        Self::new(ExportFailure::Connection, Retry::Backoff, chain(error))
    }

    /// An answer that cannot be understood. The data may have been taken, so it is not sent again.
    pub(super) fn invalid(detail: impl AsRef<str>) -> Self {
        Self::new(ExportFailure::InvalidResponse, Retry::Never, detail)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.failure.as_str(), self.detail)
    }
}

/// Reads the body of a success.
pub(super) fn accepted(signal: Signal, body: &[u8]) -> Result<Accepted, SendError> {
    let partial = match signal {
        Signal::Metrics => ExportMetricsServiceResponse::decode(body).map(|answer| {
            answer
                .partial_success
                .map(|p| (p.rejected_data_points, p.error_message))
        }),
        Signal::Traces => ExportTraceServiceResponse::decode(body).map(|answer| {
            answer
                .partial_success
                .map(|p| (p.rejected_spans, p.error_message))
        }),
        Signal::Logs => ExportLogsServiceResponse::decode(body).map(|answer| {
            answer
                .partial_success
                .map(|p| (p.rejected_log_records, p.error_message))
        }),
    };
    let (rejected, message) = partial
        .map_err(|error| SendError::invalid(format!("the answer is not OTLP: {error}")))?
        .unwrap_or_default();
    Ok(Accepted {
        rejected: u64::try_from(rejected).unwrap_or(0),
        message: shorten(&message),
    })
}

/// Judges a gRPC status other than OK, of a request that was packed so.
pub(super) fn grpc_error(status: &Status, packed: Compression) -> SendError {
    // Only errors made on this side of the wire have a source.
    if let Some(source) = status.source() {
        let answer = causes(source).find_map(<dyn Error>::downcast_ref::<NotGrpc>);
        if let Some(answer) = answer {
            return not_grpc(answer);
        }
        let timed_out = causes(source).any(<dyn Error>::is::<tonic::TimeoutExpired>);
        return if timed_out {
            SendError::new(ExportFailure::Timeout, Retry::Backoff, status.message())
        } else {
            SendError::connection(source)
        };
    }
    if is_unreadable(status, packed) {
        return SendError::invalid(status.message());
    }
    let delay = retry_info(status.details());
    let retry = match (status.code(), delay) {
        (Code::ResourceExhausted, None) => Retry::Never,
        (code, delay) if grpc_retryable(code) => after(delay.unwrap_or_default()),
        _ => Retry::Never,
    };
    let detail = format!("{:?} {}", status.code(), status.message());
    SendError::new(grpc_failure(status.code()), retry, detail)
}

/// Whether it is tonic that says so, of an answer too large, or that it could not unpack or read. It leaves no other mark.
fn is_unreadable(status: &Status, packed: Compression) -> bool {
    let says = |text| status.message().contains(text);
    match status.code() {
        Code::OutOfRange => says("decoded message length too large"),
        Code::ResourceExhausted => says("exceeded while decompressing message"),
        // What is packed as the request was is taken: of that it is the receiver's word.
        Code::Unimplemented => {
            let ours = match packed {
                Compression::None => None,
                Compression::Gzip => Some("`gzip`"),
                Compression::Zstd => Some("`zstd`"),
            };
            says("Content is compressed with") && !ours.is_some_and(says)
        }
        Code::Internal => says("while receiving response with status"),
        _ => false,
    }
}

/// Judges what came in place of a gRPC answer: by its HTTP status, which gRPC's own table of them would have tried again in the
/// same cases.
fn not_grpc(answer: &NotGrpc) -> SendError {
    let text = answer.to_string();
    if answer.status.is_success() {
        return SendError::invalid(text);
    }
    let retry_after = answer.retry_after.as_ref();
    http_error(
        answer.status,
        retry_after,
        SystemTime::now(),
        text.as_bytes(),
    )
}

fn grpc_retryable(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    )
}

fn grpc_failure(code: Code) -> ExportFailure {
    match code {
        Code::DeadlineExceeded => ExportFailure::Timeout,
        Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
            ExportFailure::Unavailable
        }
        Code::ResourceExhausted => ExportFailure::Throttled,
        Code::Unauthenticated | Code::PermissionDenied => ExportFailure::Unauthorized,
        Code::NotFound | Code::Unimplemented => ExportFailure::NotFound,
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => {
            ExportFailure::Refused
        }
        Code::Ok | Code::Unknown | Code::Internal => ExportFailure::Other,
    }
}

/// Judges an HTTP status outside 2xx. `body` should be a `google.rpc.Status`, and is text where it is not.
pub(super) fn http_error(
    status: StatusCode,
    retry_after: Option<&HeaderValue>,
    now: SystemTime,
    body: &[u8],
) -> SendError {
    let retry = match status.as_u16() {
        429 | 502 | 503 | 504 => after(
            retry_after
                .and_then(|value| parse_retry_after(value, now))
                .or_else(|| retry_info(body))
                .unwrap_or_default(),
        ),
        _ => Retry::Never,
    };
    let failure = match status.as_u16() {
        429 => ExportFailure::Throttled,
        502..=504 => ExportFailure::Unavailable,
        401 | 403 => ExportFailure::Unauthorized,
        404 | 405 => ExportFailure::NotFound,
        400..=499 => ExportFailure::Refused,
        _ => ExportFailure::Other,
    };
    SendError::new(failure, retry, format!("{status} {}", explanation(body)))
}

/// `Retry-After` of RFC 9110: seconds, or a date of any of HTTP's three forms. `None` for anything else.
fn parse_retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn after(delay: Duration) -> Retry {
    if delay.is_zero() {
        Retry::Backoff
    } else {
        Retry::After(delay.min(MAX_RETRY_AFTER))
    }
}

/// The receiver's own words in the body of an HTTP error.
fn explanation(body: &[u8]) -> String {
    match RpcStatus::decode(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(&body[..body.len().min(4 * MAX_DETAIL)]).into_owned(),
    }
}

/// The delay of the `google.rpc.RetryInfo` among a status's details: `None` without one, zero if it names no delay.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice())
        .ok()?
        .retry_delay
        .unwrap_or_default();
    let seconds = Duration::from_secs(u64::try_from(delay.seconds).unwrap_or(0));
    let nanos = Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or(0));
    Some(seconds.saturating_add(nanos))
}

/// One line of printable text, at most [`MAX_DETAIL`] characters.
fn shorten(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_DETAIL)
        .collect()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct ProtoDuration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}
