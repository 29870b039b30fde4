//! The labels of samples as text, so that the same text means the same labels.

use std::borrow::Cow;
use std::sync::Arc;

use super::escaping::Escaping;
use super::lines::{Quotes, push_escaped};
use super::page::Scope;
use crate::identity::{Resource, Value};
use crate::telemetry::catalogue::{Attr, SCHEMA_URL};
use crate::telemetry::snapshot::{Point, Snapshot};

/// Labels by name, in the order they are written; names are unique, no value is empty.
type List<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Writes the labels of a snapshot's points. Those of resources, which many points share, are written once.
#[derive(Debug)]
pub(super) struct Labels {
    resources: Vec<(Arc<Resource>, String)>,
    scope: String,
    names: Escaping,
}

impl Labels {
    pub(super) fn new(snapshot: &Snapshot, scope: Scope, names: Escaping) -> Self {
        let written = |resource: &Arc<Resource>| {
            let mut list = List::new();
            push_resource(&mut list, resource);
            (Arc::clone(resource), text_of(&list, names))
        };
        Self {
            resources: snapshot.resources.iter().map(written).collect(),
            scope: scope_text(scope, names),
            names,
        }
    }

    /// The labels of a point, without braces.
    pub(super) fn of(&self, point: &Point) -> String {
        let mut text = String::new();
        self.push(&mut text, point);
        text
    }

    /// Containers of one name follow each other in a pod, so the newest alone is shown: a restart then looks
    /// like the reset of a counter it is. Their sum would fall, and be taken for a reset to all that is left,
    /// when the old container's series expires.
    pub(super) fn is_container(&self, point: &Point) -> bool {
        let resource = self.resources.get(point.resource);
        resource.is_some_and(|(resource, _)| {
            let mut labels = resource.labels.iter();
            labels.any(|(name, _)| *name == "k8s_container_name")
        })
    }

    /// Appends them.
    pub(super) fn push(&self, text: &mut String, point: &Point) {
        let before = text.len();
        match self.resources.get(point.resource) {
            Some((resource, _)) if clashes(resource, point) => {
                let mut list = List::new();
                push_resource(&mut list, resource);
                push_attributes(&mut list, point);
                text.push_str(&text_of(&list, self.names));
            }
            Some((_, resource)) => {
                text.push_str(resource);
                self.push_all(text, before, point);
            }
            None => self.push_all(text, before, point),
        }
        if !self.scope.is_empty() {
            separate(text, before);
            text.push_str(&self.scope);
        }
    }

    /// Appends the attributes of a point to labels that begin at `before`.
    fn push_all(&self, text: &mut String, before: usize, point: &Point) {
        for (attribute, value) in point.attributes.iter() {
            let value = value_text(value);
            if !value.is_empty() {
                separate(text, before);
                push_label(text, &self.names.name(attribute.label()), &value);
            }
        }
    }
}

/// Whether an attribute has the name of a label of the resource.
fn clashes(resource: &Resource, point: &Point) -> bool {
    let mut attributes = point.attributes.iter();
    attributes.any(|(attribute, _)| {
        let label = attribute.label();
        resource.labels.iter().any(|(name, _)| *name == label)
    })
}

fn separate(text: &mut String, before: usize) {
    if text.len() > before {
        text.push(',');
    }
}

fn push_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    push_escaped(text, value, Quotes::Escaped);
    text.push('"');
}

/// Labels as they are written.
pub(super) fn text_of(list: &[(Cow<'_, str>, Cow<'_, str>)], names: Escaping) -> String {
    let mut text = String::new();
    for (name, value) in list {
        separate(&mut text, 0);
        push_label(&mut text, &names.name(name), value);
    }
    text
}

fn push_resource<'a>(list: &mut List<'a>, resource: &'a Resource) {
    for (name, value) in &resource.labels {
        push(list, Cow::Borrowed(name), Cow::Borrowed(value));
    }
}

fn push_attributes<'a>(list: &mut List<'a>, point: &'a Point) {
    for (attribute, value) in point.attributes.iter() {
        push(
            list,
            Cow::Borrowed(Attr::label(*attribute)),
            value_text(value),
        );
    }
}

/// An empty value means the same as no label. Values of keys that become the same name are joined by `;`, as the
/// compatibility specification asks.
pub(super) fn push<'a>(list: &mut List<'a>, name: Cow<'a, str>, value: Cow<'a, str>) {
    if value.is_empty() {
        return;
    }
    match list.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = format!("{known};{value}").into(),
        None => list.push((name, value)),
    }
}

/// A value as text.
pub(super) fn value_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Str(text) => Cow::Borrowed(text),
        Value::Static(text) => Cow::Borrowed(text),
        Value::Int(number) => number.to_string().into(),
        Value::Bool(truth) => if *truth { "true" } else { "false" }.into(),
        Value::List(texts) => {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            serde_json::Value::from(texts).to_string().into()
        }
    }
}

fn scope_text(scope: Scope, names: Escaping) -> String {
    match scope {
        Scope::Left => String::new(),
        Scope::Shown => text_of(
            &[
                ("otel_scope_name".into(), "wellhead".into()),
                (
                    "otel_scope_version".into(),
                    env!("CARGO_PKG_VERSION").into(),
                ),
                ("otel_scope_schema_url".into(), SCHEMA_URL.into()),
            ],
            names,
        ),
    }
}
