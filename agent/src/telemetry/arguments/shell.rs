//! A command line, taken apart as a shell does.

use std::borrow::Cow;
use std::ops::Range;

/// What a command line is made of.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Word(Word<'a>),
    /// A simple command ends here; what it writes goes to the next, or does not.
    End {
        piped: bool,
    },
}

/// A word without its quotes.
#[derive(Debug)]
pub(super) struct Word<'a> {
    pub(super) text: Cow<'a, str>,
    /// Where it stands, quotes included.
    pub(super) range: Range<usize>,
    /// The name of a file to read or write.
    pub(super) redirected: bool,
    /// All or some of it is in single quotes: `$` is only a character.
    pub(super) literal: bool,
    pieces: Vec<Piece>,
}

/// What is the same in a word and in the command line but for where it stands.
#[derive(Clone, Debug)]
struct Piece {
    /// In the word.
    at: usize,
    /// In the command line.
    range: Range<usize>,
    /// With the quotes, if it is quoted.
    quotes: Option<usize>,
}

impl Word<'_> {
    pub(super) fn is_quoted(&self) -> bool {
        self.pieces.iter().any(|piece| piece.quotes.is_some())
    }

    /// Where a stretch of the word stands in the command line. If it begins in other quotes than it ends, these are
    /// part of it, so that what is left has none that do not close.
    pub(super) fn place(&self, part: &Range<usize>) -> Range<usize> {
        if self.pieces.is_empty() {
            return self.range.start + part.start..self.range.start + part.end;
        }
        let piece_at = |at: usize| {
            let next = self.pieces.partition_point(|piece| piece.at <= at);
            &self.pieces[next.saturating_sub(1)]
        };
        let (first, last) = (piece_at(part.start), piece_at(part.end.saturating_sub(1)));
        let same = first.quotes == last.quotes;
        let start = match first.quotes {
            Some(open) if !same => open,
            // Of an escaped character all.
            _ => (first.range.start + (part.start - first.at)).min(first.range.end),
        };
        let end = match last.quotes {
            Some(open) if !same => self.quotes_end(open),
            _ => (last.range.start + (part.end - last.at)).min(last.range.end),
        };
        let escaped = last.range.len() > self.length(last);
        start..if escaped {
            end.max(last.range.end)
        } else {
            end
        }
    }

    /// How much of the word a piece is. An escaped character takes a backslash more in the command line.
    fn length(&self, piece: &Piece) -> usize {
        let next = self.pieces.partition_point(|other| other.at <= piece.at);
        let end = self
            .pieces
            .get(next)
            .map_or(self.text.len(), |next| next.at);
        end - piece.at
    }

    /// Past the quote that closes what was opened there.
    fn quotes_end(&self, open: usize) -> usize {
        let last = self
            .pieces
            .iter()
            .rev()
            .find(|piece| piece.quotes == Some(open));
        last.map_or(self.range.end, |piece| {
            (piece.range.end + 1).min(self.range.end)
        })
    }
}

/// The parts of a command line. Quotes that do not close end with it.
pub(super) struct Parts<'a> {
    text: &'a str,
    at: usize,
    comment: bool,
    /// It may be a command line, or any text: operators only count beside white space.
    loose: bool,
    redirected: bool,
}

pub(super) fn parts(text: &str, loose: bool) -> Parts<'_> {
    Parts {
        text,
        at: 0,
        comment: false,
        loose,
        redirected: false,
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let bytes = self.text.as_bytes();
        loop {
            let byte = *bytes.get(self.at)?;
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.comment = false;
                    return Some(Part::End { piped: false });
                }
                b'|' | b'&' | b';' | b'<' | b'>' if !self.stands_apart(byte) => {
                    return Some(Part::Word(self.word()));
                }
                b'|' | b'&' | b';' | b'(' | b')' | b'`' => {
                    let run = self.run(byte);
                    self.at += run;
                    let piped = byte == b'|' && run == 1;
                    return Some(Part::End { piped });
                }
                b'<' | b'>' => {
                    let run = self.run(byte);
                    self.at += run;
                    // After `<<<` stands the text itself.
                    self.redirected = run < 3;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                _ => return Some(Part::Word(self.word())),
            }
        }
    }
}

/// A word as it is being read.
struct Reader {
    text: Option<String>,
    pieces: Vec<Piece>,
    literal: bool,
}

impl<'a> Parts<'a> {
    fn run(&self, byte: u8) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        rest.iter().take_while(|next| **next == byte).count()
    }

    /// Whether an operator that begins a word is one.
    fn stands_apart(&self, byte: u8) -> bool {
        let next = self.text.as_bytes().get(self.at + self.run(byte));
        !self.loose || next.is_none_or(u8::is_ascii_whitespace)
    }

    /// Whether an operator in a word ends it.
    fn parts_here(&self) -> bool {
        let next = self.text.as_bytes().get(self.at + 1);
        !self.loose || next.is_none_or(u8::is_ascii_whitespace)
    }

    fn word(&mut self) -> Word<'a> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes[start] == b'#' {
            self.comment = true;
        }
        let mut reader = Reader {
            text: None,
            pieces: Vec::new(),
            literal: false,
        };
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => break,
                b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>' | b'`' if self.parts_here() => break,
                b'\'' | b'"' if !self.comment => self.quoted(start, byte, &mut reader),
                b'\\' if !self.comment && self.at + 1 < bytes.len() => {
                    let length = self.text[self.at + 1..]
                        .chars()
                        .next()
                        .map_or(0, char::len_utf8);
                    let range = self.at..self.at + 1 + length;
                    self.escaped(start, range, None, &mut reader);
                }
                _ => {
                    let plain = |byte: &u8| {
                        !b" \t\r\n|&;()<>`'\"\\".contains(byte)
                            || self.comment && b"'\"\\".contains(byte)
                    };
                    let length = bytes[self.at..]
                        .iter()
                        .take_while(|byte| plain(byte))
                        .count()
                        .max(1);
                    let range = self.at..self.at + length;
                    if let Some(text) = &mut reader.text {
                        reader.pieces.push(Piece {
                            at: text.len(),
                            range: range.clone(),
                            quotes: None,
                        });
                        text.push_str(&self.text[range.clone()]);
                    }
                    self.at = range.end;
                }
            }
        }
        Word {
            text: match reader.text {
                Some(text) => Cow::Owned(text),
                None => Cow::Borrowed(&self.text[start..self.at]),
            },
            range: start..self.at,
            redirected: std::mem::take(&mut self.redirected),
            literal: reader.literal,
            pieces: reader.pieces,
        }
    }

    /// The text of a word that has turned out not to be what stands in the command line.
    fn owned<'r>(&self, start: usize, reader: &'r mut Reader) -> &'r mut String {
        let before = start..self.at;
        let pieces = &mut reader.pieces;
        reader.text.get_or_insert_with(|| {
            if !before.is_empty() {
                pieces.push(Piece {
                    at: 0,
                    range: before.clone(),
                    quotes: None,
                });
            }
            self.text[before].to_owned()
        })
    }

    fn escaped(
        &mut self,
        start: usize,
        range: Range<usize>,
        quotes: Option<usize>,
        reader: &mut Reader,
    ) {
        let at = self.owned(start, reader).len();
        let character = &self.text[range.start + 1..range.end];
        if character != "\n" {
            reader.pieces.push(Piece {
                at,
                range: range.clone(),
                quotes,
            });
            let dollar = quotes.is_some_and(|open| self.text[..open].ends_with('$'));
            let character = match character {
                "n" | "r" | "t" if dollar => " ",
                other => other,
            };
            self.owned(start, reader).push_str(character);
        }
        self.at = range.end;
    }

    /// `'…'`, `"…"` and `$'…'`.
    fn quoted(&mut self, start: usize, quote: u8, reader: &mut Reader) {
        let bytes = self.text.as_bytes();
        let open = self.at;
        let dollar = open > start && bytes[open - 1] == b'$';
        self.owned(start, reader);
        let raw = quote == b'\'' && !dollar;
        reader.literal |= quote == b'\'';
        self.at += 1;
        while let Some(&byte) = bytes.get(self.at) {
            if byte == quote {
                self.at += 1;
                return;
            }
            let next = bytes.get(self.at + 1);
            let escapes = !raw
                && byte == b'\\'
                && next.is_some_and(|next| dollar || b"$`\"\\\n".contains(next));
            if escapes {
                let length = self.text[self.at + 1..]
                    .chars()
                    .next()
                    .map_or(0, char::len_utf8);
                self.escaped(start, self.at..self.at + 1 + length, Some(open), reader);
                continue;
            }
            let stops = |at: usize| bytes[at] == quote || !raw && bytes[at] == b'\\';
            let end = (self.at + 1..bytes.len())
                .find(|at| stops(*at))
                .unwrap_or(bytes.len());
            let range = self.at..end;
            let at = self.owned(start, reader).len();
            reader.pieces.push(Piece {
                at,
                range: range.clone(),
                quotes: Some(open),
            });
            self.owned(start, reader).push_str(&self.text[range]);
            self.at = end;
        }
    }
}
