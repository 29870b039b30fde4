//! Command lines: what `sh -c` is told, and what may be one.

use std::ops::Range;

use super::command::{Command, How};
use super::marks::Marks;
use super::shell::{Part, parts};
use super::text::{self, Depth, Further};
use super::values::is_reference;

/// A command line within a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) depth: Depth,
    pub(super) expanded: bool,
    /// It was searched as a whole.
    pub(super) within: bool,
    /// Where in the text it begins.
    pub(super) start: usize,
}

/// Programs that read a secret from the one before them in a pipe, by a flag or always.
const READERS: &[&str] = &[
    "--password-stdin",
    "--passphrase-fd",
    "--stdin",
    "--with-token",
    "--pw-stdin",
    "chpasswd",
    "-S",
];

/// Hides what is secret in the simple commands of a line, as in the arguments of programs.
pub(super) fn mark(line: Line, marks: &mut Marks<'_>) {
    let whole = &marks.text()[line.start..];
    let mut command = Command::new();
    // What the command writes, and what the one before it wrote into a pipe.
    let mut written: Option<Range<usize>> = None;
    let mut piped: Option<Range<usize>> = None;
    for part in parts(whole, line.within) {
        let word = match part {
            Part::End { piped: goes_on } => {
                piped = written.take().filter(|_| goes_on && command.echoes());
                command = Command::new();
                continue;
            }
            Part::Word(word) => word,
        };
        let how = How {
            depth: line.depth,
            expanded: line.expanded && !word.literal,
            // Of JSON that nobody quoted the names are.
            bare: !word.is_quoted() || whole[word.range.clone()].ends_with("\":"),
            within: line.within,
        };
        let mut found = Marks::new(&word.text, how.expanded);
        let further = if word.redirected {
            Further::Text
        } else {
            command.argument(how, &mut found)
        };
        text::mark(how, further, &mut found);
        let place = |range: Range<usize>| line.start + range.start..line.start + range.end;
        for mut range in found.into_ranges() {
            if line.within {
                // Of a list that the word ends.
                let value = word.text[range.clone()].trim_end_matches([',', ';', ')', ']', '}']);
                range.end = range.start + value.len();
            }
            if !range.is_empty() {
                marks.hide(place(word.place(&range)));
            }
        }
        if READERS.contains(&&*word.text)
            && let Some(range) = piped.take()
        {
            marks.hide(place(range));
        }
        let named = how.expanded && is_reference(&word.text);
        if command.echoes() && !word.redirected && !named && is_written(&word.text) {
            let all = word.place(&(0..word.text.len()));
            written = Some(match written {
                Some(before) => before.start..word.range.end,
                None => all,
            });
        }
    }
}

/// Not the name of the program, nor its flags and formats.
fn is_written(word: &str) -> bool {
    !(word.starts_with('-')
        || word.ends_with("echo")
        || word.ends_with("printf")
        || word.starts_with("%s"))
}
