//! Settings before they have types: a tree of texts, each with its origin.
//!
//! Every layer becomes such a tree, so that one piece of code types and checks them all, and every problem
//! can be traced to where it was set. Scalars stay the text that was written: `1.10` is no number here.

use std::{collections::BTreeMap, fmt};

use super::error::Origin;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it was set; for an entry of a map, where its key is.
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// Items with the index they were written at, which stays theirs when others are removed.
    List(Vec<(usize, Node)>),
    Map(BTreeMap<String, Node>),
}

/// A step from a node to one beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A way from the root to a node. Shown as users write it: `peers.cidrs[1].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    /// The path of a key without maps' own keys in it.
    pub(super) fn of(key: &str) -> Self {
        Self(
            key.split('.')
                .map(|name| Step::Key(name.to_owned()))
                .collect(),
        )
    }

    /// The path one key deeper.
    pub(super) fn with(mut self, name: &str) -> Self {
        self.0.push(Step::Key(name.to_owned()));
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if position == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn text(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            origin,
            value: Value::Text(text.into()),
        }
    }

    /// A layer that sets nothing.
    pub(super) fn empty() -> Self {
        Self {
            origin: Origin::Default,
            value: Value::Map(BTreeMap::new()),
        }
    }

    /// `node` at the end of `path`, in maps of its origin.
    pub(super) fn nested<'a>(path: impl DoubleEndedIterator<Item = &'a str>, node: Self) -> Self {
        path.rev().fold(node, |inner, name| Self {
            origin: inner.origin.clone(),
            value: Value::Map(BTreeMap::from([(name.to_owned(), inner)])),
        })
    }

    /// Lays `above` over this: maps are joined key by key, anything else is replaced.
    pub(super) fn lay(&mut self, above: Self) {
        match (&mut self.value, above.value) {
            (Value::Map(below), Value::Map(entries)) => {
                for (key, node) in entries {
                    match below.get_mut(&key) {
                        Some(entry) => entry.lay(node),
                        None => drop(below.insert(key, node)),
                    }
                }
            }
            (value, above_value) => {
                *value = above_value;
                self.origin = above.origin;
            }
        }
    }

    /// The node a step away.
    fn step(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Map(entries), Step::Key(key)) => entries.get(key),
            (Value::List(items), Step::Index(index)) => items
                .iter()
                .find(|(written, _)| written == index)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The node at the end of `path`.
    pub(super) fn get(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| node.step(step))
    }

    /// Where the node at the end of `path` was set, or the nearest one above it.
    pub(super) fn origin(&self, path: &Path) -> Origin {
        let mut node = self;
        for step in &path.0 {
            match node.step(step) {
                Some(next) => node = next,
                None if matches!(node.value, Value::Map(_)) && matches!(step, Step::Key(_)) => {
                    return Origin::Default;
                }
                None => break,
            }
        }
        node.origin.clone()
    }

    /// Takes out the node at the end of `path` or, if there is none, the last one on the way to it.
    /// Returns where it was; nothing if there is nothing to take out.
    pub(super) fn remove(&mut self, path: &Path) -> Option<(Path, Self)> {
        let (first, rest) = path.0.split_first()?;
        let rest = Path(rest.to_vec());
        let found = self.step(first).is_some();
        let below = self.step_mut(first).and_then(|node| node.remove(&rest));
        let (mut way, node) = match below {
            Some(removed) => removed,
            None if found => (Path::default(), self.take(first)?),
            None => return None,
        };
        way.0.insert(0, first.clone());
        Some((way, node))
    }

    fn step_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.value, step) {
            (Value::Map(entries), Step::Key(key)) => entries.get_mut(key),
            (Value::List(items), Step::Index(index)) => items
                .iter_mut()
                .find(|(written, _)| written == index)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    fn take(&mut self, step: &Step) -> Option<Self> {
        match (&mut self.value, step) {
            (Value::Map(entries), Step::Key(key)) => entries.remove(key),
            (Value::List(items), Step::Index(index)) => {
                let position = items.iter().position(|(written, _)| written == index)?;
                Some(items.remove(position).1)
            }
            _ => None,
        }
    }

    /// A path of positions in lists as they are now, as one of indices as they were written.
    pub(super) fn as_written(&self, path: &Path) -> Path {
        let mut node = Some(self);
        let steps = path.0.iter().map(|step| {
            let written = match (node.map(|node| &node.value), step) {
                (Some(Value::List(items)), Step::Index(position)) => items
                    .get(*position)
                    .map_or(*position, |(written, _)| *written),
                (_, Step::Index(position)) => *position,
                (_, Step::Key(key)) => {
                    let step = Step::Key(key.clone());
                    node = node.and_then(|node| node.step(&step));
                    return step;
                }
            };
            let step = Step::Index(written);
            node = node.and_then(|node| node.step(&step));
            step
        });
        Path(steps.collect())
    }

    /// The tree for serde.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(|(_, item)| item.to_json()).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.to_json()))
                .collect(),
        }
    }
}
