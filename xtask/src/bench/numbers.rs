//! Numbers for people: as many digits as mean something, in groups.

use serde_json::Number;

/// A narrow space that no line is broken at.
const GROUPS: &str = "\u{202f}";

/// Beyond this a number with a fraction cannot be told from one without.
const WHOLE: f64 = 1e15;

/// A whole number in full, any other with three digits that count.
pub(super) fn text(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => of(value),
        _ => grouped(&number.to_string()),
    }
}

/// As [`text`].
pub(super) fn of(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < WHOLE {
        grouped(&format!("{value:.0}"))
    } else {
        significant(value)
    }
}

/// With three digits that count.
fn significant(value: f64) -> String {
    let scientific = format!("{value:.2e}");
    let exponent = scientific.split_once('e').map(|(_, exponent)| exponent);
    let Some(exponent) = exponent.and_then(|exponent| exponent.parse::<i32>().ok()) else {
        return scientific;
    };
    if exponent < -4 {
        return scientific;
    }
    if let Ok(decimals) = usize::try_from(2 - exponent) {
        return format!("{value:.decimals$}");
    }
    // What comes after the third digit is not known, so zeros stand there.
    let rounded = scientific.parse().unwrap_or(value);
    grouped(&format!("{rounded:.0}"))
}

/// Digits, with a sign or without, three and three together.
pub(super) fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push_str(GROUPS);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_in_groups() {
        for (json, expected) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1_000"),
            ("-12345", "-12_345"),
            ("18446744073709551615", "18_446_744_073_709_551_615"),
            ("0.0", "0"),
            ("2.0", "2"),
            ("65536.0", "65_536"),
            ("0.97123", "0.971"),
            ("0.99999", "1.00"),
            ("-12.345", "-12.3"),
            ("123.45", "123"),
            ("1234.5", "1_230"),
            ("999999.5", "1_000_000"),
            ("0.00012345", "0.000123"),
            ("0.0000123", "1.23e-5"),
        ] {
            let number: Number = serde_json::from_str(json).unwrap();
            assert_eq!(text(&number), expected.replace('_', GROUPS), "{json}");
        }
    }
}
