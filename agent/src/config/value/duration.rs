//! Lengths of time, written `10s`, `500ms`, `1m30s`, `2h`.

use std::{fmt, str::FromStr};

use super::{InvalidValue, text_value};

/// A length of time in whole microseconds.
///
/// Written as whole numbers with units, largest unit first, each unit once: `1m30s`.
/// The units are `d`, `h`, `m`, `s`, `ms` and `us`. Only `0` may do without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    microseconds: u64,
}

/// Units from the largest to the smallest, with their length in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

const ALLOWED: &str = "write whole numbers with units (`d`, `h`, `m`, `s`, `ms`, `us`), largest first, such as `10s`, `500ms` or `1m30s`";

impl Duration {
    /// So many seconds; the longest duration there is, if it would be longer.
    pub const fn from_secs(seconds: u64) -> Self {
        Self {
            microseconds: seconds.saturating_mul(1_000_000),
        }
    }

    /// So many milliseconds; the longest duration there is, if it would be longer.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self {
            microseconds: milliseconds.saturating_mul(1_000),
        }
    }

    /// The same length as the standard library's type.
    pub const fn get(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.microseconds)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.get()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.microseconds == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.microseconds;
        for (unit, length) in UNITS {
            // A day is understood, but `48h` reads as what most people write.
            if unit != "d" && rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for Duration {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "0" {
            return Ok(Self::default());
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidValue::new(format!(
                "`{text}` has no unit; write `{text}s` for seconds or `{text}ms` for milliseconds"
            )));
        }
        parse(text).ok_or_else(|| InvalidValue::new(format!("`{text}` is no duration; {ALLOWED}")))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut microseconds = 0_u64;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        // Continuing where the last unit was found keeps them in order and each unique.
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        let part = digits.parse::<u64>().ok()?.checked_mul(*length)?;
        microseconds = microseconds.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration { microseconds })
}

text_value!(Duration, "a duration such as `10s`, `500ms` or `1m30s`", {
    "type": ["string", "integer"],
    "format": "wellhead-duration",
    "minimum": 0,
    "maximum": 0,
    "pattern": "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?)$"
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Duration>() {
            Ok(duration) => format!("{duration} = {:?}", duration.get()),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        check("10s", "10s = 10s");
        check("500ms", "500ms = 500ms");
        check("1m30s", "1m30s = 90s");
        check("90s", "1m30s = 90s");
        check("2h", "2h = 7200s");
        check("1d", "24h = 86400s");
        check("20us", "20us = 20µs");
        check("0", "0s = 0ns");
        check("0s", "0s = 0ns");
    }

    #[test]
    fn a_bare_number_gets_a_hint() {
        check(
            "10",
            "`10` has no unit; write `10s` for seconds or `10ms` for milliseconds",
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "1.5s",
            "-1s",
            "1s ",
            "1 s",
            "1s1m",
            "1s2s",
            "1y",
            "s1",
            "1s2",
            "999999999999d",
            "1µs",
        ] {
            check(text, &format!("`{text}` is no duration; {ALLOWED}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(microseconds: u64) {
            let duration = Duration { microseconds };
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9dhmsu. µ]{0,12}|\\PC*") {
            if let Ok(duration) = text.parse::<Duration>() {
                prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
            }
        }
    }
}
