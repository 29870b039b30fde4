//! `target_info`: everything about the agent itself.

use std::borrow::Cow;
use std::fmt;

use super::labels::{push, text_of, value_text};
use super::lines::FamilyLines;
use super::names::{FamilyName, Kind, label_name};
use super::negotiation::Exposition;
use crate::identity::Resource;
use crate::telemetry::snapshot::PointValue;

/// Writes the agent's own resource as the labels of one family, if it has any attribute.
pub(super) fn write(text: &mut String, exposition: Exposition, node: &Resource) -> fmt::Result {
    let mut attributes: Vec<_> = node.attributes.iter().collect();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut labels = Vec::new();
    for (key, value) in attributes {
        push(&mut labels, Cow::Owned(label_name(key)), value_text(value));
    }
    if labels.is_empty() {
        return Ok(());
    }
    let name = FamilyName {
        base: Cow::Borrowed("target"),
        unit: None,
        kind: Kind::Info,
    };
    FamilyLines::begin(text, exposition, &name, "Resource of the agent itself.")?.sample(
        text,
        &text_of(&labels, exposition.names),
        &PointValue::Int(1),
    )
}
