//! Every row of the specification's tables of answers.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use proptest::prelude::*;
use prost::Message as _;
use tonic::{Code, Status};

use super::{
    super::outcome::{
        Accepted, MAX_DETAIL, MAX_RETRY_AFTER, Retry,
        Retry::{After, Backoff, Never},
        RpcStatus, accepted, grpc_error, http_error,
    },
    support::retry_details,
};
use crate::counters::{ExportFailure, Signal};
use crate::export::otlp::settings::Compression;

#[test]
fn grpc_codes() {
    const fn seconds(n: u64) -> Retry {
        After(Duration::from_secs(n))
    }
    // (code, without RetryInfo, with RetryInfo of 7 s)
    for (code, plain, delayed, failure) in [
        (Code::Cancelled, Backoff, seconds(7), "unavailable"),
        (Code::DeadlineExceeded, Backoff, seconds(7), "timeout"),
        (Code::Aborted, Backoff, seconds(7), "unavailable"),
        (Code::OutOfRange, Backoff, seconds(7), "unavailable"),
        (Code::Unavailable, Backoff, seconds(7), "unavailable"),
        (Code::DataLoss, Backoff, seconds(7), "unavailable"),
        (Code::ResourceExhausted, Never, seconds(7), "throttled"),
        (Code::Unknown, Never, Never, "_OTHER"),
        (Code::InvalidArgument, Never, Never, "refused"),
        (Code::NotFound, Never, Never, "not_found"),
        (Code::AlreadyExists, Never, Never, "refused"),
        (Code::PermissionDenied, Never, Never, "unauthorized"),
        (Code::Unauthenticated, Never, Never, "unauthorized"),
        (Code::FailedPrecondition, Never, Never, "refused"),
        (Code::Unimplemented, Never, Never, "not_found"),
        (Code::Internal, Never, Never, "_OTHER"),
    ] {
        let error = grpc_error(&Status::new(code, "because"), Compression::None);
        assert_eq!(
            (error.retry, error.failure.as_str()),
            (plain, failure),
            "{code:?}"
        );
        assert!(error.detail.contains("because"), "{error}");
        let status = Status::with_details(code, "", retry_details(7, 0).into());
        assert_eq!(
            grpc_error(&status, Compression::None).retry,
            delayed,
            "{code:?} with RetryInfo"
        );
    }
}

#[test]
fn retry_info_delays() {
    for (details, expected) in [
        (
            retry_details(0, 500_000_000),
            After(Duration::from_millis(500)),
        ),
        (retry_details(0, 0), Backoff),
        (retry_details(-5, -1), Backoff),
        (retry_details(i64::MAX, i32::MAX), After(MAX_RETRY_AFTER)),
        (b"\xff garbage".to_vec(), Never),
        (Vec::new(), Never),
    ] {
        let status = Status::with_details(Code::ResourceExhausted, "", details.clone().into());
        assert_eq!(
            grpc_error(&status, Compression::None).retry,
            expected,
            "{details:?}"
        );
    }
}

#[test]
fn http_statuses() {
    for (code, retry, failure) in [
        (429, Backoff, "throttled"),
        (502, Backoff, "unavailable"),
        (503, Backoff, "unavailable"),
        (504, Backoff, "unavailable"),
        (400, Never, "refused"),
        (401, Never, "unauthorized"),
        (403, Never, "unauthorized"),
        (404, Never, "not_found"),
        (405, Never, "not_found"),
        (408, Never, "refused"),
        (413, Never, "refused"),
        (500, Never, "_OTHER"),
        (501, Never, "_OTHER"),
        (505, Never, "_OTHER"),
        (302, Never, "_OTHER"),
    ] {
        let error = http_error(StatusCode::from_u16(code).unwrap(), None, UNIX_EPOCH, b"");
        assert_eq!(
            (error.retry, error.failure.as_str()),
            (retry, failure),
            "{code}"
        );
    }
}

#[test]
fn http_retry_after() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
    for (value, expected) in [
        ("3", After(Duration::from_secs(3))),
        (" 3 ", After(Duration::from_secs(3))),
        ("0", Backoff),
        ("86400", After(MAX_RETRY_AFTER)),
        ("18446744073709551615", After(MAX_RETRY_AFTER)),
        ("-1", Backoff),
        ("soon", Backoff),
        (
            "Sun, 06 Nov 1994 08:49:57 GMT",
            After(Duration::from_secs(20)),
        ),
        (
            "Sunday, 06-Nov-94 08:49:57 GMT",
            After(Duration::from_secs(20)),
        ),
        ("Sun Nov  6 08:49:57 1994", After(Duration::from_secs(20))),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Backoff),
    ] {
        let header = HeaderValue::from_static(value);
        let error = http_error(StatusCode::SERVICE_UNAVAILABLE, Some(&header), now, b"");
        assert_eq!(error.retry, expected, "{value:?}");
        let error = http_error(StatusCode::BAD_REQUEST, Some(&header), now, b"");
        assert_eq!(error.retry, Never, "{value:?}");
    }
}

#[test]
fn http_bodies_explain() {
    let status = RpcStatus {
        code: 3,
        message: "no tenant".to_owned(),
        details: Vec::new(),
    };
    for (body, expected) in [
        (status.encode_to_vec(), "400 Bad Request no tenant"),
        (b"plain\ntext".to_vec(), "400 Bad Request plain text"),
        (Vec::new(), "400 Bad Request"),
    ] {
        let error = http_error(StatusCode::BAD_REQUEST, None, UNIX_EPOCH, &body);
        assert_eq!(error.detail, expected);
    }
    let error = http_error(
        StatusCode::BAD_REQUEST,
        None,
        UNIX_EPOCH,
        &vec![b'x'; 1 << 20],
    );
    assert_eq!(error.detail.chars().count(), MAX_DETAIL);
}

#[test]
fn partial_success() {
    let metrics = |rejected| {
        let partial = ExportMetricsPartialSuccess {
            rejected_data_points: rejected,
            error_message: "why".to_owned(),
        };
        ExportMetricsServiceResponse {
            partial_success: Some(partial),
        }
        .encode_to_vec()
    };
    let partial = ExportTracePartialSuccess {
        rejected_spans: 2,
        error_message: String::new(),
    };
    let traces = ExportTraceServiceResponse {
        partial_success: Some(partial),
    }
    .encode_to_vec();
    for (signal, body, rejected, message) in [
        (Signal::Metrics, Vec::new(), 0, ""),
        (Signal::Traces, Vec::new(), 0, ""),
        (Signal::Metrics, metrics(5), 5, "why"),
        (Signal::Metrics, metrics(0), 0, "why"),
        (Signal::Metrics, metrics(-1), 0, "why"),
        (Signal::Traces, traces, 2, ""),
    ] {
        let expected = Accepted {
            rejected,
            message: message.to_owned(),
        };
        assert_eq!(accepted(signal, &body), Ok(expected));
    }
    let error = accepted(Signal::Metrics, b"<html>").unwrap_err();
    assert_eq!(
        (error.failure, error.retry),
        (ExportFailure::InvalidResponse, Never)
    );
}

proptest! {
    #[test]
    fn whatever_comes_is_judged(body: Vec<u8>, code in 100_u16..1000, header: Vec<u8>) {
        let status = StatusCode::from_u16(code).unwrap();
        let header = HeaderValue::from_bytes(&header).ok();
        let error = http_error(status, header.as_ref(), UNIX_EPOCH, &body);
        prop_assert!(error.detail.chars().count() <= MAX_DETAIL);
        let status = Status::with_details(Code::ResourceExhausted, "", body.clone().into());
        if let After(delay) = grpc_error(&status, Compression::None).retry {
            prop_assert!(delay <= MAX_RETRY_AFTER);
        }
        drop(accepted(Signal::Traces, &body));
    }
}
