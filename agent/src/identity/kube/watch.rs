//! Watch events → [`PodUpdate`]s, through whatever the API server does meanwhile.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, DefaultBackoff, Event, InitialListStrategy};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};

use super::pod::SlimPod;
use super::status::KubeStatus;
use crate::causes::causes;
use crate::identity::pod_info::PodInfo;
use crate::identity::pods::PodUpdate;

/// A request that has neither failed nor answered for this long is a watch on a quiet node: connecting may take 30 s.
const QUIET: Duration = Duration::from_secs(31);

/// A pod that cannot be read must not keep the others from being read.
type Guarded = DeserializeGuard<SlimPod>;

/// The watch of one node's pods.
pub struct PodWatch<B = DefaultBackoff> {
    client: Client,
    node: String,
    max_pods: usize,
    backoff: B,
    quiet: Duration,
    updates: mpsc::Sender<PodUpdate>,
    status: watch::Sender<KubeStatus>,
    /// What is being listed, until the list is complete.
    listed: Option<Vec<PodInfo>>,
    known: HashSet<Arc<str>>,
}

/// How a stream of events ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The server does not stream lists.
    NoStreaming,
    /// The version to resume from is gone.
    Expired,
    /// Nobody wants updates any more.
    Closed,
}

impl PodWatch<DefaultBackoff> {
    /// A watch that starts with [`PodWatch::run`], and the receiving end of its status. At most `max_pods` pods are told of;
    /// `node` is `metadata.name` of this node.
    pub fn new(
        client: Client,
        node: &str,
        max_pods: usize,
        updates: mpsc::Sender<PodUpdate>,
    ) -> (Self, watch::Receiver<KubeStatus>) {
        Self::with_backoff(client, node, max_pods, updates, DefaultBackoff::default())
    }
}

impl<B: Backoff> PodWatch<B> {
    fn with_backoff(
        client: Client,
        node: &str,
        max_pods: usize,
        updates: mpsc::Sender<PodUpdate>,
        backoff: B,
    ) -> (Self, watch::Receiver<KubeStatus>) {
        let (status, receiver) = watch::channel(KubeStatus::default());
        let watch = Self {
            client,
            node: node.to_owned(),
            max_pods,
            backoff,
            quiet: QUIET,
            updates,
            status,
            listed: None,
            known: HashSet::new(),
        };
        (watch, receiver)
    }

    /// Watches until the receiver of updates is dropped. Failures are retried, at growing intervals with jitter.
    pub async fn run(mut self) {
        let mut strategy = InitialListStrategy::StreamingList;
        loop {
            match self.follow(strategy.clone()).await {
                End::Closed => return,
                End::Expired => {}
                End::NoStreaming => {
                    tracing::info!(
                        "the API server does not stream lists: listing pods first, then watching"
                    );
                    strategy = InitialListStrategy::ListWatch;
                    self.status
                        .send_modify(|status| status.list_then_watch = true);
                }
            }
        }
    }

    async fn follow(&mut self, strategy: InitialListStrategy) -> End {
        let mut config = Config::default()
            .fields(&format!("spec.nodeName={}", self.node))
            .any_semantic();
        config.initial_list_strategy = strategy.clone();
        let api: Api<Guarded> = Api::all(self.client.clone());
        let mut events = pin!(watcher::watcher(api, config));
        let updates = self.updates.clone();
        loop {
            let event = tokio::select! {
                () = updates.closed() => return End::Closed,
                event = events.next() => event,
                () = tokio::time::sleep(self.quiet), if !self.status.borrow().connected => {
                    self.status.send_modify(|status| status.connected = true);
                    continue;
                }
            };
            match event {
                Some(Ok(event)) => {
                    if let Some(update) = self.take(event)
                        && updates.send(update).await.is_err()
                    {
                        return End::Closed;
                    }
                }
                Some(Err(error)) => {
                    if strategy == InitialListStrategy::StreamingList && refuses_streaming(&error) {
                        return End::NoStreaming;
                    }
                    self.note_failure(&error);
                    self.pause().await;
                    if has_expired(&error) {
                        return End::Expired;
                    }
                }
                // The watcher never ends by itself.
                None => return End::Expired,
            }
        }
    }

    /// Takes an event in; an update if it completes one.
    fn take(&mut self, event: Event<Guarded>) -> Option<PodUpdate> {
        if matches!(event, Event::Init) {
            // Says only that a list begins; it may still fail.
            self.listed = Some(Vec::new());
            return None;
        }
        self.backoff.reset();
        self.status
            .send_if_modified(|status| !std::mem::replace(&mut status.connected, true));
        match event {
            Event::Init => None,
            Event::InitApply(pod) => {
                let pod = self.read(pod)?;
                let listed = self.listed.get_or_insert_default();
                if listed.len() < self.max_pods {
                    listed.push(pod);
                } else {
                    self.status.send_modify(|status| status.skipped += 1);
                }
                None
            }
            Event::InitDone => Some(self.finish_list()),
            Event::Apply(pod) => self.applied(pod),
            Event::Delete(pod) => self.deleted(&pod),
        }
    }

    fn finish_list(&mut self) -> PodUpdate {
        let pods = self.listed.take().unwrap_or_default();
        self.known = pods.iter().map(|pod| Arc::clone(&pod.uid)).collect();
        let objects = self.known.len();
        self.status.send_modify(|status| {
            status.relists += u64::from(status.listed);
            status.listed = true;
            status.objects = objects;
        });
        PodUpdate::Restarted(pods)
    }

    fn applied(&mut self, pod: Guarded) -> Option<PodUpdate> {
        let pod = self.read(pod)?;
        if self.known.len() >= self.max_pods && !self.known.contains(&pod.uid) {
            self.status.send_modify(|status| status.skipped += 1);
            return None;
        }
        self.known.insert(Arc::clone(&pod.uid));
        let objects = self.known.len();
        self.status.send_modify(|status| status.objects = objects);
        Some(PodUpdate::Applied(Box::new(pod)))
    }

    /// The metadata is enough, so that a pod that could not be read can still go.
    fn deleted(&mut self, pod: &Guarded) -> Option<PodUpdate> {
        let uid: Arc<str> = pod.uid()?.into();
        let was_known = self.known.remove(&uid);
        let objects = self.known.len();
        self.status.send_modify(|status| {
            status.events += 1;
            status.objects = objects;
        });
        was_known.then_some(PodUpdate::Deleted { uid })
    }

    fn read(&self, pod: Guarded) -> Option<PodInfo> {
        let name = pod.name_any();
        let result = pod.0.map_err(|invalid| invalid.error);
        let info = result.and_then(|pod| {
            pod.into_info()
                .ok_or_else(|| "it has no UID, name or namespace".into())
        });
        match info {
            Ok(info) => {
                self.status.send_modify(|status| status.events += 1);
                Some(info)
            }
            Err(error) => {
                tracing::warn!(pod = name, error, "left out a pod that cannot be read");
                self.status.send_modify(|status| status.skipped += 1);
                None
            }
        }
    }

    fn note_failure(&self, error: &watcher::Error) {
        let text = describe(error);
        tracing::warn!(error = text, "watching pods failed; trying again");
        self.status.send_modify(|status| {
            status.connected = false;
            status.errors += 1;
            status.last_error = Some(text.into());
        });
    }

    async fn pause(&mut self) {
        let delay = self.backoff.next().unwrap_or(QUIET);
        let updates = self.updates.clone();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = updates.closed() => {}
        }
    }
}

/// Servers before 1.27 answer 422 to `resourceVersionMatch`, later ones without the feature 422 to `sendInitialEvents`.
fn refuses_streaming(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

/// The watcher lists anew when the server says so within a watch, but would resume forever where it is the answer.
fn has_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

/// kube's own texts show the whole answer where there is one, and not the cause where there is none.
fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        other => with_root_cause(other),
    }
}

fn with_root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let root = causes(error).last();
    match root.map(ToString::to_string) {
        Some(root) if !text.contains(&root) => format!("{text}: {root}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests;
