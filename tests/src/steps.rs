//! Steps that a test and its workload take in turn, by files in a directory.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::capture::DEADLINE;

const PAUSE: Duration = Duration::from_millis(2);

/// The directory both know.
#[derive(Debug)]
pub struct Steps {
    directory: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Steps {
    /// A new directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Self> {
        let owned = tempfile::tempdir()?;
        Ok(Self {
            directory: owned.path().to_owned(),
            _owned: Some(owned),
        })
    }

    /// The directory a workload was told of.
    pub fn at(directory: &str) -> Self {
        Self {
            directory: PathBuf::from(directory),
            _owned: None,
        }
    }

    /// What to tell a workload.
    ///
    /// # Errors
    /// The path is not UTF-8.
    pub fn path(&self) -> Result<&str> {
        self.directory.to_str().context("UTF-8")
    }

    /// Tells the other side something.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn say(&self, name: &str, text: &str) -> Result<()> {
        let (whole, part) = (self.file(name), self.file(&format!("{name}.part")));
        fs::write(&part, text)?;
        Ok(fs::rename(part, whole)?)
    }

    /// Waits for what the other side says, and forgets it.
    ///
    /// # Errors
    /// It does not say it in time.
    pub fn hear(&self, name: &str) -> Result<String> {
        let (file, start) = (self.file(name), Instant::now());
        loop {
            if let Ok(text) = fs::read_to_string(&file) {
                fs::remove_file(&file)?;
                return Ok(text);
            }
            ensure!(start.elapsed() < 4 * DEADLINE, "waited in vain for {name}");
            thread::sleep(PAUSE);
        }
    }

    /// What the other side said, if it did; without waiting.
    pub fn heard(&self, name: &str) -> Option<String> {
        let file = self.file(name);
        let text = fs::read_to_string(&file).ok()?;
        fs::remove_file(file).ok()?;
        Some(text)
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.directory).join(name)
    }
}
