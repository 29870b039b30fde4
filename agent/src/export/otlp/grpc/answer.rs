//! Telling answers that are not gRPC, before tonic reads them as if they were.

use std::{
    error::Error as StdError,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, FutureExt as _};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use thiserror::Error;
use tonic::body::Body;
use tower_service::Service;

use crate::grpc_status::ReadableStatus;

/// What something that stands in the receiver's place answers, a load balancer say.
#[derive(Debug, Error)]
#[error("the answer is not gRPC but {content_type}")]
pub(in super::super) struct NotGrpc {
    pub(in super::super) status: StatusCode,
    pub(in super::super) retry_after: Option<HeaderValue>,
    content_type: String,
}

/// A channel whose answers are gRPC, or errors.
#[derive(Clone, Debug)]
pub(super) struct GrpcOnly(pub(super) ReadableStatus);

impl Service<Request<Body>> for GrpcOnly {
    type Response = Response<Body>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        async move { Ok(judge(answer.await?)?) }.boxed()
    }
}

fn judge(answer: Response<Body>) -> Result<Response<Body>, NotGrpc> {
    let (status, headers) = (answer.status(), answer.headers());
    if headers.contains_key("grpc-status") || status == StatusCode::OK && may_be_grpc(headers) {
        return Ok(answer);
    }
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    Err(NotGrpc {
        status,
        retry_after: headers.get(RETRY_AFTER).cloned(),
        content_type: match content_type {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => "of no content type".to_owned(),
        },
    })
}

/// Whether the content type is gRPC's, or there is none.
fn may_be_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.as_bytes().starts_with(b"application/grpc"))
}
