//! Encoded items of one signal as requests of bounded size, grouped by resource.
//!
//! Each item is encoded once, and a request's size is known before it is put together. How requests are made up: [`wire`](super::wire).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::{
    common,
    wire::{self, ITEMS, field, field_len},
};
use crate::identity::Resource;

/// An item and whose it is.
#[derive(Clone, Debug)]
pub struct Part {
    /// Who produced it.
    pub resource: Arc<Resource>,
    /// The protobuf message.
    pub body: Vec<u8>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The protobuf message.
    pub(super) body: Bytes,
    /// Items in it; never none.
    pub(super) items: u64,
}

/// Items as requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// Each with at least one item.
    pub(super) requests: Vec<Request>,
    /// Items left out because each alone is larger than a request may be.
    pub(super) too_large: u64,
}

/// Puts items into as few requests of at most `limit` bytes as their order within resources allows.
pub(super) fn requests(parts: &[Part], limit: usize) -> Requests {
    let mut result = Requests::default();
    let mut open = Open::default();
    let scope = common::scope().encode_to_vec();
    for (resource, bodies) in by_resource(parts) {
        let mut group = Group::new(common::resource(resource).encode_to_vec(), &scope);
        for body in bodies {
            if open.bytes + field_len(group.len_with(body.len())) > limit {
                let next = Group::new(group.resource.clone(), &scope);
                open.close(std::mem::replace(&mut group, next));
                result.requests.extend(open.finish());
            }
            if field_len(group.len_with(body.len())) > limit {
                result.too_large += 1;
            } else {
                group.add(body);
            }
        }
        open.close(group);
    }
    result.requests.extend(open.finish());
    result
}

/// A request under construction.
#[derive(Default)]
struct Open<'a> {
    groups: Vec<Group<'a>>,
    bytes: usize,
}

impl<'a> Open<'a> {
    fn close(&mut self, group: Group<'a>) {
        if !group.items.is_empty() {
            self.bytes += field_len(group.len_with_bytes(0));
            self.groups.push(group);
        }
    }

    /// `None` if there is nothing in it.
    fn finish(&mut self) -> Option<Request> {
        let Self { groups, bytes } = std::mem::take(self);
        let mut body = BytesMut::with_capacity(bytes);
        for group in &groups {
            group.write(&mut body);
        }
        let items = groups.iter().map(|group| group.items.len() as u64).sum();
        (items > 0).then(|| Request {
            body: body.freeze(),
            items,
        })
    }
}

/// Items of one resource.
struct Group<'a> {
    resource: Vec<u8>,
    scope: &'a [u8],
    items: Vec<&'a [u8]>,
    /// Of all items, as fields.
    item_bytes: usize,
}

impl<'a> Group<'a> {
    fn new(resource: Vec<u8>, scope: &'a [u8]) -> Self {
        Self {
            resource,
            scope,
            items: Vec::new(),
            item_bytes: 0,
        }
    }

    fn add(&mut self, item: &'a [u8]) {
        self.item_bytes += field_len(item.len());
        self.items.push(item);
    }

    /// What it would take up with one more item of this length.
    fn len_with(&self, item: usize) -> usize {
        self.len_with_bytes(field_len(item))
    }

    fn len_with_bytes(&self, more: usize) -> usize {
        wire::group_len(
            self.resource.len(),
            self.scope.len(),
            self.item_bytes + more,
        )
    }

    fn write(&self, out: &mut BytesMut) {
        wire::group(out, &self.resource, self.scope, self.item_bytes, |out| {
            for item in &self.items {
                field(out, ITEMS, item);
            }
        });
    }
}

/// Groups items in order of first appearance. Resources are few and mostly shared, so a search beats a table.
fn by_resource(parts: &[Part]) -> Vec<(&Arc<Resource>, Vec<&[u8]>)> {
    let mut groups: Vec<(&Arc<Resource>, Vec<&[u8]>)> = Vec::new();
    for Part { resource, body } in parts {
        let same = |group: &&mut (&Arc<Resource>, _)| {
            Arc::ptr_eq(group.0, resource) || group.0 == resource
        };
        match groups.iter_mut().find(same) {
            Some((_, bodies)) => bodies.push(body),
            None => groups.push((resource, vec![body])),
        }
    }
    groups
}
