//! A place for agents to keep their programs that no other agent uses.

use std::path::{Path, PathBuf};
use std::{fs, process};

use super::command::{Finished, finish, wellhead};
use super::wait::until;
use super::work::unique;

/// Where the file system is.
const MOUNT: &str = "/sys/fs/bpf";

/// A directory of pins; whatever is in it when this is dropped is removed.
#[derive(Debug)]
pub(crate) struct Pins(PathBuf);

impl Pins {
    pub(crate) fn new() -> Self {
        let name = format!("wellhead-test-{}-{}", process::id(), unique());
        Self(Path::new(MOUNT).join(name))
    }

    /// Where nobody ever pins anything.
    pub(super) fn none() -> PathBuf {
        Path::new(MOUNT).join(format!("wellhead-test-{}", process::id()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What has an agent keep its programs here, for `--set`.
    pub(crate) fn settings(&self) -> [String; 2] {
        [
            "pins.keep=on".to_owned(),
            format!("pins.directory={}", self.0.display()),
        ]
    }

    /// The one generation of programs that is here, once nothing is left of others.
    pub(crate) fn generation(&self) -> u64 {
        until("one generation of programs", || {
            let names = fs::read_dir(self.0.join("v1")).expect("pins");
            let numbers: Vec<u64> = names
                .filter_map(|name| name.expect("a name").file_name().to_str()?.parse().ok())
                .collect();
            (numbers.len() == 1).then(|| numbers[0])
        })
    }

    /// `wellhead uninstall`, of what is here and in a runtime directory.
    pub(crate) fn uninstall(&self, runtime_directory: &Path) -> Finished {
        let [_, pins] = self.settings();
        let runtime = format!("runtime_directory={}", runtime_directory.display());
        finish(&mut wellhead(&[
            "uninstall",
            "--set",
            &pins,
            "--set",
            &runtime,
        ]))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.0.exists() {
            let nowhere = Path::new("/nonexistent/wellhead");
            let finished = self.uninstall(nowhere);
            assert!(
                std::thread::panicking() || !self.0.exists(),
                "pins are left: {finished:?}"
            );
        }
    }
}
