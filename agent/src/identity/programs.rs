//! Names of programs that are executed over and over, each made once.

use std::sync::Arc;

use crate::events::Exec;
use crate::hash::HashMap;

/// Beyond so many it begins anew: a node executes a few hundred.
const MOST: usize = 1_024;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name it was called by.
    pub name: Arc<str>,
    /// Path of the file that is executed: of a script its interpreter's. Where that is not known, the path that was given.
    pub path: Arc<str>,
}

/// Those that were executed lately, by the path that was given and the file that it led to.
#[derive(Debug, Default)]
pub struct Programs {
    by_path: HashMap<Box<[u8]>, Program>,
    /// Where the key of the program that is asked for is put together.
    key: Vec<u8>,
}

impl Programs {
    /// The program that is executed.
    pub fn of(&mut self, exec: &Exec<'_>) -> Program {
        // Of a path that is cut or not there, the name is that of the process.
        let is_name_of_path = !exec.file_name_truncated && !exec.file_name.ends_with(b"/");
        if !is_name_of_path || exec.file_name.is_empty() {
            return program(exec);
        }
        self.key.clear();
        for part in [exec.file_name, b"\0", exec.executable.names] {
            self.key.extend_from_slice(part);
        }
        if let Some(known) = self.by_path.get(&*self.key) {
            return known.clone();
        }
        if self.by_path.len() >= MOST {
            self.by_path.clear();
        }
        let program = program(exec);
        self.by_path
            .insert(self.key.as_slice().into(), program.clone());
        program
    }
}

fn program(exec: &Exec<'_>) -> Program {
    Program {
        name: exec.name().into(),
        path: executable_path(exec).into(),
    }
}

/// Path of the file that is executed.
pub fn executable_path(exec: &Exec<'_>) -> String {
    if exec.is_in_memory {
        // It is in no directory; the name is what it was made with.
        let name = exec.executable.names.strip_suffix(b"\0");
        return String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    }
    let path = exec.executable.to_path();
    // The root is no file: nothing is known.
    let path = path.filter(|_| !exec.executable.names.is_empty());
    path.unwrap_or_else(|| String::from_utf8_lossy(exec.file_name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ProcessId;

    fn exec<'a>(file_name: &'a [u8], truncated: bool, comm: &'a [u8]) -> Exec<'a> {
        Exec {
            process: ProcessId {
                pid: 1,
                start_ns: 1,
            },
            parent: ProcessId {
                pid: 1,
                start_ns: 0,
            },
            uid: 0,
            comm,
            file_name,
            file_name_truncated: truncated,
            arguments: b"",
            arguments_truncated: false,
            ..Exec::default()
        }
    }

    #[test]
    fn a_path_has_one_name_whatever_the_process_was_called() {
        let mut programs = Programs::default();
        let first = programs.of(&exec(b"/bin/sh", false, b"a"));
        assert_eq!((&*first.name, &*first.path), ("sh", "/bin/sh"));
        let again = programs.of(&exec(b"/bin/sh", false, b"b"));
        assert!(Arc::ptr_eq(&first.name, &again.name));
    }

    #[test]
    fn where_the_path_does_not_tell_the_process_does() {
        let mut programs = Programs::default();
        for (path, truncated) in [(&b"/a/b"[..], true), (b"", false), (b"/a/", false)] {
            for comm in [&b"one\0"[..], b"two\0"] {
                let program = programs.of(&exec(path, truncated, comm));
                assert_eq!(program.name.as_bytes(), &comm[..3]);
            }
        }
        assert!(programs.by_path.is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let mut programs = Programs::default();
        for number in 0..3 * MOST {
            programs.of(&exec(format!("/{number}").as_bytes(), false, b""));
            assert!(programs.by_path.len() <= MOST);
        }
    }
}
