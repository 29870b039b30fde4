//! Whose telemetry a request carries, and how much of it, read from the request itself: so it holds for one that an earlier agent
//! left on disk, too.

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value},
    resource::v1::Resource,
};
use prost::{
    Message as _,
    encoding::{WireType, decode_key, decode_varint},
};

use super::wire::{GROUPS, ITEMS, RESOURCE, SCOPES};
use crate::counters::{Exporter, Volume};

/// The groups of a request, one for each resource. What is no request has none.
pub(super) fn of(request: &[u8]) -> Vec<(Exporter, Volume)> {
    let groups = fields(request).filter(|(number, _)| *number == GROUPS);
    groups.map(|(_, group)| of_group(group)).collect()
}

fn of_group(group: &[u8]) -> (Exporter, Volume) {
    let mut resource = Resource::default();
    let mut items = 0;
    for (number, field) in fields(group) {
        match number {
            RESOURCE => resource = Resource::decode(field).unwrap_or_default(),
            SCOPES => {
                let of_scope = fields(field).filter(|(number, _)| *number == ITEMS);
                items += of_scope.count() as u64;
            }
            _ => {}
        }
    }
    let bytes = group.len() as u64;
    let whose = Exporter {
        namespace: text(&resource.attributes, "k8s.namespace.name").into(),
        service: text(&resource.attributes, "service.name").into(),
    };
    (whose, Volume { bytes, items })
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    match value {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}

/// The fields of a message that have a length, by number, up to the first that is no such field.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let (number, wire_type) = decode_key(&mut message).ok()?;
        if wire_type != WireType::LengthDelimited {
            return None;
        }
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        let (field, rest) = message.split_at_checked(length)?;
        message = rest;
        Some((number, field))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{metrics_request, spans_request};
    use super::*;

    fn check(request: &[u8], expected: &[(&str, u64)]) {
        let found = of(request);
        let told: Vec<_> = found
            .iter()
            .map(|(whose, volume)| (&*whose.service, volume.items))
            .collect();
        assert_eq!(told, expected);
        // A group is a field of the request: its number, and a length of one to three bytes.
        let bytes: u64 = found.iter().map(|(_, volume)| volume.bytes).sum();
        let around = request.len() as u64 - bytes;
        assert!((2..=4).contains(&(around / found.len() as u64)), "{around}");
    }

    #[test]
    fn each_resource_has_its_part() {
        check(
            &spans_request(&["shop", "bank", "shop"]),
            &[("shop", 2), ("bank", 1)],
        );
        // Three points of one metric.
        check(&metrics_request(3), &[("node", 1)]);
    }

    proptest! {
        #[test]
        fn anything_else_is_survived(bytes: Vec<u8>, at in 0_usize..200, with: u8) {
            let _any = of(&bytes);
            let mut request = spans_request(&["shop", "bank"]);
            let at = at % request.len();
            request[at] = with;
            prop_assert!(of(&request).len() <= request.len());
        }
    }
}
