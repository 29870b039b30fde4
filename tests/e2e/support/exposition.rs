//! Reading `/metrics`: a small parser for counting, and Prometheus' own ones for judging.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use super::requirements::tool;

/// One line of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// As written.
    pub(crate) value: String,
}

/// A page in the text format.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) samples: Vec<Sample>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.map(sample).collect(),
        }
    }

    /// The samples of this name that have all these labels.
    pub(crate) fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).is_some_and(|known| known == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The value of the one sample of this name that has these labels and no others.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let mut found = self.select(name, labels);
        let exact = found.find(|sample| sample.labels.len() == labels.len());
        exact.expect("a sample").value.clone()
    }

    /// Their sum; 0 if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let values = self.select(name, labels);
        values
            .map(|sample| sample.value.parse::<u64>().expect("a whole number"))
            .sum()
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").expect("a label");
            let (value, after) = unquoted(value);
            let fresh = labels.insert(label.to_owned(), value).is_none();
            assert!(fresh, "label {label} occurs twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    Sample {
        name: name.to_owned(),
        labels,
        value: rest.strip_prefix(' ').expect("a value").to_owned(),
    }
}

/// The text up to the closing quote, and what follows that.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => panic!("no such escape: {other:?}"),
            },
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}");
}

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

/// A page as `prometheus_client`, the Python library, understands it: values by name and labels, written alike.
pub(crate) fn judged(
    format: Format,
    page: &str,
) -> BTreeMap<(String, BTreeMap<String, String>), String> {
    let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/rigs/exposition.py");
    let format = match format {
        Format::Text => "text",
        Format::OpenMetrics => "openmetrics",
    };
    let mut python = Command::new(tool("WELLHEAD_TEST_PYTHON"));
    let output = fed(python.args([rig, format]), page);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{format} is not accepted: {complaint}\n{page}"
    );
    let samples: Vec<(String, BTreeMap<String, String>, String)> =
        serde_json::from_slice(&output.stdout).expect("JSON");
    let count = samples.len();
    let samples: BTreeMap<_, _> = samples
        .into_iter()
        .map(|(name, labels, value)| ((name, labels), value))
        .collect();
    assert_eq!(samples.len(), count, "a series occurs twice");
    samples
}

/// What `promtool`, Prometheus' own checker, complains of in a page in the text format: bad syntax, and bad style.
pub(crate) fn linted(page: &str) -> Option<String> {
    let output = checked(page);
    (!output.status.success()).then(|| format!("{output:?}"))
}

/// What it complains of in the syntax alone.
pub(crate) fn refused_syntax(page: &str) -> Option<String> {
    // Its exit status where there is nothing but bad style.
    const STYLE: i32 = 3;
    let output = checked(page);
    (!matches!(output.status.code(), Some(0 | STYLE))).then(|| format!("{output:?}"))
}

fn checked(page: &str) -> Output {
    let mut promtool = Command::new(tool("WELLHEAD_TEST_PROMTOOL"));
    fed(promtool.args(["check", "metrics"]), page)
}

/// What a program makes of a page.
fn fed(command: &mut Command, page: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        // It may write before it has read all. One that gives up early says why.
        scope.spawn(move || drop(input.write_all(page.as_bytes())));
        child.wait_with_output()
    });
    output.expect("an end")
}
