//! The attributes that say whose telemetry it is: one `Resource` per container or host slice.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// An attribute value. Texts are equal when they read the same, however they are held.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text.
    Str(Arc<str>),
    /// Text fixed at compile time.
    Static(&'static str),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A list of texts.
    List(Arc<[Arc<str>]>),
}

impl Value {
    /// Text held by the value, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Static(text) => Some(text),
            Self::Int(_) | Self::Bool(_) | Self::List(_) => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            _ => self.as_str().is_some() && self.as_str() == other.as_str(),
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Str(text) => text.hash(state),
            Self::Static(text) => text.hash(state),
            Self::Int(number) => number.hash(state),
            Self::Bool(truth) => truth.hash(state),
            Self::List(texts) => texts.hash(state),
        }
    }
}

/// Who produced a set of telemetry, in the two forms exporters need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// OpenTelemetry Resource attributes, keys unique.
    pub attributes: Vec<(Arc<str>, Value)>,
    /// Prometheus labels put on every sample of this resource, keys unique, no empty values.
    pub labels: Vec<(&'static str, Arc<str>)>,
}

impl Resource {
    /// The text of an attribute; `None` if it is not there or no text.
    pub fn text(&self, key: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| &**name == key);
        found.and_then(|(_, value)| value.as_str())
    }
}

/// Whether a resource is ready to be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// All that will be known is known.
    Ready(Arc<Resource>),
    /// The pod's metadata has not arrived yet; wait instead of exporting half a name.
    Pending,
}
