//! How many a second.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Serialize, Serializer};

use super::{InvalidValue, read_from_text};

/// More than this nobody has to limit.
const MOST: u32 = 1_000_000;

/// How many of something there may be in a second: a number, or `off` for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate(Option<NonZeroU32>);

impl Rate {
    /// So many; none for 0.
    pub(in crate::config) const fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second))
    }

    /// How many; `None` for any number.
    pub const fn per_second(self) -> Option<NonZeroU32> {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl FromStr for Rate {
    type Err = InvalidValue;

    /// `false` is what YAML 1.1 tools make of an unquoted `off`.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if ["off", "false"].contains(&&*text.to_ascii_lowercase()) {
            return Ok(Self(None));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<NonZeroU32> = text.parse().ok().filter(|_| digits);
        let number = number.filter(|number| number.get() <= MOST);
        number.map(|number| Self(Some(number))).ok_or_else(|| {
            InvalidValue::new(format!(
                "`{text}` is no rate; a number from 1 to {MOST}, or `off` for no limit"
            ))
        })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_u32(number.get()),
            None => serializer.serialize_str("off"),
        }
    }
}

read_from_text!(Rate, "a number, or `off`", {
    "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 1_000_000 },
        { "type": "string", "pattern": "^([0-9]{1,7}|[oO][fF][fF])$" },
        { "const": false }
    ],
    "format": "wellhead-rate"
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_a_number_or_off() {
        let check = |json: &str, expected: Option<u32>| {
            let rate: Rate = serde_json::from_str(json).unwrap();
            assert_eq!(rate.per_second().map(NonZeroU32::get), expected, "{json}");
        };
        check("1", Some(1));
        check("\"100\"", Some(100));
        check("1000000", Some(MOST));
        check("\"off\"", None);
        check("\"Off\"", None);
        check("false", None);
        for text in ["0", "1000001", "-1", "+1", "", "on", "true", "1.5", "10/s"] {
            let refused = text.parse::<Rate>().unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("`{text}` is no rate; a number from 1 to 1000000, or `off` for no limit")
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in 0..=MOST) {
            let rate = Rate::new(number);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            let json = serde_json::to_string(&rate).unwrap();
            prop_assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }
    }
}
