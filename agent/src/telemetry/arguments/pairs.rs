//! `name=value` and `name: value` anywhere in a text: assignments, connection strings, queries, headers, JSON, YAML.

mod names_before;
mod values_after;

use std::ops::Range;

use super::marks::Marks;
use super::names::{Naming, naming};
use super::values::{is_plain_path, is_version};
use names_before::Named;

/// So much of a value is looked at to tell whether it is a secret at all.
const LOOKED_AT: usize = 512;

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    /// `=`, `==`, `=>`, `:=`
    Equals,
    /// `:` with white space after it
    Colon,
    /// `:` alone
    ColonAlone,
    /// `%3D`: a query within a query
    Encoded,
    /// `<name>value</name>`
    Element,
}

/// Where a pair stands, which says where its value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `--name=value` is the whole argument.
    Flag,
    /// `NAME=value` begins the argument.
    Environment,
    /// `… -Dname=value …`
    InnerFlag,
    /// `?name=value&…`
    Query,
    /// `Cookie: …`, which goes on to the end of its line
    Header,
    /// One of several pairs, or none of the above.
    Member,
}

/// A name and where its value begins.
#[derive(Clone, Debug)]
struct Pair {
    name: Named,
    separator: Separator,
    place: Place,
    start: usize,
}

/// Hides the values of secret names.
pub(super) fn mark(marks: &mut Marks<'_>) {
    let mut scan = Scan::new(marks.text());
    while let Some((at, after, separator)) = scan.next_separator() {
        scan.at = after;
        let Some(pair) = scan.pair(at, after, separator) else {
            continue;
        };
        scan.around.advance(scan.bytes, pair.name.range.start);
        for range in scan.secrets(&pair).into_iter().flatten() {
            scan.at = scan.at.max(range.end);
            marks.hide(range);
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    around: Around,
    /// The text has a shared access signature: its version stands in it.
    signed: bool,
}

/// What is open where a pair stands.
#[derive(Debug, Default)]
struct Around {
    at: usize,
    quotes: [bool; 2],
    /// `(`, `[`, `{`
    brackets: [usize; 3],
    /// `"name": "DB_PASSWORD"` was told: what is called `value` is secret.
    told: bool,
    /// What was called `value` and may yet turn out to be secret.
    value: Option<Range<usize>>,
}

impl Around {
    fn advance(&mut self, bytes: &[u8], to: usize) {
        while self.at < to {
            match bytes[self.at] {
                b'"' => self.quotes[0] = !self.quotes[0],
                b'\'' => self.quotes[1] = !self.quotes[1],
                b'(' => self.brackets[0] += 1,
                b'[' => self.brackets[1] += 1,
                b'{' => {
                    self.brackets[2] += 1;
                    self.told = false;
                    self.value = None;
                }
                b')' => self.brackets[0] = self.brackets[0].saturating_sub(1),
                b']' => self.brackets[1] = self.brackets[1].saturating_sub(1),
                b'}' => {
                    self.brackets[2] = self.brackets[2].saturating_sub(1);
                    self.told = false;
                    self.value = None;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn is_open(&self, closing: u8) -> bool {
        match closing {
            b'"' => self.quotes[0],
            b'\'' => self.quotes[1],
            b')' => self.brackets[0] > 0,
            b']' => self.brackets[1] > 0,
            b'}' => self.brackets[2] > 0,
            _ => false,
        }
    }
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            around: Around::default(),
            signed: text.contains('=') && text.contains("sv="),
        }
    }

    /// Where the next separator is, and what follows it.
    fn next_separator(&self) -> Option<(usize, usize, Separator)> {
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or_default();
        let mut at = self.at;
        while at < self.bytes.len() {
            match (self.bytes[at], byte(at + 1)) {
                (b':', b'=') | (b'=', b'=' | b'>') => {
                    return Some((at, at + 2, Separator::Equals));
                }
                // `https://`, `crate::name`
                (b':', b'/') if byte(at + 2) == b'/' => at += 3,
                (b':', b':') => at += 2,
                (b':', next) => {
                    let alone = !next.is_ascii_whitespace();
                    let separator = if alone {
                        Separator::ColonAlone
                    } else {
                        Separator::Colon
                    };
                    return Some((at, at + 1, separator));
                }
                (b'=', _) => return Some((at, at + 1, Separator::Equals)),
                (b'>', next) if next != b'>' && next != b'=' => {
                    return Some((at, at + 1, Separator::Element));
                }
                (b'%', b'3') if matches!(byte(at + 2), b'D' | b'd') => {
                    return Some((at, at + 3, Separator::Encoded));
                }
                _ => at += 1,
            }
        }
        None
    }

    fn pair(&self, at: usize, after: usize, separator: Separator) -> Option<Pair> {
        let name = names_before::find(self.text, at, separator)?;
        let separator = match separator {
            // `"name":value` is JSON, as good as with white space
            Separator::ColonAlone if name.quoted => Separator::Colon,
            other => other,
        };
        let spaces = match separator {
            Separator::Encoded | Separator::Element | Separator::ColonAlone => 0,
            Separator::Equals | Separator::Colon => values_after::blanks(self.bytes, after),
        };
        let place = self.place(&name, separator);
        // `--password= x` has no value.
        let start = if place == Place::Flag {
            after
        } else {
            after + spaces
        };
        Some(Pair {
            name,
            separator,
            place,
            start,
        })
    }

    fn place(&self, name: &Named, separator: Separator) -> Place {
        let text = &self.text[name.range.clone()];
        let before = self.bytes[..name.range.start - name.dashes].last().copied();
        let is_colon = matches!(separator, Separator::Colon | Separator::ColonAlone);
        let last_is = |word: &str| {
            text.get(text.len().saturating_sub(word.len())..)
                .is_some_and(|end| end.eq_ignore_ascii_case(word))
        };
        if separator == Separator::Encoded {
            Place::Query
        } else if is_colon && (last_is("authorization") || last_is("cookie")) && !name.quoted {
            Place::Header
        } else if name.dashes > 0 && before.is_none() && separator != Separator::Colon {
            Place::Flag
        } else if name.dashes > 0 && separator == Separator::Equals {
            Place::InnerFlag
        } else if matches!(before, Some(b'?' | b'&')) {
            Place::Query
        } else if before.is_none() && is_environment(text) {
            Place::Environment
        } else {
            Place::Member
        }
    }

    /// What of the pair's value is secret: a stretch, and maybe one that came before.
    fn secrets(&mut self, pair: &Pair) -> [Option<Range<usize>>; 2] {
        let name = &self.text[pair.name.range.clone()];
        let naming = self.naming(pair, name);
        let role = Role::of(name);
        if naming.is_harmless() && role == Role::None {
            return [None, None];
        }
        let may_be_object = pair.separator == Separator::Colon
            && pair.place != Place::Header
            && name != "stringData";
        if may_be_object && self.opens_object(pair.start) {
            self.around.advance(self.bytes, pair.start + 1);
            self.around.told = naming.is_secret();
            return [None, None];
        }
        // Of what may yet turn out to be harmless only so much is looked at, since what is in it is looked at again.
        let surely = naming.is_secret();
        let within = if surely {
            self.text
        } else {
            up_to(self.text, pair.start + LOOKED_AT)
        };
        let mut value = values_after::range(within, pair, &self.around);
        let text = &self.text[value.clone()];
        match role {
            Role::Value if self.around.told => {
                self.around.told = false;
                return [
                    Some(values_after::range(self.text, pair, &self.around)),
                    None,
                ];
            }
            Role::Value => self.around.value = Some(value.clone()),
            Role::Name => {
                let before = self.around.value.take();
                self.around.told = is_name(text) && super::names::naming(text).is_secret();
                let in_object = self.around.brackets[2] > 0;
                if self.around.told {
                    return [None, before.filter(|_| in_object)];
                }
            }
            Role::None => {}
        }
        if pair.separator == Separator::ColonAlone && !naming.last {
            return [None, None];
        }
        let Some(part) = naming.secret_in(text) else {
            return [None, None];
        };
        if !surely && value.end == within.len() {
            value = values_after::range(self.text, pair, &self.around);
        } else {
            value.end = value.start + part.end;
        }
        [Some(value.start + part.start..value.end), None]
    }

    /// Whether `{` and a name stand here: what is in there has names of its own.
    fn opens_object(&self, at: usize) -> bool {
        let opens = |byte: u8| self.bytes.get(at) == Some(&byte);
        (opens(b'{') || opens(b'['))
            && values_after::name_ahead(self.bytes, at + 1, Separator::Colon, b'{')
    }

    fn naming(&self, pair: &Pair, name: &str) -> Naming {
        let plain = naming(name);
        // `-Dpass=x`
        let prefixed = pair.name.dashes == 1 && name.is_char_boundary(1);
        if plain.is_harmless() && prefixed {
            let without = naming(&name[1..]);
            if without.is_secret() {
                return without;
            }
        }
        // A shared access signature, or that of a signed URL.
        let signature = name.eq_ignore_ascii_case("sig")
            && (pair.place == Place::Query || self.signed || pair.name.range.start == 0)
            && pair.separator != Separator::ColonAlone;
        if signature && pair.place != Place::Flag {
            return Naming::SECRET;
        }
        // QEMU's `secret,id=name,data=…`
        let qemu = name == "data" && self.text.starts_with("secret,");
        // What a Secret of Kubernetes holds, and what a PKCS #11 URI does.
        if qemu || name == "stringData" || name == "pin-value" {
            return Naming::SECRET;
        }
        if name == "token" && self.text.starts_with("pkcs11:") {
            return Naming::HARMLESS;
        }
        let may_be_other = pair.separator == Separator::ColonAlone && pair.place != Place::Header;
        if may_be_other && self.is_no_secret(pair) {
            return Naming::HARMLESS;
        }
        plain
    }

    /// `my-token:1.2` is an image, `secret:/run/secret` a volume, `token:read` a scope.
    fn is_no_secret(&self, pair: &Pair) -> bool {
        const SCOPES: &[&str] = &[
            "read", "write", "list", "get", "create", "delete", "update", "manage", "view", "*",
            // keytool's `-storepass:env NAME`
            "env", "file",
        ];
        let rest = &self.text[pair.start..];
        let length = rest
            .bytes()
            .take(values_after::LONGEST_LOOK)
            .take_while(|byte| !byte.is_ascii_whitespace() && *byte != b',')
            .count();
        let value = rest.get(..length).unwrap_or_default();
        is_version(value) || is_plain_path(value) || SCOPES.contains(&value)
    }
}

/// What a pair is in a list of names and values: `{"name": "A", "value": "b"}`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
    None,
}

impl Role {
    fn of(name: &str) -> Self {
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is(&["name", "key", "parameterkey", "optionname", "variable"]) {
            Self::Name
        } else if is(&["value", "parametervalue", "stringvalue", "val"]) {
            Self::Value
        } else {
            Self::None
        }
    }
}

fn up_to(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= super::names::LONGEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte))
}

/// `DB_PASSWORD`
fn is_environment(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
