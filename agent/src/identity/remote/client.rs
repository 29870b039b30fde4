//! The client of a resolver: asks, tells what it is told, and asks again.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::client::legacy::connect::HttpConnector;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::{Request, Streaming};

use super::error::RemoteError;
use super::protocol::{MAX_RESPONSE, METHOD, PROTOCOL, Position, WatchRequest, WatchResponse};
use super::session::{News, Session};
use super::settings::RemoteSettings;
use super::status::RemoteStatus;
use crate::causes::chain;
use crate::grpc_status::ReadableStatus;
use crate::identity::cluster::ClusterUpdate;
use crate::lookup::{self, Lookup};
use crate::raw_codec::RawCodec;

/// Nothing came for so long, though a heartbeat is due every ten seconds.
const SILENCE: Duration = Duration::from_secs(35);

/// A wait where the backoff names none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Follows a resolver, whichever of several answers, and goes on where it was when it can.
///
/// What was told stays told while no resolver is there: nothing is ever cleared for that.
pub struct ResolverClient<B = DefaultBackoff> {
    settings: RemoteSettings,
    connector: HttpConnector<Lookup>,
    updates: mpsc::Sender<ClusterUpdate>,
    status: watch::Sender<RemoteStatus>,
    backoff: B,
    silence: Duration,
    /// Everything up to it was told.
    known: Option<Position>,
}

/// Nobody wants updates any more.
struct Closed;

impl ResolverClient {
    /// A client that starts with [`ResolverClient::run`], and the receiving end of its status.
    pub fn new(
        settings: RemoteSettings,
        updates: mpsc::Sender<ClusterUpdate>,
    ) -> (Self, watch::Receiver<RemoteStatus>) {
        Self::with_backoff(settings, updates, DefaultBackoff::default(), SILENCE)
    }
}

impl<B: Backoff> ResolverClient<B> {
    /// The same with delays of the caller's.
    pub(crate) fn with_backoff(
        settings: RemoteSettings,
        updates: mpsc::Sender<ClusterUpdate>,
        backoff: B,
        silence: Duration,
    ) -> (Self, watch::Receiver<RemoteStatus>) {
        let (status, receiver) = watch::channel(RemoteStatus::default());
        let client = Self {
            settings,
            connector: lookup::connector(),
            updates,
            status,
            backoff,
            silence,
            known: None,
        };
        (client, receiver)
    }

    /// Follows until the receiver of updates is dropped. Failures are retried, at growing intervals with jitter.
    pub async fn run(mut self) {
        let updates = self.updates.clone();
        loop {
            let result = tokio::select! {
                () = updates.closed() => return,
                result = self.follow() => result,
            };
            match result {
                Ok(Closed) => return,
                Err(error) => self.note_failure(&error),
            }
            let delay = self.backoff.next().unwrap_or(LONGEST_PAUSE);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = updates.closed() => return,
            }
        }
    }

    async fn follow(&mut self) -> Result<Closed, RemoteError> {
        let mut stream = timeout(self.silence, self.ask())
            .await
            .map_err(|_elapsed| RemoteError::Silent)??;
        let mut session = Session::new(self.known, self.settings.max_objects);
        let skipped_before = self.status.borrow().skipped;
        loop {
            let message = timeout(self.silence, stream.message())
                .await
                .map_err(|_elapsed| RemoteError::Silent)?
                .map_err(|status| RemoteError::Broken(Box::new(status)))?
                .ok_or(RemoteError::Ended)?;
            let bytes = message.len();
            let response = WatchResponse::decode(message).map_err(RemoteError::Decode)?;
            let news = match response.body {
                Some(body) => session.take(body)?,
                // Something that later versions tell.
                None => News::default(),
            };
            self.note_news(&news, bytes, skipped_before + session.skipped());
            for update in news.updates {
                if self.updates.send(update).await.is_err() {
                    return Ok(Closed);
                }
            }
            // Only now: what was not told is to be asked for again.
            if let Some(position) = news.position {
                self.known = Some(position);
                self.backoff.reset();
            }
        }
    }

    async fn ask(&self) -> Result<Streaming<Bytes>, RemoteError> {
        // A new channel looks the name up anew, and may find another replica.
        let channel = self
            .settings
            .endpoint()?
            .connect_with_connector(self.connector.clone())
            .await
            .map_err(RemoteError::Connect)?;
        let mut client = Grpc::new(ReadableStatus(channel)).max_decoding_message_size(MAX_RESPONSE);
        client.ready().await.map_err(RemoteError::Connect)?;
        let request = WatchRequest {
            protocol: PROTOCOL,
            node_name: self.settings.node_name.clone(),
            resume: self.known,
        };
        let request = Request::new(Bytes::from(request.encode_to_vec()));
        let answer = client
            .server_streaming(request, PathAndQuery::from_static(METHOD), RawCodec)
            .await
            .map_err(|status| RemoteError::Refused(Box::new(status)))?;
        Ok(answer.into_inner())
    }

    fn note_news(&self, news: &News, bytes: usize, skipped: u64) {
        self.status.send_modify(|status| {
            status.connected = true;
            status.listed |= news.snapshot;
            status.events += news.events;
            status.snapshots += u64::from(news.snapshot);
            status.resumed += u64::from(news.resumed);
            status.bytes += bytes as u64;
            status.skipped = skipped;
        });
    }

    fn note_failure(&self, error: &RemoteError) {
        let text = chain(error);
        let known = self.known.is_some();
        tracing::warn!(
            error = text,
            known,
            "following the resolver failed; trying again"
        );
        self.status.send_modify(|status| {
            status.connected = false;
            status.errors += 1;
            status.last_error = Some(text.into());
        });
    }
}
