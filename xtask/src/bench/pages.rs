//! What of a run is in `docs/`: its report, and the page and the plots that are made of that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::report::Report;
use super::{beyond, markdown, svg};
use crate::cmd::{say, write_if_changed};
use crate::paths;

/// Below `docs/`: the report, its page, and the directory of the page's plots.
const JSON: &str = "performance.json";
const PAGE: &str = "performance.md";
const BEYOND: &str = "scale.md";
pub(super) const DIRECTORY: &str = "performance";

/// Makes the page and its plots of what was written down, or with `check` fails if one of them is out of date.
pub(crate) fn document(check: bool) -> Result<()> {
    document_in(&docs()?, check)
}

fn document_in(docs: &Path, check: bool) -> Result<()> {
    let kept = match fs::read_to_string(docs.join(JSON)) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read docs/{JSON}")),
    };
    let report: Report = serde_json::from_str(&kept)
        .with_context(|| format!("docs/{JSON} is no report of this `cargo xtask bench`"))?;
    let files = files(&report)?;
    for (name, text) in &files {
        let path = docs.join(name);
        if !check {
            write(&path, text)?;
        } else if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            bail!("docs/{name} is out of date: cargo xtask docs");
        }
    }
    for plot in plots(&docs.join(DIRECTORY))? {
        if files.iter().any(|(name, _)| docs.join(name) == plot) {
            continue;
        }
        let shown = plot.display();
        ensure!(!check, "{shown} is of no plot: cargo xtask docs");
        fs::remove_file(&plot).with_context(|| format!("cannot remove {shown}"))?;
    }
    Ok(())
}

/// Writes down a run, and makes the page of it.
pub(super) fn keep(report: &Report) -> Result<()> {
    keep_in(&docs()?, report)
}

fn keep_in(docs: &Path, report: &Report) -> Result<()> {
    write(&docs.join(JSON), &json(report)?)?;
    document_in(docs, false)
}

/// The page and its plots, by their names below `docs/`.
fn files(report: &Report) -> Result<Vec<(String, String)>> {
    let mut files = vec![(PAGE.to_owned(), markdown::page(report))];
    files.extend(beyond::page(report)?.map(|page| (BEYOND.to_owned(), page)));
    for plot in report.plots() {
        let name = format!("{DIRECTORY}/{}.svg", plot.name);
        ensure!(
            files.iter().all(|(other, _)| *other != name),
            "two plots are called {}",
            plot.name
        );
        files.push((name, svg::draw(plot)));
    }
    Ok(files)
}

/// Files of plots that there are.
fn plots(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(files
        .filter(|file| file.extension().is_some_and(|ending| ending == "svg"))
        .collect())
}

/// A report as it is kept.
pub(super) fn json(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        let refused = || format!("cannot create {}", directory.display());
        fs::create_dir_all(directory).with_context(refused)?;
    }
    if write_if_changed(path, text.as_bytes())? {
        say(format!("{}: written", path.display()));
    }
    Ok(())
}

fn docs() -> Result<PathBuf> {
    Ok(paths::root()?.join("docs"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = report();
        let written = json(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report);
        assert!(written.contains(r#""name": "userspace""#), "{written}");
    }

    #[test]
    fn a_page_has_a_file_for_each_plot() {
        let mut report = report();
        let names = |report: &Report| -> Result<Vec<String>> {
            Ok(files(report)?.into_iter().map(|(name, _)| name).collect())
        };
        let expected = ["performance.md", "performance/loss.svg"];
        assert_eq!(names(&report).unwrap(), expected);
        report.parts.push(report.parts[0].clone());
        let error = names(&report).unwrap_err().to_string();
        assert_eq!(error, "two plots are called loss");
    }

    #[test]
    fn what_is_made_of_a_report_is_compared_with_it() {
        let name = format!("wellhead-xtask-pages-{}", std::process::id());
        let docs = std::env::temp_dir().join(name);
        fs::create_dir_all(&docs).unwrap();
        let complaint = || document_in(&docs, true).unwrap_err().to_string();
        // Nothing was measured yet.
        document_in(&docs, true).unwrap();

        keep_in(&docs, &report()).unwrap();
        document_in(&docs, true).unwrap();
        for file in [PAGE, "performance/loss.svg"] {
            fs::write(docs.join(file), "by hand").unwrap();
            assert_eq!(
                complaint(),
                format!("docs/{file} is out of date: cargo xtask docs")
            );
            document_in(&docs, false).unwrap();
        }
        let stale = docs.join("performance/stale.svg");
        fs::write(&stale, "").unwrap();
        assert!(
            complaint().contains("stale.svg is of no plot"),
            "{}",
            complaint()
        );
        document_in(&docs, false).unwrap();
        assert!(!stale.exists());

        fs::write(docs.join(JSON), "{}").unwrap();
        assert!(complaint().contains("is no report"), "{}", complaint());
        fs::remove_dir_all(&docs).unwrap();
    }
}
