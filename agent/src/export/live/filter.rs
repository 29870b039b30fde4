//! Which events a subscriber wants.

use std::sync::Arc;

use crate::config::{InvalidValue, NamespacePattern};
use crate::identity::{Glob, Resource, Value};
use crate::printable::escaped;
use crate::telemetry::catalogue::EVENTS;
use crate::telemetry::live::LiveEvent;
use crate::telemetry::signals::signal_named;

/// The event that has an exit status.
const EXIT: &str = "wellhead.process.exit";

/// The longest name a file can have, and so a program (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// A filter as it is written; what is not there does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Kinds as `exec`, `process.exec` or `wellhead.process.exec`, separated by commas.
    pub kinds: Option<&'a str>,
    /// A namespace, or a pattern of namespaces in which `*` stands for any run of characters.
    pub namespace: Option<&'a str>,
    /// A pod as `namespace/name`.
    pub pod: Option<&'a str>,
    /// The name of a program, or such a pattern of names.
    pub executable: Option<&'a str>,
    /// How a process has to have ended: `failed`, a code or the name of a signal.
    pub exit: Option<&'a str>,
}

/// Which events a subscriber wants: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Full names of events; empty for all.
    kinds: Vec<&'static str>,
    namespace: Option<Glob>,
    /// Namespace and name of a pod.
    pod: Option<(String, String)>,
    executable: Option<Glob>,
    exit: Option<ExitWanted>,
}

/// How a process has to have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ExitWanted {
    /// With another code than 0, or by a signal.
    Failed,
    Code(u8),
    Signal(Arc<str>),
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
    /// No namespace is called that.
    #[error("the namespace {}", escaped(&.0.to_string()))]
    Namespace(#[source] InvalidValue),
    /// Not `NAMESPACE/NAME`.
    #[error("{given:?} is not NAMESPACE/NAME")]
    Pod {
        /// As given.
        given: String,
    },
    /// No program has such a name.
    #[error(
        "the name of a program has {length} bytes; at most {LONGEST_NAME}, which no file's name is longer than"
    )]
    Executable {
        /// Its length.
        length: usize,
    },
    /// Neither a code nor a signal.
    #[error(
        "{given:?} is no way to exit; allowed are `failed` (a code other than 0, or a signal), a code from 0 to 255, and a signal such as `SIGKILL`, `KILL` or `SIG34`"
    )]
    Exit {
        /// As given.
        given: String,
    },
    /// An exit status of events that have none.
    #[error("only `process.exit` tells how a process exited, and is none of the kinds asked for")]
    ExitOfOthers,
}

impl EventFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// A kind no event has, a pod without namespace, a name that nothing can have, or an exit status that is none, or that no kind
    /// asked for has.
    pub fn parse(asked: &Asked<'_>) -> Result<Self, FilterError> {
        let kinds = asked.kinds.into_iter().flat_map(|kinds| kinds.split(','));
        let kinds = kinds.map(str::trim).filter(|kind| !kind.is_empty());
        let kinds: Vec<_> = kinds.map(event_names).collect::<Result<_, _>>()?;
        let kinds = kinds.concat();
        let exit = asked.exit.map(ExitWanted::parse).transpose()?;
        if exit.is_some() && !kinds.is_empty() && !kinds.contains(&EXIT) {
            return Err(FilterError::ExitOfOthers);
        }
        Ok(Self {
            kinds,
            namespace: asked.namespace.map(namespace).transpose()?,
            pod: asked.pod.map(pod).transpose()?,
            executable: asked.executable.map(executable).transpose()?,
            exit,
        })
    }

    /// Whether it wants an event of whoever the resource says.
    pub(super) fn wants(&self, event: &LiveEvent, resource: &Resource) -> bool {
        let text = |key| resource.text(key);
        let in_namespace =
            |glob: &Glob| text("k8s.namespace.name").is_some_and(|name| glob.matches(name));
        let of_pod = |(namespace, name): &(String, String)| {
            text("k8s.namespace.name") == Some(namespace) && text("k8s.pod.name") == Some(name)
        };
        let of_program = |glob: &Glob| {
            let name = attribute(event, "process.executable.name").and_then(Value::as_str);
            name.is_some_and(|name| glob.matches(name))
        };
        (self.kinds.is_empty() || self.kinds.contains(&event.name))
            && self.exit.as_ref().is_none_or(|exit| exit.is_of(event))
            && self.executable.as_ref().is_none_or(of_program)
            && self.pod.as_ref().is_none_or(of_pod)
            && self.namespace.as_ref().is_none_or(in_namespace)
    }
}

impl ExitWanted {
    fn parse(given: &str) -> Result<Self, FilterError> {
        let is_number = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
        let wanted = match given {
            "failed" => Some(Self::Failed),
            _ if is_number => given.parse().ok().map(Self::Code),
            _ => signal_named(given).map(Self::Signal),
        };
        wanted.ok_or_else(|| FilterError::Exit {
            given: given.to_owned(),
        })
    }

    fn is_of(&self, event: &LiveEvent) -> bool {
        if event.name != EXIT {
            return false;
        }
        let code = match attribute(event, "process.exit.code") {
            Some(Value::Int(code)) => Some(*code),
            _ => None,
        };
        let signal = attribute(event, "wellhead.process.signal").and_then(Value::as_str);
        match self {
            Self::Failed => signal.is_some() || code.is_some_and(|code| code != 0),
            Self::Code(wanted) => code == Some(i64::from(*wanted)),
            Self::Signal(wanted) => signal == Some(&**wanted),
        }
    }
}

fn attribute<'a>(event: &'a LiveEvent, key: &str) -> Option<&'a Value> {
    let found = event.attributes.iter().find(|(name, _)| *name == key);
    found.map(|(_, value)| value)
}

/// The events that are called so, wholly, or by their last part: `exit` is that of a process, and that of a container.
fn event_names(given: &str) -> Result<Vec<&'static str>, FilterError> {
    let matches = |name: &&'static str| {
        *name == given
            || name.strip_prefix("wellhead.") == Some(given)
            || name.rsplit('.').next() == Some(given)
    };
    let names = EVENTS.iter().map(|event| event.name).filter(matches);
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return Err(FilterError::Kind {
            given: given.to_owned(),
        });
    }
    Ok(names)
}

fn known_kinds() -> String {
    let short = EVENTS
        .iter()
        .filter_map(|event| event.name.strip_prefix("wellhead."));
    short.collect::<Vec<_>>().join(", ")
}

fn namespace(given: &str) -> Result<Glob, FilterError> {
    let pattern: NamespacePattern = given.parse().map_err(FilterError::Namespace)?;
    Ok(Glob::new(pattern.as_str()))
}

fn pod(given: &str) -> Result<(String, String), FilterError> {
    let parts = given
        .split_once('/')
        .filter(|(namespace, name)| is_object_name(namespace) && is_object_name(name));
    parts
        .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        .ok_or_else(|| FilterError::Pod {
            given: given.to_owned(),
        })
}

/// Whether Kubernetes could call an object this (RFC 1123 subdomains).
fn is_object_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

fn executable(given: &str) -> Result<Glob, FilterError> {
    let length = given.len();
    if length > LONGEST_NAME {
        return Err(FilterError::Executable { length });
    }
    Ok(Glob::new(given))
}

#[cfg(test)]
mod tests;
