//! Answers over gRPC without what tonic would not survive. A leaf.

use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use futures::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower_service::Service;

const DETAILS: &str = "grpc-status-details-bin";

/// As tonic reads it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A channel that takes out of answers what cannot be read. tonic (0.14, `Status::from_header_map`) takes it for granted that the
/// details of a status are base64, and panics where they are not.
#[derive(Clone, Debug)]
pub(crate) struct ReadableStatus(pub(crate) Channel);

impl Service<Request<Body>> for ReadableStatus {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        async move { Ok(readable(answer.await?)) }.boxed()
    }
}

/// The status is in the headers, or in the trailers.
fn readable(mut answer: Response<Body>) -> Response<Body> {
    drop_unreadable(answer.headers_mut());
    answer.map(|body| {
        Body::new(body.map_frame(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                drop_unreadable(trailers);
            }
            frame
        }))
    })
}

fn drop_unreadable(headers: &mut HeaderMap) {
    let is_readable = |value: &HeaderValue| BASE64.decode(value.as_bytes()).is_ok();
    if !headers.get_all(DETAILS).iter().all(is_readable) {
        headers.remove(DETAILS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_base64_or_there_are_none() {
        let check = |details: &[u8], stay: bool| {
            let value = HeaderValue::from_bytes(details).unwrap();
            let mut headers = HeaderMap::from_iter([(DETAILS.parse().unwrap(), value)]);
            drop_unreadable(&mut headers);
            assert_eq!(headers.contains_key(DETAILS), stay, "{details:?}");
            // It would panic.
            drop(tonic::Status::from_header_map(&headers));
        };
        check(b"", true);
        check(b"CAE", true);
        check(b"CAE=", true);
        check(b"!!!", false);
        check(b"CAEC_-", false);
        check(b"CAF", false);
        check(b"\xff", false);
    }
}
