//! Arguments of processes, with secrets taken out.
//!
//! What is secret becomes `[redacted]`; names, and everything else, stay. The arguments are gone through once, in their
//! order:
//!
//! - `command` knows what an argument is because of those before it: the value of a flag whose name says so (`names`), of one
//!   that the program is known by, or what stands where the program takes a secret (`programs`).
//! - `text` then looks for what is secret in the argument itself: values by their names in assignments, queries, JSON,
//!   YAML, headers and connection strings (`pairs`); what SQL and the like say in words (`phrases`); credentials in URLs
//!   (`urls`); what follows `Bearer` (`schemes`); tokens, private keys and hashes by their look (`shapes`).
//! - An argument that is a command line (`sh -c`), or may be one because it has white space, is taken apart as a shell does
//!   (`shell`), and each of its simple commands is gone through in the same way (`script`).
//!
//! Rules only mark stretches of a text (`marks`), so that they may overlap. When in doubt, what may be a secret is one.
//! A name counts by its words: `--token` and `dbToken` name a secret, `--token-file` and `tokenizer` do not.
//!
//! All of it takes time and room in proportion to the arguments: rules go forward only, and look back and ahead by no more
//! than a fixed number of bytes; command lines within command lines are looked into to a fixed depth.
//! `docs/redaction.md` tells users; `cases.txt` has several hundred examples.

mod command;
mod flags;
mod key_lines;
mod marks;
mod names;
mod pairs;
mod phrases;
mod programs;
mod schemes;
mod script;
mod shapes;
mod shell;
#[cfg(test)]
mod tests;
mod text;
mod urls;
mod values;
mod words;

use std::sync::Arc;

use crate::identity::Value;
use command::{Command, How};
use marks::Marks;

/// How many command lines within command lines are looked into: `ssh host "sh -c 'mysql -p…'"`.
const DEPTH: text::Depth = 4;

/// So often it is looked again at what rules made of an argument.
const OVERLAPS: usize = 2;

/// How much of the arguments is shown: `process.args`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    Off,
    /// Everything but what looks like a secret.
    #[default]
    Redacted,
    /// Everything.
    Full,
}

/// Arguments as the kernel told them, and how they are to be shown. To look for secrets takes time, so that it is done for
/// what somebody sees.
#[derive(Clone, Debug)]
pub struct Withheld {
    bytes: Box<[u8]>,
    shown: Arguments,
}

impl Withheld {
    /// The arguments of an exec record, each ended by NUL, unless none are to be shown.
    pub fn new(arguments: &[u8], shown: Arguments) -> Option<Self> {
        let is_told = shown != Arguments::Off && !arguments.is_empty();
        is_told.then(|| Self {
            bytes: arguments.into(),
            shown,
        })
    }

    /// How many bytes would be looked through.
    pub fn to_search(&self) -> usize {
        match self.shown {
            Arguments::Redacted => self.bytes.len(),
            Arguments::Off | Arguments::Full => 0,
        }
    }

    /// `process.command_args`.
    ///
    /// Bytes that are not UTF-8 are replaced. The last argument of a cut record may itself be cut.
    pub(super) fn show(&self) -> Value {
        let bytes = self.bytes.strip_suffix(b"\0").unwrap_or(&self.bytes);
        let mut command = Command::new();
        let texts = bytes.split(|byte| *byte == 0).map(|argument| -> Arc<str> {
            let text = String::from_utf8_lossy(argument);
            if self.shown == Arguments::Full {
                return text.into();
            }
            redacted(&text, &mut command).into()
        });
        Value::List(texts.collect())
    }
}

fn redacted(argument: &str, command: &mut Command) -> String {
    let how = How {
        depth: DEPTH,
        expanded: false,
        bare: false,
        within: false,
    };
    let mut marks = Marks::new(argument, how.expanded);
    let further = command.argument(how, &mut marks);
    text::mark(how, further, &mut marks);
    let mut shown = marks.redacted();
    // Where two rules overlap, one may have hidden what ends the other's value.
    for _ in 0..OVERLAPS {
        if shown.len() == argument.len() && shown == argument {
            break;
        }
        let mut marks = Marks::new(&shown, how.expanded);
        text::mark(how, further, &mut marks);
        let again = marks.redacted();
        if again == shown {
            break;
        }
        shown = again;
    }
    shown
}
