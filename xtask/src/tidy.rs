//! Hygiene of the repository that no compiler checks.

mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::cmd::{Cmd, say};
use crate::paths;

/// Which tests show which rule.
const CONFORMANCE: &str = "docs/conformance.md";

/// Checks every file that git knows or would add.
pub(crate) fn run() -> Result<()> {
    let root = paths::root()?;
    let files = files(&root)?;
    let mut problems = Vec::new();
    for name in &files {
        let Some(text) = read(&root.join(name))? else {
            continue;
        };
        problems.extend(rules::check_file(name, &text));
    }
    let architecture = read(&root.join("ARCHITECTURE.md"))?.unwrap_or_default();
    problems.extend(rules::check_architecture(&files, &architecture));
    let conformance = read(&root.join(CONFORMANCE))?.unwrap_or_default();
    let code = |name: &str| read(&root.join(name)).ok().flatten();
    problems.extend(rules::check_tests_named(CONFORMANCE, &conformance, code));
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        say(problem);
    }
    bail!("{} problems", problems.len());
}

fn files(root: &Path) -> Result<BTreeSet<String>> {
    let list = Cmd::new("git")
        .dir(root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .ask()
        .context("`git ls-files` failed")?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// `None` for what is no text, or is deleted and still in git's index.
fn read(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8(bytes).ok())
}
