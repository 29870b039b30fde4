//! Port numbers.

use std::{fmt, num::NonZeroU16, str::FromStr};

use super::{InvalidValue, text_value};

/// A port of UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// That of DNS (RFC 1035, section 4.2).
    pub const DNS: Self = match NonZeroU16::new(53) {
        Some(port) => Self(port),
        None => unreachable!(),
    };

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse().ok().filter(|_| digits);
        port.map(Self).ok_or_else(|| {
            InvalidValue::new(format!("`{text}` is no port; a number from 1 to 65535"))
        })
    }
}

text_value!(Port, "a port", { "type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": "^[0-9]{1,5}$" });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_port_is_a_number_that_is_not_zero() {
        for text in ["0", "65536", "-1", "+1", "", "dns", "5 3"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in 1_u16..) {
            let port: Port = number.to_string().parse().unwrap();
            prop_assert_eq!(port.get(), number);
            prop_assert_eq!(port.to_string().parse(), Ok(port));
        }
    }
}
