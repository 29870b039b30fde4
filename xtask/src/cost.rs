//! `cargo xtask test cost`: what must not get dearer unnoticed, and can be measured on a machine that is busy: instructions for a
//! record in user space, and sizes of what is shipped. What it may be is written down in `tests/golden/cost.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cmd::{Cmd, say, write_if_changed};
use crate::vm::Bless;
use crate::{agent, ebpf, paths, setup};

const GOLDEN: &str = "tests/golden/cost.json";

/// By how much something may grow before somebody has to agree: percent.
const GROWTH: f64 = 5.0;
const MORE: f64 = 1.0 + GROWTH / 100.0;
const LESS: f64 = 1.0 - GROWTH / 100.0;

/// Mixes of records that `tests/bench/instructions.rs` knows.
const MIXES: [&str; 4] = ["processes", "connections", "snapshots", "mixed"];

/// What callgrind counts from the beginning to the end of.
const COUNTED: &str = "*take_in_once_more*";

/// Is made where there is a cluster to test it in, and compared there.
const IMAGE: &str = "bytes: image, unpacked";

/// By what it is of.
type Costs = BTreeMap<String, f64>;

/// Measures and compares; with [`Bless::Yes`] writes down what it is from now on.
pub(crate) fn test(bless: Bless) -> Result<()> {
    let mut costs = sizes()?;
    costs.extend(instructions()?);
    let known = known()?;
    if bless == Bless::Yes {
        costs.extend(known.into_iter().filter(|(name, _)| name == IMAGE));
        return keep(&costs);
    }
    check(known.into_iter().filter(|(name, _)| name != IMAGE), &costs)
}

/// Compares the size of an image, or writes it down.
pub(crate) fn image(unpacked: usize, bless: Bless) -> Result<()> {
    let size = (IMAGE.to_owned(), number(unpacked as u64)?);
    let mut known = known()?;
    if bless == Bless::Yes {
        known.extend([size]);
        return keep(&known);
    }
    check(
        known.into_iter().filter(|(name, _)| name == IMAGE),
        &[size].into(),
    )
}

fn known() -> Result<Costs> {
    let golden = paths::root()?.join(GOLDEN);
    match fs::read_to_string(&golden) {
        Ok(text) => serde_json::from_str(&text).context(GOLDEN),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Costs::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", golden.display())),
    }
}

fn keep(costs: &Costs) -> Result<()> {
    let golden = paths::root()?.join(GOLDEN);
    let text = serde_json::to_string_pretty(costs)?;
    if write_if_changed(&golden, format!("{text}\n").as_bytes())? {
        say(format!("{}: written", golden.display()));
    }
    Ok(())
}

fn check(known: impl Iterator<Item = (String, f64)>, costs: &Costs) -> Result<()> {
    let (lines, is_right) = compare(&known.collect(), costs);
    lines.iter().for_each(say);
    ensure!(
        is_right,
        "something is not in {GOLDEN}, or costs more than {GROWTH} % more than there: mend it, or write it down with `--bless`"
    );
    Ok(())
}

/// A line for each, and whether none has grown too much or is missing.
fn compare(known: &Costs, costs: &Costs) -> (Vec<String>, bool) {
    let mut is_right = true;
    let mut lines = Vec::new();
    for (name, cost) in costs {
        let Some(known) = known.get(name) else {
            is_right = false;
            lines.push(format!("NEW      {name}: {cost:.0}"));
            continue;
        };
        let growth = (cost / known - 1.0) * 100.0;
        let sign = if *cost > known * MORE {
            is_right = false;
            "DEARER"
        } else if *cost < known * LESS {
            "cheaper"
        } else {
            "same"
        };
        lines.push(format!(
            "{sign:<8} {name}: {cost:.0}, was {known:.0} ({growth:+.1} %)"
        ));
    }
    for name in known.keys().filter(|name| !costs.contains_key(*name)) {
        is_right = false;
        lines.push(format!("MISSING  {name}"));
    }
    (lines, is_right)
}

fn sizes() -> Result<Costs> {
    let program = agent::build_for_tests()?;
    let programs = ebpf::object()?;
    let size = |name: &str, path: &Path| -> Result<(String, f64)> {
        let metadata = fs::metadata(path);
        let metadata = metadata.with_context(|| format!("cannot read {}", path.display()))?;
        Ok((format!("bytes: {name}"), number(metadata.len())?))
    };
    Ok([
        size("wellhead, release build", &program)?,
        size("programs of the kernel", &programs)?,
    ]
    .into())
}

fn number(number: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

fn instructions() -> Result<Costs> {
    setup::tests()?;
    let program = build()?;
    let mut costs = Costs::new();
    for mix in MIXES {
        let cost = instructions_of(&program, mix)?;
        costs.insert(format!("instructions for a record: {mix}"), cost);
    }
    Ok(costs)
}

/// For each record of a mix.
fn instructions_of(program: &Path, mix: &str) -> Result<f64> {
    let output = paths::target_dir()?.join(format!("callgrind.{mix}"));
    let said = Cmd::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(program)
        .arg(mix)
        .output()?;
    let records: f64 = said.trim().parse().context("no number of records")?;
    let text =
        fs::read_to_string(&output).with_context(|| format!("cannot read {}", output.display()))?;
    let total = total(&text).with_context(|| format!("{} has no totals", output.display()))?;
    ensure!(total > 0.0, "callgrind does not know `{COUNTED}`");
    Ok((total / records).round())
}

/// Instructions in all, as callgrind writes them at the end of its file.
fn total(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line?.trim().parse().ok()
}

/// The program that takes records in; cargo says where it is.
fn build() -> Result<PathBuf> {
    let said = Cmd::cargo()
        .dir(&paths::root()?)
        .args([
            "bench",
            "--locked",
            "--package",
            "wellhead-tests",
            "--bench",
            "instructions",
        ])
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .output()?;
    let built = said.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "instructions";
        let path = message["executable"].as_str().filter(|_| is_ours)?;
        Some(PathBuf::from(path))
    });
    let Some(built) = built else {
        bail!("cargo does not say where it put the program");
    };
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_too_much_is_told() {
        let costs = |a: f64, b: f64| Costs::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let check = |now: Costs, expected: &str, is_right| {
            let found = compare(&costs(100.0, 200.0), &now);
            assert_eq!((found.0.join("\n").as_str(), found.1), (expected, is_right));
        };
        check(
            costs(105.0, 180.0),
            "same     a: 105, was 100 (+5.0 %)\ncheaper  b: 180, was 200 (-10.0 %)",
            true,
        );
        check(
            costs(106.0, 200.0),
            "DEARER   a: 106, was 100 (+6.0 %)\nsame     b: 200, was 200 (+0.0 %)",
            false,
        );
        check(
            Costs::from([("a".to_owned(), 100.0), ("c".to_owned(), 3.0)]),
            "same     a: 100, was 100 (+0.0 %)\nNEW      c: 3\nMISSING  b",
            false,
        );
    }

    #[test]
    fn totals_are_found() {
        assert_eq!(total("summary: 5\n\ntotals: 1234\n"), Some(1234.0));
        assert_eq!(total("fn=(1) main\n"), None);
    }
}
