//! Requests as protobuf, written by hand where messages would be built only to be thrown away.
//!
//! Requests of all signals look the same but for the items themselves: a request is a list (1) of groups; a group is a
//! resource (1), a list (2) of scopes and the schema's URL (3); a scope is its name (1), a list (2) of items and the schema's
//! URL (3). So says opentelemetry-proto 1.x, `{metrics,trace,logs}/v1/*.proto`; attributes: `common/v1/common.proto`.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::common::SCHEMA_URL;
use crate::identity::Value;

pub(super) const GROUPS: u32 = 1;
pub(super) const RESOURCE: u32 = 1;
pub(super) const SCOPES: u32 = 2;
const SCOPE: u32 = 1;
pub(super) const ITEMS: u32 = 2;
const SCHEMA: u32 = 3;

/// What a message of so many bytes takes up as a field of another, for fields of numbers below 16, which all here are.
pub(super) fn field_len(length: usize) -> usize {
    key_len(GROUPS) + encoded_len_varint(length as u64) + length
}

/// Begins a field of so many bytes.
pub(super) fn begin(out: &mut impl BufMut, number: u32, length: usize) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Writes a field of bytes, text, or a message that is encoded already.
pub(super) fn field(out: &mut impl BufMut, number: u32, bytes: &[u8]) {
    begin(out, number, bytes.len());
    out.put_slice(bytes);
}

/// What a group with a resource and a scope of these lengths takes up, and fields of items of so many bytes.
pub(super) fn group_len(resource: usize, scope: usize, items: usize) -> usize {
    field_len(resource) + field_len(scoped_len(scope, items)) + field_len(SCHEMA_URL.len())
}

fn scoped_len(scope: usize, items: usize) -> usize {
    field_len(scope) + items + field_len(SCHEMA_URL.len())
}

/// Writes a group of a request; `write_items` writes the fields of its items, `items` bytes.
pub(super) fn group<B: BufMut>(
    out: &mut B,
    resource: &[u8],
    scope: &[u8],
    items: usize,
    write_items: impl FnOnce(&mut B),
) {
    begin(out, GROUPS, group_len(resource.len(), scope.len(), items));
    field(out, RESOURCE, resource);
    begin(out, SCOPES, scoped_len(scope.len(), items));
    field(out, SCOPE, scope);
    write_items(out);
    field(out, SCHEMA, SCHEMA_URL.as_bytes());
    field(out, SCHEMA, SCHEMA_URL.as_bytes());
}

/// Writes a number of eight bytes, zero or not.
pub(super) fn fixed64(out: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::SixtyFourBit, out);
    out.put_u64_le(value);
}

/// Writes a small number.
pub(super) fn varint(out: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

/// Writes an attribute: a key (1) and a value (2).
pub(super) fn attribute(out: &mut impl BufMut, number: u32, key: &str, value: &Value) {
    let length = any_len(value);
    begin(out, number, field_len(key.len()) + field_len(length));
    field(out, 1, key.as_bytes());
    begin(out, 2, length);
    any(out, value);
}

const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const ARRAY: u32 = 5;
const ARRAY_VALUES: u32 = 1;

fn any(out: &mut impl BufMut, value: &Value) {
    match value {
        Value::Str(text) => field(out, STRING, text.as_bytes()),
        Value::Static(text) => field(out, STRING, text.as_bytes()),
        Value::Bool(truth) => varint(out, BOOL, u64::from(*truth)),
        Value::Int(number) => varint(out, INT, number.cast_unsigned()),
        Value::List(items) => {
            begin(out, ARRAY, items.iter().map(|item| item_len(item)).sum());
            for item in items.iter() {
                begin(out, ARRAY_VALUES, field_len(item.len()));
                field(out, STRING, item.as_bytes());
            }
        }
    }
}

fn any_len(value: &Value) -> usize {
    match value {
        Value::Str(text) => field_len(text.len()),
        Value::Static(text) => field_len(text.len()),
        Value::Bool(_) => key_len(BOOL) + 1,
        Value::Int(number) => key_len(INT) + encoded_len_varint(number.cast_unsigned()),
        Value::List(items) => field_len(items.iter().map(|item| item_len(item)).sum()),
    }
}

/// An item of a list, as a field of that.
fn item_len(item: &str) -> usize {
    field_len(field_len(item.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use prost::Message as _;

    use super::*;
    use crate::export::otlp::common;

    #[test]
    fn attributes_are_what_the_messages_say() {
        let list = Value::List(Arc::from([Arc::from(""), Arc::from("b".repeat(200))]));
        let values = [
            Value::Str(Arc::from("")),
            Value::Str(Arc::from("x".repeat(10_000))),
            Value::Static("\"\n\u{1f600}"),
            Value::Int(-1),
            Value::Int(i64::MAX),
            Value::Int(0),
            Value::Bool(false),
            Value::Bool(true),
            Value::List(Arc::from([])),
            list,
        ];
        for value in values {
            let mut written = Vec::new();
            attribute(&mut written, 7, "key", &value);
            let message: KeyValue = common::attribute("key", &value);
            let mut expected = Vec::new();
            field(&mut expected, 7, &message.encode_to_vec());
            assert_eq!(written, expected, "{value:?}");
        }
    }
}
