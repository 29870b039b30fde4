//! Where a setting came from, and what is wrong with it.

use std::{fmt, path::Path, sync::Arc};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A place in the configuration file; line and column count from 1, and are 0 where the whole file is meant.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A `--set` flag for this key.
    Flag(String),
    /// The name of this host.
    Host,
    /// Nobody set it.
    Default,
}

impl Origin {
    /// Orders origins as users look at them: the file from top to bottom, then variables, flags and the rest.
    pub(super) fn place(&self) -> (usize, usize, usize) {
        match self {
            Self::File { line, column, .. } => (0, *line, *column),
            Self::Variable(_) => (1, 0, 0),
            Self::Flag(_) => (2, 0, 0),
            Self::Host | Self::Default => (3, 0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0, .. } => path.display().fmt(f),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(key) => write!(f, "--set {key}"),
            Self::Host => f.write_str("host name"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong. Shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was set.
    pub origin: Origin,
    /// The key concerned; empty if it is none in particular.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match &self.origin {
            // A flag names its key already.
            Origin::Flag(key) if *key == self.key => format!("{}: {}", self.origin, self.message),
            origin if self.key.is_empty() => format!("{origin}: {}", self.message),
            origin => format!("{origin}: {}: {}", self.key, self.message),
        };
        // Keys and values are users' text: a line break in one must not look like another problem.
        line.chars().try_for_each(|c| {
            if c.is_control() {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

/// Everything that is wrong with a configuration, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
