//! The arguments of one program, one after the other.

use std::ops::Range;

use smallvec::SmallVec;

use super::flags::{
    Stands, is_assignment, is_name, is_script_flag, secret_in, takes_value, value_of,
};
use super::key_lines::KeyLines;
use super::marks::Marks;
use super::names::{Naming, naming};
use super::programs::{Holds, Known, Nature, Place, Program, Takes, base_name};
use super::schemes;
use super::text::{Depth, Further};
use super::values::is_flag;

/// What the next argument is.
#[derive(Clone, Copy, Debug)]
enum Pending {
    None,
    /// The value of a flag that names a secret.
    Value(Naming),
    /// The value after `name:`, in a longer text.
    Member(Naming),
    /// The value of a flag that the program is known by.
    Held(Holds),
    /// A command line.
    Script,
    /// What follows `Authorization:` or `Bearer`.
    Presented(&'static str),
    /// The name of what is set: `set NAME VALUE`.
    Name,
    /// `=`, after a name that stands alone.
    Equals(Naming),
}

/// What the argument before was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// `-H`
    HeaderFlag,
    /// Another flag whose value names no program.
    ValueFlag,
    Other,
}

/// How an argument came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// How many command lines within command lines are still looked into.
    pub(super) depth: Depth,
    /// A shell takes `$NAME` for a variable.
    pub(super) expanded: bool,
    /// It is a word of a longer text, without quotes.
    pub(super) bare: bool,
    /// The longer text was searched as a whole for what does not depend on the arguments before.
    pub(super) within: bool,
}

/// What is known of a program from the arguments so far.
#[derive(Debug)]
pub(super) struct Command {
    begun: bool,
    name_is_next: bool,
    program: Option<&'static Program>,
    nature: Nature,
    places: &'static [&'static Place],
    /// Words of the tables that came up.
    seen: SmallVec<[&'static str; 4]>,
    /// The first of the two words that a place follows.
    before: &'static str,
    /// Arguments to be skipped, to be hidden, and what they hold.
    hiding: Option<(usize, usize, Holds)>,
    pending: Pending,
    last: Last,
    /// `login NAME password …`, as in a .netrc.
    since_login: u8,
    key: KeyLines,
}

impl Command {
    pub(super) fn new() -> Self {
        Self {
            begun: false,
            name_is_next: true,
            program: None,
            nature: Nature::Plain,
            places: &[],
            seen: SmallVec::new(),
            before: "",
            hiding: None,
            pending: Pending::None,
            last: Last::Other,
            since_login: u8::MAX,
            key: KeyLines::Outside,
        }
    }

    /// Whether the program writes its arguments to its output.
    pub(super) fn echoes(&self) -> bool {
        self.nature == Nature::Echoes
    }

    /// Hides what of the next argument is secret because of those before it. What else there is to look for is told.
    pub(super) fn argument(&mut self, how: How, marks: &mut Marks<'_>) -> Further {
        let word = marks.text();
        if self.key.has(word) {
            marks.hide_all();
            return Further::Nothing;
        }
        let last = std::mem::replace(&mut self.last, Last::Other);
        let pending = std::mem::replace(&mut self.pending, Pending::None);
        if let Some(further) = self.expected(pending, how, marks) {
            return further;
        }
        if word.len() > 1 && word.starts_with('-') && word != "--" {
            if self.flag(word, marks) {
                return Further::Nothing;
            }
        } else if !(word.starts_with('/') && self.known_flag(word, marks).is_some()) {
            self.positional(word, how, last, marks);
        }
        if self.nature == Nature::Runs && self.begun {
            Further::Line
        } else {
            Further::Text
        }
    }

    /// Takes an argument for what was expected; nothing if it is something else.
    fn expected(&mut self, pending: Pending, how: How, marks: &mut Marks<'_>) -> Option<Further> {
        let word = marks.text();
        let flag = is_flag(word);
        match pending {
            Pending::Value(_)
            | Pending::Member(_)
            | Pending::Presented(_)
            | Pending::Name
            | Pending::Equals(_)
                if flag =>
            {
                None
            }
            Pending::Script if word.starts_with(['-', '+']) => {
                self.pending = Pending::Script;
                None
            }
            Pending::Script => Some(Further::Line),
            Pending::Value(named) => Some(hide(named.secret_in(word), marks)),
            Pending::Member(named) => {
                let value = word.trim_end_matches([',', ';', '}', ']']);
                Some(hide(named.secret_in(value), marks))
            }
            Pending::Held(holds) => Some(hide(secret_in(holds, word), marks)),
            Pending::Presented(_) if schemes::is_scheme(word) => {
                self.pending = Pending::Presented("bearer");
                Some(Further::Text)
            }
            Pending::Presented(scheme) if schemes::is_presented(scheme, word) => {
                Some(hide(Some(0..word.len()), marks))
            }
            Pending::Name => {
                let named = naming(word);
                let is_name = named.is_secret() && !word.contains('=')
                    // SQL's `SET PASSWORD FOR`
                    && !(how.within && word.eq_ignore_ascii_case("password"));
                is_name.then(|| {
                    self.pending = Pending::Value(named);
                    Further::Text
                })
            }
            Pending::Equals(named) if matches!(word, "=" | ":" | ":=" | "=>" | "==") => {
                self.pending = Pending::Value(named);
                Some(Further::Nothing)
            }
            Pending::None | Pending::Presented(_) | Pending::Equals(_) => None,
        }
    }

    /// Whether all is said about the argument.
    fn flag(&mut self, word: &str, marks: &mut Marks<'_>) -> bool {
        if let Some(holds) = self.known_flag(word, marks) {
            return holds == Holds::Nothing;
        }
        if !word.starts_with("--")
            && self.places.iter().any(|place| place.takes_it_by_b())
            && let Some((skip, count, _)) = &mut self.hiding
        {
            *count = (*count).max(usize::from(word.contains('b')));
            *skip = skip.saturating_sub(usize::from(word.contains('n')));
        }
        let splits =
            self.nature == Nature::Splits && matches!(word, "-S" | "-vS" | "--split-string");
        if splits || self.nature == Nature::Shell && is_script_flag(word) {
            self.pending = Pending::Script;
            return false;
        }
        if word.contains(['=', ':']) || word.contains(char::is_whitespace) {
            if let Some(program) = word.strip_prefix("--entrypoint=") {
                self.take_program(program);
            }
            return false;
        }
        if matches!(word, "--arg" | "--argjson") {
            self.pending = Pending::Name;
            return false;
        }
        let namespace = word == "-n" && self.runs("kubectl");
        self.last = if matches!(word, "-H" | "--header" | "--headers") {
            Last::HeaderFlag
        } else if namespace || takes_value(word) {
            Last::ValueFlag
        } else {
            Last::Other
        };
        let named = naming(word);
        if !named.is_harmless() && !named.asks && word.len() > 2 && is_name(word) {
            self.pending = Pending::Value(named);
        }
        false
    }

    /// What a flag holds that the program is known to take a secret by.
    fn known_flag(&mut self, word: &str, marks: &mut Marks<'_>) -> Option<Holds> {
        let program = self.program?;
        let mut flags = program
            .flags
            .iter()
            .filter(|flag| flag.after.is_empty() || self.seen.contains(&flag.after));
        let (flag, value) = flags.find_map(|flag| {
            let value = value_of(flag, word, program.switches)?;
            Some((flag, value))
        })?;
        match value {
            Stands::From(start) if flag.takes != Takes::Next => {
                let found = secret_in(flag.holds, &word[start..]);
                if let Some(part) = found {
                    marks.hide(start + part.start..start + part.end);
                }
            }
            Stands::Next if flag.takes != Takes::Here => self.pending = Pending::Held(flag.holds),
            // What the program means by it is known, and it is no secret.
            Stands::Next if flag.name.starts_with("--") => {}
            Stands::Next | Stands::From(_) => return None,
        }
        Some(flag.holds)
    }

    fn positional(&mut self, word: &str, how: How, last: Last, marks: &mut Marks<'_>) {
        self.since_login = self.since_login.saturating_add(1);
        let runs_more = !matches!(self.nature, Nature::Plain | Nature::Echoes);
        // `ProxyCommand=sshpass …`
        let value = word.split_once('=').map_or("", |(_, value)| value);
        if self.name_is_next && is_assignment(word) && Known::of(base_name(value)).program.is_some()
        {
            self.take_program(value);
        }
        if self.name_is_next && !is_assignment(word) || runs_more && last == Last::Other {
            self.name_is_next = false;
            self.take_program(word);
        }
        if !self.begun {
            self.begun = !is_assignment(word);
            self.expect_after(word, how, last);
            return;
        }
        if let Some((skip, count, holds)) = &mut self.hiding {
            if *skip > 0 {
                *skip -= 1;
            } else if *count > 0 {
                *count -= 1;
                let found = secret_in(*holds, word);
                hide(found, marks);
                return;
            }
        }
        self.note(word);
        self.expect_after(word, how, last);
    }

    /// Takes a word for the program that runs, if it may be one.
    fn take_program(&mut self, word: &str) {
        let name = base_name(word);
        if name.is_empty() {
            // `{`, `!`
            self.name_is_next = true;
            return;
        }
        let Known {
            program,
            nature,
            places,
        } = Known::of(name);
        let known = program.is_some() || *nature != Nature::Plain || !places.is_empty();
        if self.begun && !known {
            return;
        }
        self.program = *program;
        // What runs in a wrapper may name another program: `sudo mysql`, `docker exec mysql mysql`.
        if *nature != Nature::Plain || !self.begun {
            self.nature = *nature;
        }
        self.places = places;
        let at_once = self.places.iter().find(|place| place.after.contains(&""));
        self.hiding = at_once.map(|place| (place.skip, place.count, place.holds));
    }

    fn runs(&self, program: &str) -> bool {
        self.program.is_some_and(|known| known.is_called(program))
    }

    /// Takes note of words that say what other arguments are.
    fn note(&mut self, word: &str) {
        let mut first = "";
        for place in self.places {
            for &after in place.after {
                let (before, last) = after.split_once(' ').unwrap_or(("", after));
                if !last.is_empty()
                    && word.eq_ignore_ascii_case(last)
                    && (before.is_empty() || before == self.before)
                {
                    self.hiding = Some((place.skip, place.count, place.holds));
                } else if !before.is_empty() && word == before {
                    first = before;
                }
            }
        }
        self.before = first;
        let flags = self
            .program
            .map(|program| program.flags)
            .unwrap_or_default();
        let seen = flags
            .iter()
            .map(|flag| flag.after)
            .find(|after| *after == word);
        if let Some(seen) = seen.filter(|seen| !self.seen.contains(seen)) {
            self.seen.push(seen);
        }
        if word.starts_with("//") && self.runs("smbclient") {
            self.hiding = Some((0, 1, Holds::Secret));
        }
    }

    /// What the next argument is after one that is no flag.
    fn expect_after(&mut self, word: &str, how: How, last: Last) {
        self.pending = if word.eq_ignore_ascii_case("set") {
            Pending::Name
        } else if how.within {
            // The longer text was searched for the rest.
            self.after_login(word)
        } else if word.eq_ignore_ascii_case("bearer") {
            Pending::Presented("bearer")
        } else if schemes::is_scheme(word) && word.starts_with(|c: char| c.is_ascii_uppercase()) {
            Pending::Presented("basic")
        } else if let Some(name) = word.strip_suffix(':') {
            let quotes = ['{', '[', ',', '"', '\''];
            let name = name.trim_start_matches(quotes).trim_end_matches(quotes);
            let named = naming(name);
            let is_header =
                last == Last::HeaderFlag || how.bare || name.eq_ignore_ascii_case("authorization");
            if !is_header || !named.is_secret() || !is_name(name) {
                Pending::None
            } else if name.to_ascii_lowercase().ends_with("authorization") {
                Pending::Presented("bearer")
            } else {
                Pending::Member(named)
            }
        } else {
            let named = naming(word);
            match self.after_login(word) {
                Pending::None if how.bare && is_name(word) && named.is_secret() => {
                    Pending::Equals(named)
                }
                other => other,
            }
        };
        if word == "login" {
            self.since_login = 0;
        }
    }

    /// `login NAME password VALUE`
    fn after_login(&self, word: &str) -> Pending {
        if self.since_login == 2 && matches!(word, "password" | "passwd") {
            Pending::Value(Naming::SECRET)
        } else {
            Pending::None
        }
    }
}

fn hide(found: Option<Range<usize>>, marks: &mut Marks<'_>) -> Further {
    match found {
        Some(range) => {
            marks.hide(range);
            Further::Nothing
        }
        None => Further::Text,
    }
}
