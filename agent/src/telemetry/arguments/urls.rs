//! Credentials in URLs.

use super::marks::Marks;
use super::shapes::begins_token;
use super::values::looks_random;

/// Passwords that say that the user before them is the token.
const NO_PASSWORDS: &[&str] = &["", "x-oauth-basic"];

/// Hides `password` of every `scheme://user:password@host` in the text, and a token in the user's place.
pub(super) fn mark(marks: &mut Marks<'_>) {
    const BETWEEN: &str = "://";
    let text = marks.text();
    if !text.contains([':', '@']) {
        return;
    }
    let mut at = 0;
    // Where what may be one URL ends: looked for once for all that stand together.
    let mut together = 0;
    while let Some(found) = text[at..].find(BETWEEN) {
        let start = at + found + BETWEEN.len();
        if start >= together {
            let ends =
                |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\');
            together = text[start..]
                .find(ends)
                .map_or(text.len(), |length| start + length);
        }
        let end = start + authority_length(&text[start..together]);
        let authority = &text[start..end];
        match authority.rfind('@') {
            Some(length) => mark_user(start, &authority[..length], marks),
            None if end == text.len() => mark_cut(start, authority, marks),
            None => {}
        }
        // `…@h1,amqp://…`
        at = end - usize::from(authority.ends_with(':'));
    }
    mark_oracle(text, marks);
    mark_go(text, marks);
}

/// How long user, host and port are.
///
/// Passwords are found there that should have been encoded: with a `/` before the `@`, after what can be no port.
fn authority_length(rest: &str) -> usize {
    const ENDS: [char; 3] = ['/', '?', '#'];
    let usual = rest.find(ENDS).unwrap_or(rest.len());
    let port = rest[..usual].rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| is_port(port) || port.contains(['@', ']'])) {
        return usual;
    }
    // Another URL has an `@` of its own.
    let one = rest[usual..]
        .find("://")
        .map_or(rest.len(), |next| usual + next);
    let Some(at) = rest[..one].rfind('@') else {
        return usual;
    };
    rest[at..one].find(ENDS).map_or(one, |length| at + length)
}

/// A port, or none where one could be.
fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// `user:password`, before the `@`.
fn mark_user(start: usize, user: &str, marks: &mut Marks<'_>) {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let password_at = start + user.len() - password.len();
    if NO_PASSWORDS.contains(&password)
        && (user.contains(':') || looks_random(name) || begins_token(name))
    {
        marks.hide(start..start + name.len());
    }
    marks.hide(password_at..password_at + password.len());
}

/// `user:passw`, cut before the `@`.
fn mark_cut(start: usize, authority: &str, marks: &mut Marks<'_>) {
    if authority.starts_with('[') {
        return;
    }
    if let Some((name, port)) = authority.split_once(':')
        && !is_port(port.split([';', ',']).next().unwrap_or(port))
        && !port.starts_with(['$', '{', '%', '<'])
    {
        let password = start + name.len() + 1;
        marks.hide(password..start + authority.len());
    }
}

/// `jdbc:oracle:thin:user/password@…`
fn mark_oracle(text: &str, marks: &mut Marks<'_>) {
    for driver in [":thin:", ":oci:", ":oci8:"] {
        let Some(found) = text.find(driver) else {
            continue;
        };
        let start = found + driver.len();
        let at = text[start..].find('@').unwrap_or(text.len() - start);
        if let Some(slash) = text[start..start + at].find('/') {
            marks.hide(start + slash + 1..start + at);
        }
    }
}

/// `user:password@tcp(host)/database`, as Go's driver of MySQL has it
fn mark_go(text: &str, marks: &mut Marks<'_>) {
    for network in ["@tcp(", "@unix("] {
        let Some(at) = text.find(network) else {
            continue;
        };
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
        let start = text[..at].rfind(ends).map_or(0, |before| before + 1);
        let user = text.get(start..at).unwrap_or_default();
        if let Some(colon) = user.find(':').filter(|_| !user.contains("://")) {
            marks.hide(start + colon + 1..at);
        }
    }
}
