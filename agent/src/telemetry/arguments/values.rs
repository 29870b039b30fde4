//! What a value looks like, whatever its name.

/// Endings of files that hold keys and certificates.
const KEY_FILES: [&str; 9] = [
    ".pem", ".key", ".crt", ".pub", ".p8", ".p12", ".pfx", ".jks", ".ppk",
];

/// Whether a value is the answer to a question rather than a secret.
pub(super) fn is_answer(value: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "null", "none"]
        .iter()
        .any(|answer| value.eq_ignore_ascii_case(answer))
}

pub(super) fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// `$NAME`, `${NAME…}`, `$1`, `$(command)` or its `$` alone: what a shell puts something else for.
pub(super) fn is_reference(value: &str) -> bool {
    let Some(name) = value.strip_prefix('$') else {
        return false;
    };
    if let Some(braced) = name.strip_prefix('{') {
        return braced.find('}').is_some_and(|end| end + 1 == braced.len());
    }
    if let Some(command) = name.strip_prefix('(') {
        let writes = command.starts_with("echo") || command.starts_with("printf");
        return command
            .find(')')
            .is_some_and(|end| end + 1 == command.len())
            && !writes;
    }
    match name.as_bytes() {
        [] | [b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'!' | b'$' | b'-'] => true,
        [b'a'..=b'z' | b'A'..=b'Z' | b'_', rest @ ..] => rest.iter().all(|b| is_word(*b)),
        _ => false,
    }
}

/// `${NAME}`, `{{ name }}`: a place that something else puts the value into.
pub(super) fn is_placeholder(value: &str) -> bool {
    let braced = |open, close| value.strip_prefix(open)?.strip_suffix(close);
    let name = braced("${{", "}}")
        .or_else(|| braced("${", "}"))
        .or_else(|| braced("{{", "}}"));
    let Some(name) = name else {
        return false;
    };
    let name = name.trim_matches(' ');
    !name.is_empty() && name.bytes().all(|byte| is_word(byte) || byte == b'.')
}

/// Whether a value names a file, where either a file or the secret itself may stand.
pub(super) fn is_path(value: &str) -> bool {
    ["/", "./", "../", "~/", "file:", "@", "$HOME/"]
        .iter()
        .any(|start| value.starts_with(start))
        || KEY_FILES.iter().any(|ending| value.ends_with(ending))
}

/// A path that no encoded secret looks like.
pub(super) fn is_plain_path(value: &str) -> bool {
    value.starts_with('/')
        && value.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-:,".contains(&byte)
        })
}

/// `1.2.3`, `v1.30`, `latest`: the tag of an image.
pub(super) fn is_version(value: &str) -> bool {
    let number = value.strip_prefix('v').unwrap_or(value);
    value == "latest" || number.contains('.') && number.split('.').all(is_number)
}

/// Long and mixed, as what nobody thought up: a digest or a key.
pub(super) fn looks_random(value: &str) -> bool {
    let mut has = [false; 3];
    for byte in value.bytes() {
        match byte {
            b'0'..=b'9' => has[0] = true,
            b'a'..=b'z' => has[1] = true,
            b'A'..=b'Z' => has[2] = true,
            b'-' | b'_' | b'+' | b'/' | b'=' | b'.' | b'~' | b'%' => {}
            _ => return false,
        }
    }
    let hexadecimal = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mixed = value.len() >= 20 && has == [true; 3];
    has[0] && (mixed || hexadecimal && (has[1] || has[2])) && !is_path(value)
}

/// Whether a word is an encoded secret rather than a word of a language: `dXNlcjpwYXNz`, not `usage`.
pub(super) fn looks_encoded(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_.~:|".contains(&byte);
    if value.len() < 4 || !value.bytes().all(plain) {
        return false;
    }
    let padded = value.ends_with('=');
    let digits = value.len() >= 8 && value.bytes().any(|byte| byte.is_ascii_digit());
    let humps = value.len() >= 8
        && value.bytes().any(|byte| byte.is_ascii_lowercase())
        && value.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    padded || digits || humps
}

/// Whether an argument is a flag, where a value is expected as well.
///
/// A secret may begin with a dash: one that looks like nothing a programmer would call a flag is a value.
pub(super) fn is_flag(argument: &str) -> bool {
    let Some(rest) = argument.strip_prefix('-') else {
        return false;
    };
    let name = rest.split(['=', ':']).next().unwrap_or(rest);
    let first = rest.bytes().next().unwrap_or(b'-');
    (first.is_ascii_alphabetic() || first == b'-')
        && name
            .bytes()
            .all(|byte| is_word(byte) || byte == b'-' || byte == b'.')
        && !looks_random(name.trim_start_matches('-'))
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
