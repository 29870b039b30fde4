//! YAML text into a tree of settings. Only what configuration needs: no anchors, no tags, one document.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::{
    error::Origin,
    node::{Node, Value},
};

/// Deepest nesting that is read; the configuration itself needs four levels.
const NESTING_LIMIT: usize = 32;

/// A problem in the text: where, and what.
type Fault = (Origin, String);

/// A map or list whose end has not been read.
struct Open {
    node: Node,
    /// The key of a map's next value and where it is.
    key: Option<(String, Origin)>,
}

/// Reads one document. `origin` makes the origin of a node from its line and column, counted from 1.
///
/// The tree holds what could be read even when there are faults, and nothing if the document is empty.
pub(super) fn parse(
    text: &str,
    origin: impl Fn(usize, usize) -> Origin,
) -> (Option<Node>, Vec<Fault>) {
    let mut options = Options::default();
    options.block_nesting_limit = NESTING_LIMIT;
    options.flow_nesting_limit = NESTING_LIMIT;
    options.set_emit_comments(false);
    let mut reader = Reader::default();
    for next in Parser::new_from_str_with_options(text.trim_start_matches('\u{feff}'), options) {
        match next {
            Ok((event, span)) => {
                let place = place(&span, &origin);
                if !reader.event(event, place) {
                    break;
                }
            }
            Err(error) => {
                let marker = error.marker();
                let place = origin(marker.line(), marker.col() + 1);
                reader.faults.push((place, invalid(&error.info())));
                break;
            }
        }
    }
    reader.close_all();
    (reader.root, reader.faults)
}

/// What to say of text that is no YAML. Who meets an alias here most likely wrote a pattern.
fn invalid(info: &str) -> String {
    let hint = if info.contains("anchor") || info.contains("alias") {
        "; put a text that begins with `*` in quotes"
    } else {
        ""
    };
    format!("no valid YAML: {info}{hint}")
}

fn place(span: &Span, origin: impl Fn(usize, usize) -> Origin) -> Origin {
    origin(span.start.line(), span.start.col() + 1)
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    faults: Vec<Fault>,
}

impl Reader {
    /// Takes one event; false if reading should stop.
    fn event(&mut self, event: Event<'_>, origin: Origin) -> bool {
        if event.tag().is_some() {
            self.faults.push((
                origin.clone(),
                "tags are not supported; remove it".to_owned(),
            ));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.faults
                        .push((origin, "only one document is allowed in a file".to_owned()));
                    return false;
                }
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, origin),
            Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_)
                if self.wants_key() =>
            {
                self.faults
                    .push((origin, "a key must be plain text".to_owned()));
                return false;
            }
            Event::SequenceStart(..) => self.start(Value::List(Vec::new()), origin),
            Event::MappingStart(..) => self.start(Value::Map(BTreeMap::new()), origin),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) => {
                let message = "aliases are not supported; write the value out";
                self.faults.push((origin, message.to_owned()));
                return false;
            }
            _ => {}
        }
        true
    }

    /// Whether the next node is the key of a map's entry.
    fn wants_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| open.key.is_none() && matches!(open.node.value, Value::Map(_)))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, origin: Origin) {
        if self.wants_key() {
            if let Some(open) = self.open.last_mut() {
                open.key = Some((text.to_owned(), origin));
            }
            return;
        }
        // YAML 1.2 core schema, section 10.3.2.
        let null =
            style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        match self.open.last_mut() {
            // A key without a value is not set.
            Some(Open {
                node:
                    Node {
                        value: Value::Map(_),
                        ..
                    },
                key,
            }) if null => *key = None,
            None if null => {}
            _ => self.value(Node::text(text, origin)),
        }
    }

    fn start(&mut self, value: Value, origin: Origin) {
        self.open.push(Open {
            node: Node { origin, value },
            key: None,
        });
    }

    fn end(&mut self) {
        if let Some(open) = self.open.pop() {
            self.value(open.node);
        }
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.end();
        }
    }

    /// A finished node: an item of the list or the value of the map it is in, or the root.
    fn value(&mut self, mut node: Node) {
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut parent.node.value {
            Value::List(items) => items.push((items.len(), node)),
            Value::Map(entries) => {
                let Some((key, origin)) = parent.key.take() else {
                    return;
                };
                if entries.contains_key(&key) {
                    self.faults
                        .push((origin, format!("`{key}` is given twice")));
                    return;
                }
                node.origin = origin;
                entries.insert(key, node);
            }
            Value::Text(_) => {}
        }
    }
}
