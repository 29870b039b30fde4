//! A private key that fell into words.

/// Where in such a key the next argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyLines {
    Outside,
    Label,
    Body,
}

impl KeyLines {
    /// A private key whose white space was taken for that between arguments.
    pub(super) fn has(&mut self, word: &str) -> bool {
        match self {
            Self::Outside if word == "-----BEGIN" => *self = Self::Label,
            Self::Outside => {}
            Self::Label if word == "PRIVATE" => *self = Self::Label,
            Self::Label if word == "KEY-----" => *self = Self::Body,
            Self::Label => {
                if !word.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    *self = Self::Outside;
                }
            }
            Self::Body if word.starts_with("-----END") => *self = Self::Outside,
            Self::Body => return true,
        }
        false
    }
}
