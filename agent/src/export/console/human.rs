//! Amounts as people read them: three digits, rounded down.

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A number of nanoseconds: `857us`, `1.23ms`, `45.6s`, `2m03s`, `3h12m`, `5d04h`.
pub(super) fn duration(nanoseconds: u64) -> String {
    let two = |large: u64, small: u64, units: [&str; 2]| {
        let rest = nanoseconds % large / small;
        format!("{}{}{rest:02}{}", nanoseconds / large, units[0], units[1])
    };
    match nanoseconds {
        0..MICROSECOND => format!("{nanoseconds}ns"),
        MICROSECOND..MILLISECOND => digits(nanoseconds, MICROSECOND, "us"),
        MILLISECOND..SECOND => digits(nanoseconds, MILLISECOND, "ms"),
        SECOND..MINUTE => digits(nanoseconds, SECOND, "s"),
        MINUTE..HOUR => two(MINUTE, SECOND, ["m", "s"]),
        HOUR..DAY => two(HOUR, MINUTE, ["h", "m"]),
        _ => two(DAY, HOUR, ["d", "h"]),
    }
}

/// Below it, bytes are told as they are.
const FEW_BYTES: u64 = 10_000;

/// A number of bytes: `1535B`, `9.76KiB`, `70.2MiB`.
pub(super) fn bytes(count: u64) -> String {
    if count < FEW_BYTES {
        return format!("{count}B");
    }
    let mut unit = 1 << 10;
    for name in ["KiB", "MiB", "GiB"] {
        if count >> 10 < unit {
            return digits(count, unit, name);
        }
        unit <<= 10;
    }
    digits(count, unit, "TiB")
}

/// The first digits of `amount` in units of so much, which it is not less than.
fn digits(amount: u64, unit: u64, name: &str) -> String {
    let (whole, rest) = (amount / unit, u128::from(amount % unit));
    let part = |of: u128| rest * of / u128::from(unit);
    match whole {
        0..10 => format!("{whole}.{:02}{name}", part(100)),
        10..100 => format!("{whole}.{}{name}", part(10)),
        _ => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |amount, expected: &str| assert_eq!(duration(amount), expected, "{amount}");
        check(0, "0ns");
        check(999, "999ns");
        check(1_000, "1.00us");
        check(857_470, "857us");
        check(1_239_999, "1.23ms");
        check(999_999_999, "999ms");
        check(45_670_000_000, "45.6s");
        check(59_999_999_999, "59.9s");
        check(123 * SECOND, "2m03s");
        check(HOUR - 1, "59m59s");
        check(3 * HOUR + 12 * MINUTE + 59 * SECOND, "3h12m");
        check(5 * DAY + 4 * HOUR, "5d04h");
        check(u64::MAX, "213503d23h");
    }

    #[test]
    fn numbers_of_bytes() {
        let check = |amount, expected: &str| assert_eq!(bytes(amount), expected, "{amount}");
        check(0, "0B");
        check(9_999, "9999B");
        check(10_000, "9.76KiB");
        check(1 << 20, "1.00MiB");
        check((1 << 20) - 1, "1023KiB");
        check(73_610_100, "70.2MiB");
        check(5 << 40, "5.00TiB");
        check(u64::MAX, "16777215TiB");
    }
}
