//! To whoever watches events live: `wellhead events`, through the socket or in the same process.

mod filter;

use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};

pub use self::filter::{Asked, EventFilter, FilterError};
use crate::counters::{Counters, Discard};
use crate::identity::Resource;
use crate::telemetry::live::LiveEvent;

/// Lines a subscriber may be behind before events are left out for it.
const LINES: usize = 4_096;

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

    /// Tells all who want it. `show` has it show its arguments; it is not asked where nobody sees them.
    pub fn publish(
        &mut self,
        event: &mut LiveEvent,
        resource: &Resource,
        mut show: impl FnMut(&mut LiveEvent),
    ) {
        // Subscribers that do not keep up are behind with the same lines.
        let mut line: Option<Arc<str>> = None;
        let counters = &self.counters;
        self.subscriptions.retain(|subscription| {
            if !subscription.filter.wants(event, resource) {
                return true;
            }
            match subscription.lines.try_reserve() {
                Ok(room) => {
                    let line = line.get_or_insert_with(|| {
                        show(event);
                        event.to_json(resource).into()
                    });
                    room.send(Arc::clone(line));
                    true
                }
                Err(TrySendError::Full(())) => {
                    counters.discard(Discard::QueueSubscriberSlow, 1);
                    true
                }
                Err(TrySendError::Closed(())) => false,
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
    fn lines_do_nothing_to_a_terminal() {
        let (subscription, mut lines) = Subscription::new(EventFilter::default());
        let mut subscribers = Subscribers::new(Arc::default());
        subscribers.add(subscription);
        let hostile = "\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{2028}é";
        let resource = Resource {
            attributes: vec![(hostile.into(), Value::Str(hostile.into()))],
            labels: Vec::new(),
        };
        let mut event = LiveEvent {
            time_unix_nano: 7,
            name: "wellhead.process.exec",
            severity: Severity::Info,
            attributes: vec![("process.command_args", Value::List([hostile.into()].into()))],
            arguments: None,
        };
        subscribers.publish(&mut event, &resource, LiveEvent::show_arguments);
        let line = lines.try_recv().expect("a line");
        let written = r"\u001b[2J\u007f\u009b31m\u202e\u2028é";
        assert_eq!(line.matches(written).count(), 3, "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["resource"][hostile], hostile);
        assert_eq!(read["attributes"]["process.command_args"][0], hostile);
    }

    #[test]
    fn subscribers_get_what_they_asked_for() {
        let counters = Arc::new(Counters::default());
        let mut subscribers = Subscribers::new(Arc::clone(&counters));
        let asked = Asked {
            kinds: Some("exec"),
            pod: Some("shop/web"),
            ..Asked::default()
        };
        let filter = EventFilter::parse(&asked).expect("a filter");
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
            arguments: None,
        };
        subscribers.publish(&mut event("wellhead.process.exec"), &resource("db"), |_| ());
        subscribers.publish(
            &mut event("wellhead.process.exit"),
            &resource("web"),
            |_| (),
        );
        subscribers.publish(
            &mut event("wellhead.process.exec"),
            &resource("web"),
            |_| (),
        );
        assert_eq!(
            &*lines.try_recv().expect("a line"),
            r#"{"time_unix_nano":7,"name":"wellhead.process.exec","resource":{"k8s.namespace.name":"shop","k8s.pod.name":"web"},"attributes":{"process.pid":3}}"#
        );
        assert!(lines.try_recv().is_err());
        let mut seen = 0;
        for _ in 0..=LINES {
            subscribers.publish(
                &mut event("wellhead.process.exec"),
                &resource("web"),
                |_| seen += 1,
            );
        }
        assert_eq!(counters.discards(Discard::QueueSubscriberSlow), 1);
        // To look for secrets in what nobody sees would be in vain.
        assert_eq!(seen, LINES);
        drop(lines);
        subscribers.publish(
            &mut event("wellhead.process.exec"),
            &resource("web"),
            |_| (),
        );
        assert!(subscribers.is_empty());
    }
}
