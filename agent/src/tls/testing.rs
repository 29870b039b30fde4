//! The certificates that `tests/tls/make.sh` has made.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Pair;

/// Where a file is, such as `ours-ca.pem`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A certificate that this authority has signed, and its key.
pub(crate) fn pair(authority: &str) -> Pair {
    Pair {
        cert: file(&format!("{authority}-cert.pem")),
        key: file(&format!("{authority}-key.pem")),
    }
}

/// One whose time is over.
pub(crate) fn expired() -> Pair {
    Pair {
        cert: file("ours-expired-cert.pem"),
        ..pair("ours")
    }
}

/// Files that change, as those of a mounted Secret do: others take their places.
#[derive(Debug)]
pub(crate) struct Changing(TempDir);

impl Changing {
    /// Copies of a pair.
    pub(crate) fn of(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.become_those_of(pair);
        files
    }

    /// Puts copies of another pair in their place.
    pub(crate) fn become_those_of(&self, pair: &Pair) {
        self.put("cert.pem", &fs::read(&pair.cert).unwrap());
        self.put("key.pem", &fs::read(&pair.key).unwrap());
    }

    /// Puts another file in a file's place.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let fresh = self.path("fresh");
        fs::write(&fresh, content).unwrap();
        fs::rename(&fresh, self.path(name)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn pair(&self) -> Pair {
        Pair {
            cert: self.path("cert.pem"),
            key: self.path("key.pem"),
        }
    }
}
