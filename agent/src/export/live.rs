//! To whoever watches events live: `wellhead events`, through the socket or in the same process.

use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::counters::{Counters, Discard};
use crate::identity::Resource;
use crate::telemetry::catalogue::EVENTS;
use crate::telemetry::live::LiveEvent;

/// Lines a subscriber may be behind before events are left out for it.
const LINES: usize = 4_096;

/// Which events a subscriber wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Full names of events; empty for all.
    pub kinds: Vec<&'static str>,
    /// Namespace and name of a pod.
    pub pod: Option<(String, String)>,
}

/// Why a filter was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// No event is called that.
    #[error("unknown kind of event {given:?}; known are {}", known_kinds())]
    Kind {
        /// As given.
        given: String,
    },
    /// Not `NAMESPACE/NAME`.
    #[error("{given:?} is not NAMESPACE/NAME")]
    Pod {
        /// As given.
        given: String,
    },
}

impl EventFilter {
    /// Reads a filter: kinds as `exec`, `process.exec` or `wellhead.process.exec`, the pod as `namespace/name`.
    ///
    /// # Errors
    /// A kind no event has, or a pod without namespace.
    pub fn parse<'a>(
        kinds: impl IntoIterator<Item = &'a str>,
        pod: Option<&str>,
    ) -> Result<Self, FilterError> {
        let kinds = kinds
            .into_iter()
            .map(event_name)
            .collect::<Result<_, _>>()?;
        let pod = pod.map(|given| {
            let parts = given
                .split_once('/')
                .filter(|(namespace, name)| is_object_name(namespace) && is_object_name(name));
            parts
                .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
                .ok_or_else(|| FilterError::Pod {
                    given: given.to_owned(),
                })
        });
        Ok(Self {
            kinds,
            pod: pod.transpose()?,
        })
    }

    fn wants(&self, event: &LiveEvent, resource: &Resource) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&event.name);
        let has = |key, expected: &str| resource.text(key) == Some(expected);
        kind && self.pod.as_ref().is_none_or(|(namespace, name)| {
            has("k8s.namespace.name", namespace) && has("k8s.pod.name", name)
        })
    }
}

/// Whether Kubernetes could call an object this (RFC 1123 subdomains).
fn is_object_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

fn event_name(given: &str) -> Result<&'static str, FilterError> {
    let matches = |name: &&'static str| {
        *name == given
            || name.strip_prefix("wellhead.") == Some(given)
            || name.rsplit('.').next() == Some(given)
    };
    let name = EVENTS.iter().map(|event| event.name).find(matches);
    name.ok_or_else(|| FilterError::Kind {
        given: given.to_owned(),
    })
}

fn known_kinds() -> String {
    let short = EVENTS
        .iter()
        .filter_map(|event| event.name.strip_prefix("wellhead."));
    short.collect::<Vec<_>>().join(", ")
}

/// A new subscriber.
#[derive(Debug)]
pub struct Subscription {
    filter: EventFilter,
    lines: mpsc::Sender<Arc<str>>,
}

impl Subscription {
    /// A subscription and where its lines arrive.
    pub fn new(filter: EventFilter) -> (Self, mpsc::Receiver<Arc<str>>) {
        let (lines, receiver) = mpsc::channel(LINES);
        (Self { filter, lines }, receiver)
    }
}

/// All subscribers. None of them can slow the others or the pipeline down.
#[derive(Debug)]
pub struct Subscribers {
    subscriptions: Vec<Subscription>,
    counters: Arc<Counters>,
}

impl Subscribers {
    /// Nobody yet.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            subscriptions: Vec::new(),
            counters,
        }
    }

    /// One more.
    pub fn add(&mut self, subscription: Subscription) {
        self.subscriptions.push(subscription);
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// Forgets those that left.
    pub fn sweep(&mut self) {
        self.subscriptions
            .retain(|subscription| !subscription.lines.is_closed());
    }

    /// Tells all who want it.
    pub fn publish(&mut self, event: &LiveEvent, resource: &Resource) {
        // Subscribers that do not keep up are behind with the same lines.
        let mut line: Option<Arc<str>> = None;
        let counters = &self.counters;
        self.subscriptions.retain(|subscription| {
            if !subscription.filter.wants(event, resource) {
                return true;
            }
            let line = line.get_or_insert_with(|| event.to_json(resource).into());
            match subscription.lines.try_send(Arc::clone(line)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    counters.discard(Discard::QueueSubscriberSlow, 1);
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Value;
    use crate::telemetry::live::Severity;

    #[test]
    fn kinds_may_be_given_short() {
        let check = |given, expected| assert_eq!(event_name(given).ok(), expected, "{given}");
        check("exec", Some("wellhead.process.exec"));
        check("tcp.close", Some("wellhead.tcp.close"));
        check("wellhead.tcp.accept", Some("wellhead.tcp.accept"));
        check("process", None);
        check("", None);
    }

    #[test]
    fn pods_need_a_namespace() {
        let check = |given: &str, good: bool| {
            assert_eq!(EventFilter::parse([], Some(given)).is_ok(), good, "{given}");
        };
        check("shop/web", true);
        check("web", false);
        check("/web", false);
        check("shop/", false);
        check("a/b/c", false);
        check("a/b c", false);
        check("a/b&kind=exec", false);
    }

    #[test]
    fn subscribers_get_what_they_asked_for() {
        let counters = Arc::new(Counters::default());
        let mut subscribers = Subscribers::new(Arc::clone(&counters));
        let filter = EventFilter::parse(["exec"], Some("shop/web")).expect("a filter");
        let (subscription, mut lines) = Subscription::new(filter);
        subscribers.add(subscription);
        let resource = |pod: &str| Resource {
            attributes: vec![
                ("k8s.namespace.name".into(), Value::Static("shop")),
                ("k8s.pod.name".into(), Value::Str(pod.into())),
            ],
            labels: Vec::new(),
        };
        let event = |name| LiveEvent {
            time_unix_nano: 7,
            name,
            severity: Severity::Info,
            attributes: vec![("process.pid", Value::Int(3))],
        };
        subscribers.publish(&event("wellhead.process.exec"), &resource("db"));
        subscribers.publish(&event("wellhead.process.exit"), &resource("web"));
        subscribers.publish(&event("wellhead.process.exec"), &resource("web"));
        assert_eq!(
            &*lines.try_recv().expect("a line"),
            r#"{"time_unix_nano":7,"name":"wellhead.process.exec","resource":{"k8s.namespace.name":"shop","k8s.pod.name":"web"},"attributes":{"process.pid":3}}"#
        );
        assert!(lines.try_recv().is_err());
        for _ in 0..=LINES {
            subscribers.publish(&event("wellhead.process.exec"), &resource("web"));
        }
        assert_eq!(counters.discards(Discard::QueueSubscriberSlow), 1);
        drop(lines);
        subscribers.publish(&event("wellhead.process.exec"), &resource("web"));
        assert!(subscribers.is_empty());
    }
}
