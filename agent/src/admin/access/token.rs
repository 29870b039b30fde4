//! The token that readers present.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::small_file;

/// The longest token, whatever surrounds it included: what a request's head has room for.
const LONGEST: usize = 8 << 10;

/// A secret; never shown.
pub(super) struct Token(Vec<u8>);

/// Why a file holds none.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// There is nothing but white space in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// As configured.
        path: PathBuf,
    },
    /// A header cannot carry it.
    #[error("{} does not hold one token of visible ASCII characters", path.display())]
    Characters {
        /// As configured.
        path: PathBuf,
    },
    /// A request's head has no room for it.
    #[error("{} holds more than {LONGEST} bytes", path.display())]
    Long {
        /// As configured.
        path: PathBuf,
    },
}

impl Token {
    /// Reads a file with one token, and white space around it.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let path_of = || path.to_owned();
        let content =
            small_file::beginning(path, LONGEST as u64 + 1).map_err(|source| TokenError::File {
                path: path_of(),
                source,
            })?;
        if content.len() > LONGEST {
            return Err(TokenError::Long { path: path_of() });
        }
        let token = content.trim_ascii();
        if token.is_empty() {
            return Err(TokenError::Empty { path: path_of() });
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Characters { path: path_of() });
        }
        Ok(Self(token.to_vec()))
    }

    /// Whether the value of an `Authorization` header is `Bearer` and this token. How long that takes does not depend on how much of
    /// the token is right.
    pub(super) fn is_presented_by(&self, authorization: &[u8]) -> bool {
        let mut words = authorization.splitn(2, |byte| *byte == b' ');
        let scheme = words.next().unwrap_or_default();
        let presented = words.next().unwrap_or_default().trim_ascii();
        scheme.eq_ignore_ascii_case(b"bearer") && presented.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &[u8]) -> Result<Token, TokenError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, content).unwrap();
        Token::read(&path)
    }

    #[test]
    fn one_word_is_a_token() {
        for content in [&b"s3cret"[..], b"s3cret\n", b" \ts3cret\r\n\n"] {
            let token = read(content).unwrap();
            assert!(token.is_presented_by(b"Bearer s3cret"));
            assert!(!format!("{token:?}").contains("s3cret"));
        }
        assert!(read(&[b'x'; LONGEST]).is_ok());
    }

    #[test]
    fn what_is_none_is_refused() {
        let refusal = |content: &[u8]| read(content).unwrap_err().to_string();
        assert!(refusal(b"").ends_with("token is empty"));
        assert!(refusal(b" \n").ends_with("token is empty"));
        for content in [&b"two words"[..], b"a\nb", b"\xc3\xa9", b"a\0b"] {
            assert!(refusal(content).ends_with("one token of visible ASCII characters"));
        }
        assert!(refusal(&[b'x'; LONGEST + 1]).ends_with("holds more than 8192 bytes"));
        let missing = Token::read(Path::new("/nonexistent/token")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nonexistent/token");
    }

    #[test]
    fn only_the_whole_token_will_do() {
        let token = read(b"s3cret").unwrap();
        for right in [&b"Bearer s3cret"[..], b"bearer s3cret", b"BEARER  s3cret "] {
            assert!(token.is_presented_by(right));
        }
        for wrong in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"s3cret",
            b"Basic s3cret",
            b"Bearer s3cre",
            b"Bearer s3crets",
            b"Bearer S3cret",
            b"Bearer s3cret s3cret",
            b"Bearers3cret",
            b"Bearer \xff",
        ] {
            assert!(
                !token.is_presented_by(wrong),
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
    }
}
