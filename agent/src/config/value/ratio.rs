//! Shares of a whole.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{InvalidValue, read_from_text};

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// It is a number.
impl Eq for Ratio {}

impl Ratio {
    /// The whole.
    pub const ALL: Self = Self(1.0);

    /// Its value.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ratio {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let begins_well = text.starts_with(|first: char| first.is_ascii_digit() || first == '.');
        let value: Option<f64> = text.parse().ok().filter(|_| begins_well);
        let value = value.filter(|value| (0.0..=1.0).contains(value));
        value
            .map(Self)
            .ok_or_else(|| InvalidValue::new(format!("`{text}` is no share; a number from 0 to 1")))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

read_from_text!(Ratio, "a number from 0 to 1", {
    "anyOf": [
        { "type": "number", "minimum": 0, "maximum": 1 },
        { "type": "string", "pattern": "^[0-9.][0-9.eE+-]*$" }
    ],
    "format": "wellhead-ratio"
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        for (json, expected) in [
            ("1", 1.0),
            ("0", 0.0),
            ("0.25", 0.25),
            ("\".5\"", 0.5),
            ("1e-3", 0.001),
        ] {
            let ratio: Ratio = serde_json::from_str(json).unwrap();
            assert_eq!(ratio, Ratio(expected), "{json}");
        }
        for text in ["", "-0", "+1", "1.1", "nan", "inf", "50%", "1/2", "off"] {
            let refused = text.parse::<Ratio>().unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("`{text}` is no share; a number from 0 to 1")
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millionths in 0_u32..=1_000_000) {
            let ratio = Ratio(f64::from(millionths) / 1e6);
            prop_assert_eq!(ratio.to_string().parse(), Ok(ratio));
            let json = serde_json::to_string(&ratio).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ratio>(&json).unwrap(), ratio);
        }
    }
}
