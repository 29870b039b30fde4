//! What metrics and spans share on the wire: attributes, resources, the scope.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    resource::v1,
};

use crate::identity::{Resource, Value};

pub(super) use crate::telemetry::catalogue::SCHEMA_URL;

/// The one scope of everything exported.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "wellhead".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

pub(super) fn resource(resource: &Resource) -> v1::Resource {
    v1::Resource {
        attributes: resource
            .attributes
            .iter()
            .map(|(key, value)| attribute(key, value))
            .collect(),
        ..v1::Resource::default()
    }
}

pub(super) fn attribute(key: &str, value: &Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any_value(value)),
        ..KeyValue::default()
    }
}

fn any_value(value: &Value) -> AnyValue {
    let value = match value {
        Value::Str(text) => any_value::Value::StringValue(text.as_ref().to_owned()),
        Value::Static(text) => any_value::Value::StringValue((*text).to_owned()),
        Value::Int(number) => any_value::Value::IntValue(*number),
        Value::Bool(truth) => any_value::Value::BoolValue(*truth),
        Value::List(items) => any_value::Value::ArrayValue(ArrayValue {
            values: items
                .iter()
                .map(|item| AnyValue {
                    value: Some(any_value::Value::StringValue(item.as_ref().to_owned())),
                })
                .collect(),
        }),
    };
    AnyValue { value: Some(value) }
}
