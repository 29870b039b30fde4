//! Arguments of processes, with secrets taken out.

use std::sync::Arc;

use crate::identity::Value;

/// What takes a secret's place.
const REDACTED: &str = "[redacted]";

/// Words that make the name of a flag or variable secret, wherever in the name they stand.
const SECRET_WORDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "private-key",
    "private_key",
    "authorization",
];

/// How much of the arguments is shown: `process.args`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    Off,
    /// Everything but the values of secret-looking flags and assignments, and passwords in URLs.
    #[default]
    Redacted,
    /// Everything.
    Full,
}

/// `process.command_args`: the arguments of an exec record (each ended by NUL), or nothing.
///
/// Bytes that are not UTF-8 are replaced. The last argument of a cut record may itself be cut.
pub fn command_arguments(arguments: &[u8], shown: Arguments) -> Option<Value> {
    if shown == Arguments::Off || arguments.is_empty() {
        return None;
    }
    let bytes = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let mut previous_names_secret = false;
    let texts = bytes.split(|byte| *byte == 0).map(|argument| -> Arc<str> {
        let text = String::from_utf8_lossy(argument);
        if shown == Arguments::Full {
            return text.into();
        }
        let hide = previous_names_secret && !text.starts_with('-');
        previous_names_secret = names_following_secret(&text);
        if hide {
            REDACTED.into()
        } else {
            redact(&text).into()
        }
    });
    Some(Value::List(texts.collect()))
}

/// `--password`, `-p`-less: a flag whose value is the next argument.
fn names_following_secret(argument: &str) -> bool {
    argument.starts_with('-') && !argument.contains('=') && is_secret_name(argument)
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn redact(argument: &str) -> String {
    if let Some((name, _)) = argument.split_once('=')
        && is_secret_name(name)
        && !name.contains(char::is_whitespace)
    {
        return format!("{name}={REDACTED}");
    }
    if let Some((header, _)) = argument.split_once(':')
        && is_secret_name(header)
        && !header.contains('/')
    {
        return format!("{header}: {REDACTED}");
    }
    redact_bearer(&redact_url(argument))
}

/// `scheme://user:password@host` → `scheme://user:[redacted]@host`.
fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority
        .rsplit_once('@')
        .map(|(user, host)| (user.split_once(':'), host))
    {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:{REDACTED}@{host}{path}"),
        _ => text.to_owned(),
    }
}

/// `Bearer <token>`, anywhere in the argument.
fn redact_bearer(text: &str) -> String {
    let Some(at) = text.to_ascii_lowercase().find("bearer ") else {
        return text.to_owned();
    };
    let token = at + "bearer ".len();
    let end = text[token..]
        .find(char::is_whitespace)
        .map_or(text.len(), |length| token + length);
    format!("{}{REDACTED}{}", &text[..token], &text[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(arguments: &str, how: Arguments) -> String {
        match command_arguments(arguments.as_bytes(), how) {
            Some(Value::List(texts)) => texts.join("|"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn secrets_are_taken_out() {
        let check = |arguments: &str, expected| {
            assert_eq!(
                shown(arguments, Arguments::Redacted),
                expected,
                "{arguments:?}"
            );
        };
        check("ls\0-l\0", "ls|-l");
        check("ls\0\0x\0", "ls||x");
        check(
            "app\0--password\0hunter2\0run\0",
            "app|--password|[redacted]|run",
        );
        check("app\0--token=abc\0", "app|--token=[redacted]");
        check(
            "env\0DB_PASSWORD=x\0PATH=/bin\0",
            "env|DB_PASSWORD=[redacted]|PATH=/bin",
        );
        check(
            "app\0--no-password\0--verbose\0",
            "app|--no-password|--verbose",
        );
        check(
            "curl\0https://u:p@h/x?y#z\0",
            "curl|https://u:[redacted]@h/x?y#z",
        );
        check("curl\0https://h/a@b:c\0", "curl|https://h/a@b:c");
        check(
            "curl\0-H\0Authorization: Basic eA==\0",
            "curl|-H|Authorization: [redacted]",
        );
        check(
            "curl\0-H\0X: Bearer abc def\0",
            "curl|-H|X: Bearer [redacted] def",
        );
        check("cut\0--secret=ab", "cut|--secret=[redacted]");
    }

    #[test]
    fn everything_or_nothing_on_request() {
        assert_eq!(shown("a\0--token=x\0", Arguments::Full), "a|--token=x");
        assert_eq!(command_arguments(b"a\0", Arguments::Off), None);
        assert_eq!(command_arguments(b"", Arguments::Redacted), None);
        assert_eq!(shown("\u{fffd}\0", Arguments::Full), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _shown = command_arguments(&bytes, Arguments::Redacted);
        }

        #[test]
        fn a_secret_value_never_appears(value in "[a-zA-Z0-9]{8,20}") {
            for arguments in [
                format!("app\0--db-password={value}\0"),
                format!("app\0--api-key\0{value}\0"),
                format!("app\0MY_TOKEN={value}\0"),
                format!("app\0redis://me:{value}@host:1/0\0"),
                format!("app\0-H\0Authorization: Bearer {value}\0"),
            ] {
                let shown = shown(&arguments, Arguments::Redacted);
                prop_assert!(!shown.contains(&value), "{shown}");
            }
        }
    }
}
