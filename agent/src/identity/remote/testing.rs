//! A resolver that says what it is told to say, be it nonsense.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use http::HeaderMap;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use kube::runtime::utils::Backoff;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::body::Body as GrpcBody;
use tonic::codegen::Service;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::protocol::{
    Batch, Body, Delta, Kind, Object, PROTOCOL, Position, SnapshotBegin, SnapshotEnd, WatchRequest,
    WatchResponse, Welcome, WorkloadName,
};

/// What is done for one request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// Nothing is sent any more.
    Hang,
    /// The stream ends with this status.
    Status(u8, &'static str),
}

/// Never waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoDelay;

impl Iterator for NoDelay {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoDelay {
    fn reset(&mut self) {}
}

/// Plays one script for each request, then hangs.
#[derive(Clone, Default)]
pub(super) struct Scripted {
    scripts: Arc<Mutex<VecDeque<Vec<Act>>>>,
    /// What was asked.
    pub(super) requests: Arc<Mutex<Vec<WatchRequest>>>,
}

impl Scripted {
    /// Serves on an address of its own until the test ends.
    pub(super) async fn serve(scripts: Vec<Vec<Act>>) -> (Self, SocketAddr) {
        let scripted = Self {
            scripts: Arc::new(Mutex::new(scripts.into())),
            ..Self::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(listener);
        tokio::spawn(Server::builder().serve_with_incoming(scripted.clone(), incoming));
        (scripted, address)
    }

    async fn answer(self, request: http::Request<GrpcBody>) -> http::Response<GrpcBody> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let request = WatchRequest::decode(body.slice(5..)).unwrap();
        self.requests.lock().unwrap().push(request);
        let script = self.scripts.lock().unwrap().pop_front();
        let acts = script.unwrap_or_else(|| vec![Act::Hang]);
        let frames = stream::iter(acts)
            .chain(stream::iter([Act::Status(0, "")]))
            .then(|act| async move {
                Ok::<_, Infallible>(match act {
                    Act::Send(bytes) => Frame::data(Bytes::from(bytes)),
                    Act::Hang => pending().await,
                    Act::Status(code, message) => {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", u16::from(code).into());
                        trailers.insert("grpc-message", message.parse().unwrap());
                        Frame::trailers(trailers)
                    }
                })
            });
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(GrpcBody::new(StreamBody::new(frames)))
            .unwrap()
    }
}

impl Service<http::Request<GrpcBody>> for Scripted {
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}

/// A message with its length before it.
pub(super) fn framed(message: &[u8]) -> Act {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Act::Send([&[0], &length[..], message].concat())
}

/// A message.
pub(super) fn say(body: Body) -> Act {
    framed(&WatchResponse { body: Some(body) }.encode_to_vec())
}

pub(super) fn welcome(epoch: u64, resumed: bool) -> Body {
    Body::Welcome(Welcome {
        protocol: PROTOCOL,
        epoch,
        resumed,
    })
}

pub(super) fn begin(epoch: u64, version: u64) -> Body {
    Body::SnapshotBegin(SnapshotBegin {
        position: Some(Position { epoch, version }),
        objects: 0,
    })
}

pub(super) fn end() -> Body {
    Body::SnapshotEnd(SnapshotEnd {})
}

/// Pods of these UIDs.
pub(super) fn batch(uids: &[&str]) -> Batch {
    let object = |uid: &&str| Object {
        kind: Kind::Pod.into(),
        uid: (*uid).into(),
        addresses: vec![vec![10, 0, 0, 1]],
        ..Object::default()
    };
    Batch {
        workloads: vec![WorkloadName {
            namespace: "ns".into(),
            name: "web".into(),
            kind: "Deployment".into(),
        }],
        objects: uids.iter().map(object).collect(),
    }
}

pub(super) fn delta(version: u64, uids: &[&str]) -> Body {
    Body::Delta(Delta {
        version,
        changes: Some(batch(uids)),
    })
}

/// A whole snapshot.
pub(super) fn snapshot(epoch: u64, version: u64, uids: &[&str]) -> Vec<Act> {
    vec![
        say(welcome(epoch, false)),
        say(begin(epoch, version)),
        say(Body::Snapshot(batch(uids))),
        say(end()),
    ]
}
