//! What a name says about its value.

use std::ops::Range;

use smallvec::SmallVec;

use super::values::{is_answer, is_number, is_path, looks_encoded, looks_random};
use super::words::Words;

/// Words that make a name secret wherever in it they stand, unless what follows says that the value is something about the
/// secret ([`ABOUT`]).
static SECRET: Words = Words::new(
    "\
    password passwords passwd passphrase passphrases passcode pwd secret secrets token tokens \
    credential credentials cred creds apikeys",
);

/// Words that make a name secret as its last.
static SECRET_LAST: Words = Words::new(
    "\
    pass pw psk otp authorization cookie setcookie bearer jwt masterauth macaroon mnemonic",
);

/// Endings of names in which nothing separates the words: `PGPASSWORD`, `storepass`.
const SECRET_ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "authkey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accountkey",
    "sharedkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "licensekey",
    "pwd",
    "storepass",
    "keypass",
    "dbpass",
    "userpass",
    "rootpass",
    "mypass",
    "bindpw",
    "dbpw",
    "sshpass",
    "ftppass",
    "rootpw",
    "userpw",
    "adminpw",
    "adminpass",
    "requirepass",
    "ldappass",
    "sqlpass",
    "mailpass",
    "smtppass",
    "srppass",
];

/// What follows the secret word where the value is something about the secret: where it is kept, how long it lives.
static ABOUT: Words = Words::new(
    "\
    alg algorithm annotation annotations arn attempts aud audience authentication backend bucket \
    budget bytes ca cache callback cert certificate check class cleaner cmd column command complexity count \
    days decimals dictionary dir directory disabled duration enabled encoder encoding encryption endpoint engine \
    exchange expiration expire expired expires expiry fd field file filename files folder format \
    generator header headers helper history host hostname id ids interval issuer label labels \
    len length lifetime limit location manager max method min minimum mode mount name names \
    namespace param parameter path paths per policies policy prefix prompt prompts provider \
    providers rate ref refs request required review scope scopes selector signing size source stdin \
    store seconds timeout ttl type uri url validity version",
);

/// What directly precedes the secret word where the value is none: places in pages, names of what exists, amounts.
static HARMLESS_BEFORE: Words = Words::new(
    "\
    next page previous continuation continue starting pagination existing pull load max min num \
    n total count bos eos pad unk mask stop special idempotency",
);

/// What directly precedes a `pass` that is none of words: filters, and turns.
static PASSES: Words = Words::new("low high band all single multi one two first second");

/// First words of flags that ask for something to be done and take no value.
static ASKING: Words = Words::new(
    "\
    no not non without skip disable ask prompt allow enable require hide show list mask rotate \
    generate print omit redact exclude",
);

/// What makes a `key` one that nobody else may have.
static KEYS: Words = Words::new(
    "\
    api access secret account shared master auth subscription function functions license hmac \
    unseal recovery deploy consumer application app integration ingest storage join certificate \
    cipher aes admin",
);

/// What directly precedes an `auth` that is never a way: `REDISCLI_AUTH`, `X-Auth`.
static PRESENTED: Words = Words::new("rediscli x");

/// Keys that are as often named by a path as given.
static KEYS_IN_FILES: Words = Words::new("private signing encryption decryption rsa crypto");

/// Words whose value is secret if it looks random.
static RANDOM_LAST: Words = Words::new(
    "\
    key session sessionid jsessionid phpsessid sid signature sig hmac code pat",
);

/// Words that say no more about the name: `password_old`, `api-key-value`.
static TRAILING: Words = Words::new(
    "\
    value data new old text string plain raw base hash",
);

/// Longer names are looked at from their ends.
pub(super) const LONGEST: usize = 128;

/// What a name says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    kind: Kind,
    /// It asks for something to be done: a flag without a value.
    pub(super) asks: bool,
    /// The secret word is the last one.
    pub(super) last: bool,
    unless: Unless,
}

/// What values are no secrets under a secret name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unless {
    /// Of more than one, a number is how many.
    number: bool,
    /// A path is where the secret is kept.
    path: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Harmless,
    Secret,
    /// `pass`: secret, but passes are also counted, and openssl may be told where the secret is.
    Pass,
    /// `pwd`: the working directory, or a password.
    Directory,
    /// `auth`: a way, or what is presented.
    Auth,
    /// Secret if the value looks random.
    Random,
}

impl Naming {
    pub(super) const HARMLESS: Self = Self {
        kind: Kind::Harmless,
        asks: false,
        last: false,
        unless: Unless {
            number: false,
            path: false,
        },
    };

    /// A secret, whatever it is called.
    pub(super) const SECRET: Self = Self {
        kind: Kind::Secret,
        last: true,
        ..Self::HARMLESS
    };

    pub(super) fn is_harmless(self) -> bool {
        self.kind == Kind::Harmless
    }

    /// Whether the value is secret but for answers (`--password=false`) and the like.
    pub(super) fn is_secret(self) -> bool {
        !matches!(self.kind, Kind::Harmless | Kind::Random | Kind::Auth)
    }

    /// What of the value is secret.
    pub(super) fn secret_in(self, value: &str) -> Option<Range<usize>> {
        let whole = 0..value.len();
        let says_how = is_answer(value)
            || (self.asks || self.unless.number) && is_number(value)
            || self.unless.path && is_path(value);
        if says_how {
            return None;
        }
        let secret = match self.kind {
            Kind::Harmless => false,
            Kind::Secret => true,
            Kind::Pass => return pass_phrase(value),
            Kind::Directory => !value.starts_with(['/', '.', '~', '`', '$']),
            Kind::Auth => match value.split_once(':') {
                Some((user, rest)) if !rest.starts_with("//") => {
                    return Some(user.len() + 1..value.len());
                }
                // `auth=("user", "password")`
                None if value.starts_with('(') => {
                    let comma = value.find(',')?;
                    let rest = value[comma + 1..].trim_start();
                    let rest = value.len() - rest.len()..value.trim_end_matches(')').len();
                    return (!rest.is_empty()).then_some(rest);
                }
                _ => looks_encoded(value) && !value.contains(['-', '_', '.']),
            },
            Kind::Random => looks_random(value),
        };
        secret.then_some(whole)
    }
}

/// What of openssl's `pass:phrase`, `env:NAME`, `file:PATH`, `fd:NUMBER` or `stdin` is secret, or of a password.
pub(super) fn pass_phrase(value: &str) -> Option<Range<usize>> {
    const GIVEN: &str = "pass:";
    let elsewhere = value == "stdin"
        || ["env:", "file:", "fd:"]
            .iter()
            .any(|start| value.starts_with(start));
    let counted = value.len() == 1 && is_number(value);
    let start = if value.starts_with(GIVEN) {
        GIVEN.len()
    } else {
        0
    };
    (!elsewhere && !counted).then_some(start..value.len())
}

/// What a name says about its value. Dashes before it may be left on or off.
pub(super) fn naming(name: &str) -> Naming {
    let words = words(name);
    // `PASSWORD_2`, `token.0`
    let mut end = words.len();
    while end > 0 && is_number(words[end - 1]) {
        end -= 1;
    }
    let words = &words[..end];
    let Some(found) = words.iter().rposition(|word| is_secret_word(word)) else {
        return by_last_word(words);
    };
    // In `secret_access_key` the later word knows as much, and in `token-auth-key` more.
    let by_end = by_last_word(&words[found + 1..]);
    if by_end.kind == Kind::Secret {
        return by_end;
    }
    let after = &words[found + 1..];
    let word = words[found];
    let harmless = !is_secret_id(name) && after.iter().any(|word| ABOUT.has(word))
        || found > 0 && HARMLESS_BEFORE.has(words[found - 1]);
    if harmless {
        return Naming::HARMLESS;
    }
    let kind = if word.eq_ignore_ascii_case("pwd") && words.len() == 1 {
        Kind::Directory
    } else if word.eq_ignore_ascii_case("oldpwd") {
        Kind::Harmless
    } else {
        Kind::Secret
    };
    Naming {
        kind,
        asks: ASKING.has(words[0]) && words.len() > 1,
        last: after.is_empty(),
        unless: Unless {
            number: word.ends_with(['s', 'S']) && !word.ends_with("ss"),
            path: word.len() >= 4 && word[..4].eq_ignore_ascii_case("cred"),
        },
    }
}

/// Vault's `secret_id` is half of a login, and what it calls the id of the root token is the token. AWS' `--secret-id` is a
/// name.
fn is_secret_id(name: &str) -> bool {
    ["secret_id", "root_token_id", "root-token-id"]
        .iter()
        .any(|id| ends_with(name, id))
}

fn ends_with(name: &str, end: &str) -> bool {
    let start = name.len().wrapping_sub(end.len());
    name.get(start..)
        .is_some_and(|last| last.eq_ignore_ascii_case(end))
}

fn by_last_word(words: &[&str]) -> Naming {
    let mut rest = words;
    let mut data = false;
    while let [before @ .., last] = rest
        && !before.is_empty()
        && TRAILING.has(last)
    {
        rest = before;
        data |= last.eq_ignore_ascii_case("data");
    }
    let [before @ .., last] = rest else {
        return Naming::HARMLESS;
    };
    let previous = before.last().copied().unwrap_or_default();
    let is_key = last.eq_ignore_ascii_case("key");
    let in_files = is_key && KEYS_IN_FILES.has(previous);
    let kind = if is_key && (in_files || data || KEYS.has(previous)) {
        Kind::Secret
    } else if ["pass", "passin", "passout"]
        .iter()
        .any(|pass| last.eq_ignore_ascii_case(pass))
    {
        if PASSES.has(previous) {
            Kind::Harmless
        } else {
            Kind::Pass
        }
    } else if last.eq_ignore_ascii_case("auth") && PRESENTED.has(previous) {
        Kind::Secret
    } else if last.eq_ignore_ascii_case("auth") || last.eq_ignore_ascii_case("basicauth") {
        Kind::Auth
    } else if SECRET_LAST.has(last) || last.eq_ignore_ascii_case("pat") && !before.is_empty() {
        Kind::Secret
    } else if RANDOM_LAST.has(last)
        || last.eq_ignore_ascii_case("id") && previous.eq_ignore_ascii_case("session")
    {
        Kind::Random
    } else {
        Kind::Harmless
    };
    let [first, ..] = words else {
        return Naming::HARMLESS;
    };
    Naming {
        kind,
        asks: words.len() > 1 && ASKING.has(first),
        last: true,
        unless: Unless {
            number: last.eq_ignore_ascii_case("pat"),
            path: in_files && !data,
        },
    }
}

fn is_secret_word(word: &str) -> bool {
    let word = word.trim_end_matches(|last: char| last.is_ascii_digit());
    SECRET.has(word) || ends_in_secret(word)
}

fn ends_in_secret(word: &str) -> bool {
    let last = |text: &str| text.bytes().last().map(|byte| byte.to_ascii_lowercase());
    let of_word = last(word);
    SECRET_ENDINGS
        .iter()
        .any(|ending| last(ending) == of_word && ends_with(word, ending))
}

/// The words of a name: split where something other than a letter or digit stands, and at humps. Where the humps tell
/// nothing but the whole does (`PassWord`), the whole.
fn words(name: &str) -> SmallVec<[&str; 8]> {
    let mut start = name.len().saturating_sub(LONGEST);
    while !name.is_char_boundary(start) {
        start += 1;
    }
    let mut words: SmallVec<[&str; 8]> = SmallVec::new();
    for segment in name[start..].split(|c: char| !c.is_ascii_alphanumeric()) {
        if segment.is_empty() {
            continue;
        }
        let first = words.len();
        words.extend(humps(segment));
        let humped = &words[first..];
        if humped.len() > 1
            && !humped.iter().any(|word| is_secret_word(word))
            && (is_secret_word(segment) || SECRET_LAST.has(segment))
        {
            words.truncate(first);
            words.push(segment);
        }
    }
    // `pass_word`, `pass-phrase`
    let joined = words.windows(2).position(|pair: &[&str]| {
        pair[0].eq_ignore_ascii_case("pass")
            && ["word", "phrase", "code"]
                .iter()
                .any(|rest| pair[1].eq_ignore_ascii_case(rest))
    });
    if let Some(at) = joined {
        words[at] = "password";
        words.remove(at + 1);
    }
    words
}

/// `dbPassword` → `db`, `Password`; `APIKey` → `API`, `Key`.
fn humps(segment: &str) -> impl Iterator<Item = &str> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        if bytes.is_empty() {
            return None;
        }
        let end = (1..bytes.len())
            .find(|&at| {
                let next_is_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
                bytes[at].is_ascii_uppercase()
                    && (!bytes[at - 1].is_ascii_uppercase() || next_is_lower)
            })
            .unwrap_or(bytes.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names() {
        let check = |name: &str, expected: &[&str]| assert_eq!(words(name).as_slice(), expected);
        check("--db-password", &["db", "password"]);
        check("dbPassword", &["db", "Password"]);
        check("PGPASSWORD", &["PGPASSWORD"]);
        check("SASToken", &["SAS", "Token"]);
        check("APIKey", &["APIKey"]);
        check("PassWord", &["PassWord"]);
        check("", &[]);
    }
}
