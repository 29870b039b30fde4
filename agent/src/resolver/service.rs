//! The gRPC service.
//!
//! What generated code would do, less what is not used: messages go out as they were encoded for all.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::future::{BoxFuture, FutureExt as _, ready};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request, Response, Status};

use super::board::Board;
use super::feed::Feed;
use crate::identity::remote::protocol::{MAX_REQUEST, METHOD, PROTOCOL, WatchRequest};
use crate::raw_codec::RawCodec;

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Answers [`METHOD`].
#[derive(Clone, Debug)]
pub(super) struct ResolverService {
    board: Arc<Board>,
    stop: CancellationToken,
}

impl ResolverService {
    /// Tells what is on the board until `stop`.
    pub(super) fn new(board: Arc<Board>, stop: CancellationToken) -> Self {
        Self { board, stop }
    }

    fn watch(&self, request: &Request<Bytes>) -> Result<Messages, Status> {
        let peer = request.remote_addr();
        let WatchRequest {
            protocol,
            node_name,
            resume,
        } = WatchRequest::decode(request.get_ref().clone())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if protocol != PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "this resolver speaks version {PROTOCOL} of the protocol, not {protocol}"
            )));
        }
        if !self.board.is_ready() {
            return Err(Status::unavailable(
                "the first lists of the cluster's objects are not complete",
            ));
        }
        if !self.board.stats.enter(self.board.limits.clients) {
            return Err(Status::resource_exhausted(
                "as many agents are connected as may be",
            ));
        }
        tracing::debug!(node_name, ?peer, ?resume, "an agent asks");
        let feed = Feed::new(Arc::clone(&self.board), resume, self.stop.clone());
        Ok(Box::pin(feed.into_stream()))
    }
}

impl ServerStreamingService<Bytes> for ResolverService {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(self.watch(&request).map(Response::new)).boxed()
    }
}

impl Service<http::Request<Body>> for ResolverService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != METHOD {
            let status = Status::unimplemented("there is no such method");
            return ready(Ok(status.into_http())).boxed();
        }
        let service = self.clone();
        async move {
            let mut grpc =
                Grpc::new(RawCodec).apply_max_message_size_config(Some(MAX_REQUEST), None);
            Ok(grpc.server_streaming(service, request).await)
        }
        .boxed()
    }
}
