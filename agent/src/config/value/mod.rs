//! Values as users write them: every type here has a parser, a display form that parses back to the
//! same value, and a JSON schema.

mod duration;
mod integer;
mod net;
mod pattern;
mod port;
mod rate;
mod ratio;
mod secret;
mod size;
mod toggle;

pub use duration::Duration;
pub(super) use integer::optional_integer;
pub use net::{Cidr, ListenAddress};
pub use pattern::{NamePattern, NamespacePattern};
pub use port::Port;
pub use rate::Rate;
pub use ratio::Ratio;
pub use secret::Secret;
pub use size::ByteSize;
pub use toggle::Toggle;

/// Why a text is no value of its type: what is wrong and what is allowed, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

impl InvalidValue {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Serde and JSON schema for a type that has `FromStr` and `Display`.
macro_rules! text_value {
    ($type:ident, $expecting:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        $crate::config::value::read_from_text!($type, $expecting, $schema);
    };
}
use text_value;

/// Deserialisation and JSON schema for a type that has `FromStr`.
///
/// Numbers and booleans are read as the text they were written as, so that `0` and `true` reach the
/// parser whatever format they come from.
macro_rules! read_from_text {
    ($type:ident, $expecting:literal, $schema:tt) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<$type, E> {
                        self.visit_str(&truth.to_string())
                    }
                }

                deserializer.deserialize_any(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
use read_from_text;
