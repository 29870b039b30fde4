//! Stretches of a text that are hidden.

use std::ops::Range;

use super::schemes::presented;
use super::values::{is_placeholder, is_reference};

/// What takes a secret's place.
pub(super) const REDACTED: &str = "[redacted]";

/// What of one text is hidden. Rules add to it in any order, and may say the same twice.
pub(super) struct Marks<'a> {
    text: &'a str,
    /// A shell expands the text: `$NAME` stands for something else and tells nothing.
    expanded: bool,
    ranges: Vec<Range<usize>>,
}

impl<'a> Marks<'a> {
    pub(super) fn new(text: &'a str, expanded: bool) -> Self {
        Self {
            text,
            expanded,
            ranges: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Hides bytes of the text. Nothing happens if they say nothing: names of variables, and what is hidden already.
    pub(super) fn hide(&mut self, range: Range<usize>) {
        let range = self.without_splitting(range);
        let Some(hidden) = self.text.get(range.clone()) else {
            debug_assert!(false, "{range:?} of {:?}", self.text);
            return;
        };
        let says_nothing = hidden.is_empty()
            || hidden == REDACTED
            || is_placeholder(hidden)
            || self.expanded && is_reference(presented(hidden));
        if !says_nothing {
            self.ranges.push(range);
        }
    }

    /// The range, and all of a `[redacted]` that it begins or ends in: what was hidden once stays one piece.
    fn without_splitting(&self, range: Range<usize>) -> Range<usize> {
        let around = |at: usize| {
            let from = at.saturating_sub(REDACTED.len() - 1);
            let near = self.text.as_bytes().get(from..)?;
            let near = &near[..near.len().min(at + REDACTED.len() - 1 - from)];
            let found = near
                .windows(REDACTED.len())
                .position(|window| window == REDACTED.as_bytes())?;
            Some(from + found)
        };
        if range.is_empty() {
            return range;
        }
        let start = around(range.start).unwrap_or(range.start);
        let end = around(range.end).map_or(range.end, |found| found + REDACTED.len());
        start..end
    }

    pub(super) fn hide_all(&mut self) {
        self.hide(0..self.text.len());
    }

    pub(super) fn into_ranges(self) -> Vec<Range<usize>> {
        self.ranges
    }

    /// The text with `[redacted]` for each stretch. Stretches that touch become one.
    pub(super) fn redacted(mut self) -> String {
        self.ranges.sort_unstable_by_key(|range| range.start);
        let mut shown = String::with_capacity(self.text.len());
        let mut at = 0;
        let mut ranges = self.ranges.into_iter().peekable();
        while let Some(Range { start, mut end }) = ranges.next() {
            while let Some(next) = ranges.next_if(|next| next.start <= end) {
                end = end.max(next.end);
            }
            // What was hidden before, right beside it.
            while self.text[end..].starts_with(REDACTED) {
                end += REDACTED.len();
                while let Some(next) = ranges.next_if(|next| next.start <= end) {
                    end = end.max(next.end);
                }
            }
            let between = &self.text[at..start];
            shown.push_str(between);
            if !(shown.ends_with(REDACTED) && (between.is_empty() || between.ends_with(REDACTED))) {
                shown.push_str(REDACTED);
            }
            at = end;
        }
        shown.push_str(&self.text[at..]);
        shown
    }
}
