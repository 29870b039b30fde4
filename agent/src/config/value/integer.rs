//! Whole numbers that may be given as text, as variables and flags do.

use std::fmt;

use serde::{Deserializer, de};

/// Deserialises a whole number, or the text of one.
pub(in crate::config) fn optional_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    deserializer.deserialize_any(Integer)
}

struct Integer;

impl de::Visitor<'_> for Integer {
    type Value = Option<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number up to {}", u32::MAX)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u32>, E> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number
            .map(Some)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<u32>, E> {
        let fits = u32::try_from(number).ok();
        fits.map(Some)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<u32>, E> {
        Ok(None)
    }
}
