//! Amounts of memory, written `128MiB`, `64KiB`, `1GiB`, `10MB` or in plain bytes.

use std::{fmt, str::FromStr};

use super::{InvalidValue, text_value};

/// An amount of memory in bytes.
///
/// Binary units are `KiB`, `MiB`, `GiB` and `TiB`, decimal ones `kB`, `MB`, `GB` and `TB`; a number alone, or
/// with `B`, counts bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The binary units, largest first; also those a size is shown in.
const BINARY: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

const OTHER: [(&str, u64); 6] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const ALLOWED: &str = "write a whole number with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB` or, for bytes, nothing, such as `128MiB`";

impl ByteSize {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB; the largest size there is, if it would be larger.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// So many MiB; the largest size there is, if it would be larger.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BINARY
            .iter()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        match unit {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse(text).ok_or_else(|| InvalidValue::new(format!("`{text}` is no size; {ALLOWED}")))
    }
}

fn parse(text: &str) -> Option<ByteSize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, bytes) = BINARY
        .iter()
        .chain(&OTHER)
        .find(|(name, _)| *name == unit)?;
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(*bytes)
        .map(ByteSize)
}

text_value!(ByteSize, "a size such as `128MiB`", {
    "type": ["string", "integer"],
    "format": "wellhead-size",
    "pattern": "^[0-9]+([KMGT]iB|[kMGT]?B)?$",
    "minimum": 0
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<ByteSize>() {
            Ok(size) => format!("{size} = {}", size.bytes()),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        check("128MiB", "128MiB = 134217728");
        check("64KiB", "64KiB = 65536");
        check("1GiB", "1GiB = 1073741824");
        check("1024MiB", "1GiB = 1073741824");
        check("10kB", "10000 = 10000");
        check("1MB", "1000000 = 1000000");
        check("4096", "4KiB = 4096");
        check("5B", "5 = 5");
        check("0", "0 = 0");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "MiB",
            "128Mi",
            "128M",
            "128mib",
            "1.5GiB",
            "-1",
            "1 MiB",
            "99999999999TiB",
            "1KB",
        ] {
            check(text, &format!("`{text}` is no size; {ALLOWED}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(number: u64, shift in 0_u32..50) {
            let size = ByteSize(number >> shift << shift);
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9]{0,22}[kKMGTiB]{0,3}|\\PC*") {
            if let Ok(size) = text.parse::<ByteSize>() {
                prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
            }
        }
    }
}
