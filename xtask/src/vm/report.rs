//! What programs, in a guest or here, report on a line of its own, apart from everything they print: JSON, one object a line.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// The guest's command ended.
    Exit(u8),
    /// A test ended.
    Test(Test),
    /// What the kernel looks like to the agent.
    Facts(Map<String, Value>),
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) milliseconds: u64,
    /// Attempts that failed before the one that counts.
    pub(crate) retries: u64,
    /// How often the kernel did not run a program because it was running already, in all attempts.
    pub(crate) skipped_runs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// It does not apply there: why.
    Skipped(String),
}

impl Line {
    /// `None` for what is not of this kind.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut object: Map<String, Value> = serde_json::from_str(line.trim()).ok()?;
        if let Some(status) = object.get("exit").and_then(Value::as_u64) {
            return Some(Self::Exit(u8::try_from(status).unwrap_or(u8::MAX)));
        }
        if let Some(Value::Object(facts)) = object.remove("facts") {
            return Some(Self::Facts(facts));
        }
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| object.get(key).and_then(Value::as_u64);
        let reason = text("reason").unwrap_or_default();
        Some(Self::Test(Test {
            name: text("test")?,
            outcome: match text("outcome")?.as_str() {
                "passed" => Outcome::Passed,
                "skipped" => Outcome::Skipped(reason),
                _ => Outcome::Failed(reason),
            },
            milliseconds: number("milliseconds")?,
            retries: number("retries").unwrap_or(0),
            skipped_runs: number("skipped_runs").unwrap_or(0),
        }))
    }
}

/// A file of such lines, while it is written.
#[derive(Debug)]
pub(crate) struct Reports {
    file: File,
    begun: Vec<u8>,
}

impl Reports {
    /// Makes it anew.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let file = File::open(path)?;
        Ok(Self {
            file,
            begun: Vec::new(),
        })
    }

    /// Hands on the lines that have become whole.
    pub(crate) fn read(&mut self, note: &mut impl FnMut(Line)) -> Result<()> {
        let position = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(position))?;
        self.file.read_to_end(&mut self.begun)?;
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            if let Some(line) = Line::parse(&String::from_utf8_lossy(&line)) {
                note(line);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_they_say() {
        let check = |line: &str, expected| assert_eq!(Line::parse(line), expected, "{line}");
        check("{\"exit\":3}\r\n", Some(Line::Exit(3)));
        check("noise", None);
        check("{\"other\":1}", None);
        let test = |outcome| Test {
            name: "one".to_owned(),
            outcome,
            milliseconds: 12,
            retries: 0,
            skipped_runs: 0,
        };
        check(
            r#"{"test":"one","outcome":"passed","milliseconds":12}"#,
            Some(Line::Test(test(Outcome::Passed))),
        );
        check(
            r#"{"test":"one","outcome":"skipped","reason":"no such thing","milliseconds":12}"#,
            Some(Line::Test(test(Outcome::Skipped(
                "no such thing".to_owned(),
            )))),
        );
        check(
            r#"{"test":"one","outcome":"passed","reason":"","milliseconds":12,"retries":1,"skipped_runs":34}"#,
            Some(Line::Test(Test {
                retries: 1,
                skipped_runs: 34,
                ..test(Outcome::Passed)
            })),
        );
        check(r#"{"facts":{}}"#, Some(Line::Facts(Map::new())));
    }
}
