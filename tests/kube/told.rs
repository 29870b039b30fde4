//! What agents have told their receiver, one after another, added up.

use std::collections::BTreeMap;

use serde_json::Value;
use wellhead_tests::receiver::{Receiver, text};

/// A counter of one container, over all agents that told of it.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) resource: Value,
    pub(crate) metric: String,
    pub(crate) attributes: Value,
    pub(crate) total: u64,
}

impl Series {
    /// An attribute of the Resource; empty if it has none.
    pub(crate) fn of(&self, key: &str) -> &str {
        text(&self.resource, key)
    }

    /// Whether it has all these attributes; an empty text stands for none.
    pub(crate) fn has(&self, attributes: &[(&str, &str)]) -> bool {
        let shown = |key: &str| match &self.attributes[key] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        attributes.iter().all(|(key, value)| shown(key) == *value)
    }
}

/// Of one series what each agent counted, by the time at which it began to.
#[derive(Debug)]
struct Counted {
    resource: Value,
    metric: String,
    attributes: Value,
    by_start: BTreeMap<u64, u64>,
}

/// Reads what arrives.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) receiver: Receiver,
    place: u64,
    counted: BTreeMap<String, Counted>,
    newest_agent: u64,
}

/// Attributes of a Resource that say whose it is. Others may come to be known later.
const IDENTITY: [&str; 5] = [
    "container.id",
    "k8s.pod.uid",
    "k8s.pod.name",
    "k8s.container.name",
    "service.name",
];

impl Told {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            place: 0,
            counted: BTreeMap::new(),
            newest_agent: 0,
        }
    }

    /// All counters, as they stand now.
    pub(crate) fn series(&mut self) -> Vec<Series> {
        for request in self.receiver.requests_after(&mut self.place) {
            for point in request["points"].as_array().into_iter().flatten() {
                self.take(point);
            }
        }
        let counted = self.counted.values();
        let series = counted.map(|one| Series {
            resource: one.resource.clone(),
            metric: one.metric.clone(),
            attributes: one.attributes.clone(),
            total: one.by_start.values().sum(),
        });
        series.collect()
    }

    /// What agents discarded, by where and why: `STAGE/REASON`.
    pub(crate) fn discards(&mut self) -> BTreeMap<String, u64> {
        let mut discards = BTreeMap::<_, u64>::new();
        for one in self.series() {
            if one.metric == "wellhead.agent.discards" && one.total > 0 {
                let part = |key| text(&one.attributes, key);
                let why = format!("{}/{}", part("wellhead.stage"), part("wellhead.reason"));
                *discards.entry(why).or_default() += one.total;
            }
        }
        discards
    }

    /// When the agent that was heard of last began, in nanoseconds since the epoch.
    pub(crate) fn newest_agent(&mut self) -> u64 {
        drop(self.series());
        self.newest_agent
    }

    fn take(&mut self, point: &Value) {
        let Some(total) = point["value"]
            .as_u64()
            .filter(|_| point["monotonic"] == true)
        else {
            return;
        };
        let start = point["start_time_unix_nano"].as_u64().unwrap_or_default();
        if text(point, "name") == "wellhead.agent.records" {
            self.newest_agent = self.newest_agent.max(start);
        }
        let identity = IDENTITY.map(|key| text(&point["resource"], key));
        let key = format!("{identity:?} {} {}", point["name"], point["attributes"]);
        let counted = self.counted.entry(key).or_insert_with(|| Counted {
            resource: Value::Null,
            metric: text(point, "name").to_owned(),
            attributes: point["attributes"].clone(),
            by_start: BTreeMap::new(),
        });
        counted.resource = point["resource"].clone();
        counted.by_start.insert(start, total);
    }
}
