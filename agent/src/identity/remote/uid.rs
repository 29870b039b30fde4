//! UIDs as 16 bytes, where they are UUIDs as Kubernetes makes them.

/// Bytes of the text form.
const LENGTH: usize = 36;

/// Where the text form has its hyphens (RFC 9562 section 4).
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes of a UUID in its usual form, with small letters; nothing for any other text.
pub(super) fn parse(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
    if HYPHENS.iter().any(|at| text.get(*at) != Some(&b'-')) {
        return None;
    }
    let mut digits = text
        .iter()
        .enumerate()
        .filter(|(at, _)| !HYPHENS.contains(at));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let (high, low) = (digits.next()?.1, digits.next()?.1);
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

/// The usual form.
pub(super) fn text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(LENGTH);
    for byte in bytes {
        if HYPHENS.contains(&text.len()) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    text
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_texts_are_none() {
        assert!(parse("0b8e1d2c-3f4a-4b5c-8d6e-7f8091a2b3c4").is_some());
        for text in [
            "",
            "u1",
            "0B8E1D2C-3f4a-4b5c-8d6e-7f8091a2b3c4",
            "0b8e1d2c+3f4a-4b5c-8d6e-7f8091a2b3c4",
            "0b8e1d2c-3f4a-4b5c-8d6e-7f8091a2b3c",
            "0b8e1d2c-3f4a-4b5c-8d6e-7f8091a2b3-4",
            "é8e1d2c-3f4a-4b5c-8d6e-7f8091a2b3c4é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn they_come_back(bytes: [u8; 16]) {
            prop_assert_eq!(parse(&text(bytes)), Some(bytes));
        }
    }
}
