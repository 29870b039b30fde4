//! Events as lines for people, in columns. They are made of the lines that programs read, so they are the same wherever those come from.

mod details;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use self::details::{EXECUTABLE, PID, details};
use crate::identity::UNKNOWN_SERVICE;
use crate::printable::{escaped, word};

/// Characters of a container's id that tell it from others, as container engines show them.
const SHORT_ID: usize = 12;

/// A column that becomes wider with what is in it, up to a point: what is longer moves the rest of its own line.
#[derive(Debug)]
struct Column {
    width: usize,
    most: usize,
}

impl Column {
    fn fill(&mut self, text: &str) -> String {
        let length = text.chars().count();
        self.width = self.width.max(length.min(self.most));
        format!("{text:<width$}", width = self.width)
    }
}

/// Makes lines for people. Whatever is told, they have no control characters but the one that ends them.
#[derive(Debug)]
pub struct EventLines {
    zone: TimeZone,
    kind: Column,
    whose: Column,
    process: Column,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Told {
    time_unix_nano: u64,
    name: String,
    #[serde(default)]
    resource: Map<String, Json>,
    #[serde(default)]
    attributes: Map<String, Json>,
}

impl EventLines {
    /// Lines with times as clocks show them in that zone.
    pub fn new(zone: TimeZone) -> Self {
        let column = |width, most| Column { width, most };
        Self {
            zone,
            kind: column(12, 20),
            whose: column(16, 56),
            process: column(12, 24),
        }
    }

    /// The line for an event that is told as a line of JSON. What is no event is shown as it is.
    pub fn line(&mut self, json: &[u8]) -> String {
        let Ok(event) = serde_json::from_slice::<Told>(json) else {
            let text = String::from_utf8_lossy(json);
            return format!("{}\n", escaped(text.trim_end()));
        };
        let kind = event.name.strip_prefix("wellhead.").unwrap_or(&event.name);
        let line = format!(
            "{}  {}  {}  {}  {}",
            self.time(event.time_unix_nano),
            self.kind.fill(&word(kind)),
            self.whose.fill(&whose(&event.resource)),
            self.process.fill(&process(&event.attributes)),
            details(&event.name, &event.attributes),
        );
        format!("{}\n", line.trim_end())
    }

    fn time(&self, unix_nano: u64) -> String {
        let Ok(time) = Timestamp::from_nanosecond(unix_nano.into()) else {
            return unix_nano.to_string();
        };
        let local = time.display_with_offset(self.zone.to_offset(time));
        format!("{local:.3}")
    }
}

/// Pod and container, or what else is known of whose an event is.
fn whose(resource: &Map<String, Json>) -> String {
    let text = |key: &str| resource.get(key).and_then(Json::as_str);
    let joined = |parts: &[Option<&str>]| {
        let words = parts.iter().flatten().map(|part| word(part));
        words.collect::<Vec<_>>().join("/")
    };
    let service = text("service.name").filter(|name| *name != UNKNOWN_SERVICE);
    let id = text("container.id").map(|id| id.get(..SHORT_ID).unwrap_or(id));
    if let Some(pod) = text("k8s.pod.name") {
        let namespace = text("k8s.namespace.name");
        return joined(&[namespace, Some(pod), text("k8s.container.name")]);
    }
    match (text("wellhead.slice"), id.or(service)) {
        (Some("/"), None) => "host".to_owned(),
        // Its own name says no more than it does.
        (Some(slice), Some(name)) if slice.strip_suffix(".slice") != Some(name) => {
            joined(&[Some(slice), Some(name)])
        }
        (Some(slice), _) => joined(&[Some(slice)]),
        (None, Some(name)) => joined(&[Some(name)]),
        (None, None) => "-".to_owned(),
    }
}

/// The program and its process id, as far as there are any.
fn process(attributes: &Map<String, Json>) -> String {
    let name = attributes.get(EXECUTABLE).and_then(Json::as_str);
    let name = name.map(word).unwrap_or_default();
    match attributes.get(PID).and_then(Json::as_u64) {
        Some(pid) => format!("{name}[{pid}]"),
        None if name.is_empty() => "-".to_owned(),
        None => name.into_owned(),
    }
}

#[cfg(test)]
mod tests;
