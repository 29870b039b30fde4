//! Everything that is looked for in one argument, whatever stands around it.

use super::command::How;
use super::marks::Marks;
use super::{pairs, phrases, schemes, script, shapes, urls};

/// How many command lines within command lines are looked into.
pub(super) type Depth = u8;

/// What there is to look for in an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Further {
    /// All is said about it.
    Nothing,
    /// Whatever a text may hold.
    Text,
    /// The same, in what is known to be a command line.
    Line,
}

/// Hides what is secret in an argument.
pub(super) fn mark(how: How, further: Further, marks: &mut Marks<'_>) {
    if further == Further::Nothing {
        return;
    }
    let is_script = further == Further::Line;
    let text = marks.text();
    let is_line = (is_script || text.contains(char::is_whitespace)) && how.depth > 0;
    if !how.within {
        shapes::mark(marks);
    }
    // A command line's names and values are those of its words.
    if !(how.within || is_line && is_script) {
        urls::mark(marks);
        schemes::mark(marks);
        pairs::mark(marks);
        phrases::mark(marks);
    }
    if is_line {
        let line = script::Line {
            depth: how.depth - 1,
            expanded: is_script || how.expanded,
            within: !is_script,
            start: if is_script { 0 } else { value_start(text) },
        };
        script::mark(line, marks);
    }
}

/// Past `NAME=`: what is assigned may be a command line.
fn value_start(text: &str) -> usize {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let length = text.bytes().take_while(|byte| name(byte)).count();
    if length > 0 && text[length..].starts_with('=') {
        length + 1
    } else {
        0
    }
}
