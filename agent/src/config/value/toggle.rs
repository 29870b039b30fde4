//! Switches, written `on` or `off`.

use std::{fmt, str::FromStr};

use super::{InvalidValue, text_value};

/// A switch.
///
/// `true` and `false` are understood as well, in any case: YAML 1.1 tools turn an unquoted `on` into a boolean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Toggle {
    /// `on`
    On,
    /// `off`
    #[default]
    Off,
}

impl Toggle {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl fmt::Display for Toggle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "on" } else { "off" })
    }
}

impl FromStr for Toggle {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" => Ok(Self::On),
            "off" | "false" => Ok(Self::Off),
            _ => Err(InvalidValue::new(format!(
                "`{text}` is neither `on` nor `off`"
            ))),
        }
    }
}

text_value!(Toggle, "`on` or `off`", { "enum": ["on", "off", true, false] });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_switch_is_on_or_off() {
        for text in ["on", "ON", "true", "True"] {
            assert_eq!(text.parse(), Ok(Toggle::On), "{text}");
        }
        for text in ["off", "Off", "false", "FALSE"] {
            assert_eq!(text.parse(), Ok(Toggle::Off), "{text}");
        }
        for text in ["", "1", "yes", "enabled", " on"] {
            assert_eq!(
                text.parse::<Toggle>().unwrap_err().to_string(),
                format!("`{text}` is neither `on` nor `off`")
            );
        }
    }

    #[test]
    fn booleans_are_switches_in_any_format() {
        assert_eq!(serde_json::from_str::<Toggle>("true").unwrap(), Toggle::On);
        assert_eq!(
            serde_json::from_str::<Toggle>("\"off\"").unwrap(),
            Toggle::Off
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[oO][nNfF]{1,2}|\\PC*") {
            if let Ok(toggle) = text.parse::<Toggle>() {
                prop_assert_eq!(toggle.to_string().parse::<Toggle>(), Ok(toggle));
            }
        }
    }
}
