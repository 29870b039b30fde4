//! How names look that a scraper may not be able to read as they are (Prometheus' `docs/instrumenting/escaping_schemes.md`).

use std::borrow::Cow;

/// A scheme. All names here are made of letters, digits, underscores and (metrics only) colons, since the translation from
/// OpenTelemetry's comes first (`names`); so every scheme but one leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escaping {
    /// `allow-utf-8`: any name will do as it is.
    AllowUtf8,
    /// `underscores`: other characters become underscores.
    #[default]
    Underscores,
    /// `dots`: dots become `_dot_`; so that they can be told from underscores, these are doubled.
    Dots,
    /// `values`: a name with other characters has their code points instead. One without is as it is.
    Values,
}

impl Escaping {
    /// By the value of the parameter `escaping`. The documentation of content negotiation has the first one without its second hyphen.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "allow-utf-8" | "allow-utf8" => Some(Self::AllowUtf8),
            "underscores" => Some(Self::Underscores),
            "dots" => Some(Self::Dots),
            "values" => Some(Self::Values),
            _ => None,
        }
    }

    /// A name of a metric or label.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Dots if name.contains('_') => name.replace('_', "__").into(),
            Self::AllowUtf8 | Self::Underscores | Self::Dots | Self::Values => name.into(),
        }
    }
}
