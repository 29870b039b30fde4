//! Watch events → updates, through whatever the API server does meanwhile.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::ApiResource;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, InitialListStrategy, ListSemantic};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tracing::Span;

use super::failure::{describe, has_expired, is_not_served, is_too_long, refuses_streaming};
use super::guarded::Guarded;
use super::status::KubeStatus;
use super::translate::Translate;
use crate::own_span::own_span;

/// A request that has neither failed nor answered for this long is a watch where nothing happens: connecting may take 30 s.
const QUIET: Duration = Duration::from_secs(31);

/// Objects asked for at a time where lists are not streamed. A page is one line, and one object may have a few megabytes.
const PAGE: u32 = 500;

/// The watch of objects of one kind.
pub struct Watch<T: Translate, B = DefaultBackoff> {
    client: Client,
    translate: T,
    max_objects: usize,
    backoff: B,
    quiet: Duration,
    /// Objects asked for at a time.
    page: u32,
    updates: mpsc::Sender<T::Update>,
    status: watch::Sender<KubeStatus>,
    /// What is being listed, until the list is complete.
    listed: Option<Vec<T::Item>>,
    listing: Span,
    known: HashSet<Arc<str>>,
}

/// How a stream of events ended.
enum End {
    /// The server does not stream lists.
    NoStreaming,
    /// The server does not have the resource.
    NotServed(watcher::Error),
    /// The version to resume from is gone.
    Expired,
    /// Nobody wants updates any more.
    Closed,
}

impl<T: Translate> Watch<T> {
    /// A watch that starts with [`Watch::run`], and the receiving end of its status. At most `max_objects` are told of.
    pub(super) fn start(
        client: Client,
        translate: T,
        max_objects: usize,
        updates: mpsc::Sender<T::Update>,
    ) -> (Self, watch::Receiver<KubeStatus>) {
        let backoff = DefaultBackoff::default();
        Self::with_backoff(client, translate, max_objects, updates, backoff)
    }
}

impl<T: Translate, B: Backoff> Watch<T, B> {
    /// The same with delays of the caller's.
    pub(super) fn with_backoff(
        client: Client,
        translate: T,
        max_objects: usize,
        updates: mpsc::Sender<T::Update>,
        backoff: B,
    ) -> (Self, watch::Receiver<KubeStatus>) {
        let (status, receiver) = watch::channel(KubeStatus::default());
        let watch = Self {
            client,
            translate,
            max_objects,
            backoff,
            quiet: QUIET,
            page: PAGE,
            updates,
            status,
            listed: None,
            listing: Span::none(),
            known: HashSet::new(),
        };
        (watch, receiver)
    }

    /// Watches until the receiver of updates is dropped. Failures are retried, at growing intervals with jitter.
    pub async fn run(mut self) {
        let resources = self.translate.resources();
        let mut chosen = 0;
        let mut strategy = InitialListStrategy::StreamingList;
        while let Some(resource) = resources.get(chosen) {
            match self.follow(resource, strategy.clone()).await {
                End::Closed => return,
                End::Expired => {}
                End::NotServed(error) => {
                    chosen += 1;
                    if let Some(next) = resources.get(chosen) {
                        let (absent, next) = (&resource.api_version, &next.api_version);
                        tracing::info!(absent, next, "the API server does not have this version");
                    } else {
                        // An upgrade may have removed what was served so far, and brought what comes first.
                        chosen = 0;
                        self.note_failure(&error);
                        self.pause().await;
                    }
                }
                End::NoStreaming => {
                    let objects = T::OBJECTS;
                    tracing::info!(
                        objects,
                        "the API server does not stream lists: listing first, then watching"
                    );
                    strategy = InitialListStrategy::ListWatch;
                    self.status
                        .send_modify(|status| status.list_then_watch = true);
                }
            }
        }
    }

    async fn follow(&mut self, resource: &ApiResource, strategy: InitialListStrategy) -> End {
        let mut config = self.translate.selection();
        config.initial_list_strategy = strategy.clone();
        config.page_size = Some(self.page);
        if self.page < PAGE {
            // Otherwise older servers answer with everything at once.
            config.list_semantic = ListSemantic::MostRecent;
        }
        let api: Api<Guarded<T::Content>> = Api::all_with(self.client.clone(), resource);
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
                    if is_not_served(&error) {
                        return End::NotServed(error);
                    }
                    self.note_failure(&error);
                    if is_too_long(&error) && self.page > 1 {
                        self.page /= 2;
                        return End::Expired;
                    }
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
    fn take(&mut self, event: Event<Guarded<T::Content>>) -> Option<T::Update> {
        if matches!(event, Event::Init) {
            // Says only that a list begins; it may still fail.
            self.listed = Some(Vec::new());
            self.listing = own_span!("wellhead.kube.list", wellhead.kind = T::OBJECTS);
            return None;
        }
        self.backoff.reset();
        self.status
            .send_if_modified(|status| !std::mem::replace(&mut status.connected, true));
        match event {
            Event::Init => None,
            Event::InitApply(object) => {
                let item = self.read(object)?;
                let listed = self.listed.get_or_insert_default();
                if !T::matters(&item) {
                    return None;
                }
                if listed.len() < self.max_objects {
                    listed.push(item);
                } else {
                    self.status.send_modify(|status| status.skipped += 1);
                }
                None
            }
            Event::InitDone => Some(self.finish_list()),
            Event::Apply(object) => self.applied(object),
            Event::Delete(object) => self.deleted(&object),
        }
    }

    fn finish_list(&mut self) -> T::Update {
        let items = self.listed.take().unwrap_or_default();
        self.listing = Span::none();
        self.known = items.iter().map(|item| Arc::clone(T::uid(item))).collect();
        let objects = self.known.len();
        self.status.send_modify(|status| {
            status.relists += u64::from(status.listed);
            status.listed = true;
            status.objects = objects;
        });
        self.translate.restarted(items)
    }

    fn applied(&mut self, object: Guarded<T::Content>) -> Option<T::Update> {
        let item = self.read(object)?;
        if !self.known.contains(T::uid(&item)) {
            if !T::matters(&item) {
                return None;
            }
            if self.known.len() >= self.max_objects {
                self.status.send_modify(|status| status.skipped += 1);
                return None;
            }
            self.known.insert(Arc::clone(T::uid(&item)));
        }
        let objects = self.known.len();
        self.status.send_modify(|status| status.objects = objects);
        Some(self.translate.applied(item))
    }

    /// The metadata is enough, so that an object that could not be read can still go.
    fn deleted(&mut self, object: &Guarded<T::Content>) -> Option<T::Update> {
        let uid = object.uid()?;
        let was_known = self.known.remove(&uid);
        let objects = self.known.len();
        self.status.send_modify(|status| {
            status.events += 1;
            status.objects = objects;
        });
        was_known.then(|| self.translate.deleted(uid))
    }

    fn read(&mut self, object: Guarded<T::Content>) -> Option<T::Item> {
        let name = object.shown();
        let item = object.content.and_then(|content| {
            self.translate
                .read(content)
                .ok_or_else(|| "it has no UID, name or namespace".to_owned())
        });
        match item {
            Ok(item) => {
                self.status.send_modify(|status| status.events += 1);
                Some(item)
            }
            Err(error) => {
                let objects = T::OBJECTS;
                tracing::warn!(objects, name, error, "left out what cannot be read");
                self.status.send_modify(|status| status.skipped += 1);
                None
            }
        }
    }

    fn note_failure(&self, error: &watcher::Error) {
        let text = describe(error);
        let objects = T::OBJECTS;
        tracing::warn!(objects, error = text, "watching failed; trying again");
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

#[cfg(test)]
mod tests;
