//! Test hooks: three environment variables that make this kernel look like another one.
//!
//! They exist for tests of what happens on kernels that are not at hand, and for nothing else: see `CONTRIBUTING.md`.
//! Nothing in the product sets or needs them, and whoever starts an agent with one is told so in its log.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    btf::VMLINUX,
    offsets::Offsets,
    programs::{LADDER, Rung},
};

/// Overrides offsets: `NAME=offset,…`, names as in `wellhead_common::fields`.
const OFFSETS: &str = "WELLHEAD_TEST_OFFSETS";
/// Reads the kernel's types from another file; a missing one stands for a kernel without BTF.
const BTF: &str = "WELLHEAD_TEST_BTF";
/// Programs that count as refused by the kernel: `NAME,…`.
const REFUSED: &str = "WELLHEAD_TEST_REFUSED";

/// What the hooks say; nothing, outside of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Where to read the kernel's types.
    pub btf: Option<PathBuf>,
    /// Offsets that replace those found there.
    pub offsets: Vec<(&'static str, u32)>,
    /// Programs left out, as if from a version that did not have them. No variable sets it.
    pub left_out: Vec<&'static str>,
    /// Programs that are not even tried to load.
    pub refused: Vec<&'static str>,
    /// Where an agent dies that takes over from another. No variable sets it.
    pub dies: Option<Step>,
}

/// Steps of taking over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is known what to do with what is pinned.
    Planned,
    /// The new programs are attached, and the old ones work.
    Attached,
    /// The switch is turned.
    Switched,
}

/// A hook that cannot be followed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HookError {
    /// Not of the form `NAME=offset`.
    #[error("{OFFSETS}: expected NAME=offset, found {found:?}")]
    Malformed {
        /// What is there.
        found: String,
    },
    /// No program reads a field of that name.
    #[error("{OFFSETS}: there is no field {name:?}; known are {}", Offsets::names().collect::<Vec<_>>().join(", "))]
    UnknownField {
        /// The name.
        name: String,
    },
    /// There is no such program.
    #[error("{REFUSED}: there is no program {name:?}; known are {}", programs().collect::<Vec<_>>().join(", "))]
    UnknownProgram {
        /// The name.
        name: String,
    },
}

impl Hooks {
    /// Reads the environment.
    ///
    /// # Errors
    /// A hook is set that cannot be followed.
    pub fn from_environment() -> Result<Self, HookError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Ok(Self {
            btf: variable(BTF).map(PathBuf::from),
            offsets: match variable(OFFSETS) {
                Some(text) => parse_offsets(&text)?,
                None => Vec::new(),
            },
            left_out: Vec::new(),
            refused: match variable(REFUSED) {
                Some(text) => parse_programs(&text)?,
                None => Vec::new(),
            },
            dies: None,
        })
    }

    /// Dies here, if it is to: as by SIGKILL, nothing is put in order.
    pub(crate) fn pass(&self, step: Step) {
        if self.dies == Some(step) {
            std::process::abort();
        }
    }

    /// Where the kernel's types are read.
    pub(crate) fn btf_path(&self) -> &Path {
        self.btf.as_deref().unwrap_or(Path::new(VMLINUX))
    }

    /// Replaces offsets.
    pub(crate) fn apply(&self, offsets: &mut Offsets) {
        for (name, offset) in &self.offsets {
            for (_, found) in offsets.globals.iter_mut().filter(|(of, _)| of == name) {
                *found = *offset;
            }
        }
    }

    /// Whether a program is not to be loaded.
    pub(crate) fn refuse(&self, program: &str) -> bool {
        self.refused.contains(&program)
    }

    /// Says which hooks are set, if any is.
    pub(crate) fn warn(&self) {
        if let Some(path) = &self.btf {
            tracing::warn!(path = %path.display(), "{BTF} is set: types are not the kernel's own");
        }
        for (name, offset) in &self.offsets {
            tracing::warn!(
                name,
                offset,
                "{OFFSETS} is set: an offset is not the kernel's own"
            );
        }
        for program in &self.refused {
            tracing::warn!(program, "{REFUSED} is set: a program is not loaded");
        }
    }
}

/// The programs of kernels with BTF.
fn programs() -> impl Iterator<Item = &'static str> {
    let all = LADDER.iter().flat_map(|rung: &Rung| rung.programs);
    all.map(|program| program.name)
}

fn parse_programs(text: &OsStr) -> Result<Vec<&'static str>, HookError> {
    let text = text.to_string_lossy();
    let names = text.split(',').map(str::trim);
    names
        .map(|name| {
            let known = programs().find(|known| *known == name);
            known.ok_or_else(|| HookError::UnknownProgram {
                name: name.to_owned(),
            })
        })
        .collect()
}

fn parse_offsets(text: &OsStr) -> Result<Vec<(&'static str, u32)>, HookError> {
    let text = text.to_string_lossy();
    text.split(',').map(parse_offset).collect()
}

fn parse_offset(text: &str) -> Result<(&'static str, u32), HookError> {
    let (name, offset) = text
        .split_once('=')
        .and_then(|(name, offset)| Some((name.trim(), offset.trim().parse().ok()?)))
        .ok_or_else(|| HookError::Malformed {
            found: text.to_owned(),
        })?;
    let known = Offsets::names().find(|known| *known == name);
    let name = known.ok_or_else(|| HookError::UnknownField {
        name: name.to_owned(),
    })?;
    Ok((name, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets() {
        let check = |text: &str, expected: &[(&str, u32)]| {
            let found = parse_offsets(OsStr::new(text)).expect("parses");
            assert_eq!(found, expected, "{text}");
        };
        check("TCP_SRTT=3", &[("TCP_SRTT", 3)]);
        check(
            "TCP_SRTT=3, TASK_PID = 8",
            &[("TCP_SRTT", 3), ("TASK_PID", 8)],
        );
    }

    #[test]
    fn names_what_is_wrong() {
        let check = |text: &str, word: &str| {
            let error = parse_offsets(OsStr::new(text)).expect_err(text).to_string();
            assert!(error.contains(OFFSETS) && error.contains(word), "{error}");
        };
        check("TCP_SRTT", "\"TCP_SRTT\"");
        check("TCP_SRTT=x", "\"TCP_SRTT=x\"");
        check("TCP_SRTT=-1", "expected NAME=offset");
        check("TCP_SRTT=3,", "\"\"");
        check("NO_SUCH=3", "\"NO_SUCH\"");
        check("NO_SUCH=3", "TCP_BYTES_SENT");
    }

    #[test]
    fn reads_programs() {
        let check = |text: &str| parse_programs(OsStr::new(text));
        let both = vec!["live_listeners", "mark_victim"];
        assert_eq!(check("live_listeners, mark_victim"), Ok(both));
        let error = check("live_listeners,no_such").expect_err("no such");
        let error = error.to_string();
        assert!(error.contains("\"no_such\"") && error.contains("live_sockets"));
    }

    #[test]
    fn replaces_only_what_is_named() {
        let mut offsets = Offsets {
            globals: vec![("TCP_SRTT", 1), ("TASK_PID", 2)],
            absent: Vec::new(),
        };
        let hooks = Hooks {
            offsets: vec![("TCP_SRTT", 3)],
            ..Hooks::default()
        };
        hooks.apply(&mut offsets);
        assert_eq!(offsets.globals, [("TCP_SRTT", 3), ("TASK_PID", 2)]);
    }
}
