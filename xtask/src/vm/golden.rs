//! What each kernel of the matrix looked like when somebody last said that this is right: offsets of fields, prototypes of
//! tracepoints, and what the verifier made of the programs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::kernels::KERNELS;
use super::pages;
use crate::cmd::{say, write_if_changed};
use crate::paths;

/// Where it is written down, a file for each kernel.
pub(crate) const DIRECTORY: &str = "tests/golden";

/// By how much the costs of a program may grow before somebody has to agree: percent.
const GROWTH: u64 = 5;
/// What may not grow. Machine code is left out: it depends on the processor too.
const COSTS: [&str; 2] = ["verified_instructions", "translated_bytes"];

/// Whether what is seen is right from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bless {
    No,
    Yes,
}

/// The facts about one kernel, as they are kept.
pub(crate) type Facts = Map<String, Value>;

/// Compares, and says what differs; `false` if that is not all right.
pub(crate) fn check(kernel: &str, package: &str, seen: &Facts, bless: Bless) -> Result<bool> {
    let file = file(kernel)?;
    let mut facts = seen.clone();
    facts.insert("package".to_owned(), json!(package));
    if bless == Bless::Yes {
        let text = serde_json::to_string_pretty(&facts)?;
        fs::create_dir_all(paths::root()?.join(DIRECTORY))?;
        if write_if_changed(&file, format!("{text}\n").as_bytes())? {
            say(format!("{}: written", file.display()));
        }
        return Ok(true);
    }
    let Some(known) = read(kernel)? else {
        say(format!(
            "{} is missing: cargo xtask test vm --bless",
            file.display()
        ));
        return Ok(false);
    };
    let differences = compare(&known, &facts);
    for Difference { what, is_wrong } in &differences {
        let sign = if *is_wrong { "WRONG" } else { "differs" };
        say(format!("{kernel}: {sign}: {what}"));
    }
    Ok(differences.iter().all(|difference| !difference.is_wrong))
}

/// Writes the page that shows them all, or checks that it does.
pub(crate) fn document(check: bool) -> Result<()> {
    let mut kernels = Vec::new();
    for kernel in &KERNELS {
        if let Some(facts) = read(kernel.name)? {
            kernels.push((kernel, facts));
        }
    }
    let page = pages::kernels(&kernels);
    let file = paths::root()?.join("docs/kernels.md");
    if check {
        let written = fs::read_to_string(&file).unwrap_or_default();
        anyhow::ensure!(
            written == page,
            "{} is out of date: cargo xtask docs",
            file.display()
        );
        return Ok(());
    }
    write_if_changed(&file, page.as_bytes()).map(drop)
}

fn read(kernel: &str) -> Result<Option<Facts>> {
    let file = file(kernel)?;
    if !file.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file)?;
    let facts = serde_json::from_str(&text);
    facts
        .with_context(|| format!("{} is no JSON", file.display()))
        .map(Some)
}

fn file(kernel: &str) -> Result<PathBuf> {
    Ok(paths::root()?
        .join(DIRECTORY)
        .join(format!("{kernel}.json")))
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    what: String,
    is_wrong: bool,
}

/// Another package is another kernel: there offsets may move, but a field may not go.
fn compare(known: &Facts, seen: &Facts) -> Vec<Difference> {
    let same_kernel = known.get("package") == seen.get("package");
    let mut differences = Vec::new();
    let mut differs =
        |what: String, is_wrong: bool| differences.push(Difference { what, is_wrong });
    if !same_kernel {
        let of = |facts: &Facts| {
            facts
                .get("package")
                .map(Value::to_string)
                .unwrap_or_default()
        };
        differs(format!("package: {} is {}", of(known), of(seen)), false);
    }
    for kind in ["fields", "tracepoints"] {
        for (name, was, is) in pairs(kind, known, seen) {
            let gone = is.is_none_or(Value::is_null);
            if was != is {
                let is_wrong = same_kernel || gone || was.is_none();
                differs(format!("{name}: {} is {}", shown(was), shown(is)), is_wrong);
            }
        }
    }
    for (name, was, is) in pairs("programs", known, seen) {
        let (Some(was), Some(is)) = (was, is) else {
            differs(format!("{name}: {} is {}", shown(was), shown(is)), true);
            continue;
        };
        for cost in COSTS {
            let of = |costs: &Value| costs.get(cost).and_then(Value::as_u64).unwrap_or(0);
            let (was, is) = (of(was), of(is));
            if was != is {
                let is_wrong = is * 100 > was * (100 + GROWTH);
                differs(format!("{name}: {cost}: {was} is {is}"), is_wrong);
            }
        }
    }
    differences
}

type Pair<'a> = (&'a str, Option<&'a Value>, Option<&'a Value>);

/// Everything of a kind that either side has.
fn pairs<'a>(kind: &str, known: &'a Facts, seen: &'a Facts) -> Vec<Pair<'a>> {
    let of = |facts: &'a Facts| facts.get(kind).and_then(Value::as_object);
    let (known, seen) = (of(known), of(seen));
    let is_new = |name: &&String| known.is_none_or(|known| !known.contains_key(*name));
    let known_names = known.into_iter().flat_map(Map::keys);
    let new_names = seen.into_iter().flat_map(Map::keys).filter(is_new);
    known_names
        .chain(new_names)
        .map(|name| {
            let value = |facts: Option<&'a Facts>| facts.and_then(|facts| facts.get(name));
            (name.as_str(), value(known), value(seen))
        })
        .collect()
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "not known".to_owned(),
        Some(Value::Null) => "absent".to_owned(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(package: &str, offset: &Value, verified: u64) -> Facts {
        let facts = json!({
            "package": package,
            "fields": { "SOCK_NUM": offset },
            "tracepoints": {},
            "programs": { "one": { "verified_instructions": verified, "machine_code_bytes": verified } },
        });
        facts.as_object().unwrap().clone()
    }

    fn check(known: &Facts, seen: &Facts, expected: &[(&str, bool)]) {
        let expected: Vec<Difference> = expected
            .iter()
            .map(|(what, is_wrong)| Difference {
                what: (*what).to_owned(),
                is_wrong: *is_wrong,
            })
            .collect();
        assert_eq!(compare(known, seen), expected);
    }

    #[test]
    fn offsets_of_a_kernel_do_not_move() {
        let known = facts("1", &json!(14), 100);
        check(&known, &known, &[]);
        let moved = facts("1", &json!(16), 100);
        check(&known, &moved, &[("SOCK_NUM: 14 is 16", true)]);
    }

    #[test]
    fn offsets_of_another_kernel_may_move_but_not_go() {
        let known = facts("1", &json!(14), 100);
        let package = ("package: \"1\" is \"2\"", false);
        let moved = facts("2", &json!(16), 100);
        check(&known, &moved, &[package, ("SOCK_NUM: 14 is 16", false)]);
        let gone = facts("2", &Value::Null, 100);
        check(&known, &gone, &[package, ("SOCK_NUM: 14 is absent", true)]);
    }

    #[test]
    fn programs_may_grow_a_little() {
        let known = facts("1", &json!(14), 100);
        let check = |verified, is_wrong| {
            let what = format!("one: verified_instructions: 100 is {verified}");
            check(
                &known,
                &facts("1", &json!(14), verified),
                &[(&what, is_wrong)],
            );
        };
        check(50, false);
        check(105, false);
        check(106, true);
    }

    #[test]
    fn what_nobody_has_seen_has_to_be_blessed() {
        let mut known = facts("1", &json!(14), 100);
        let seen = known.clone();
        known.insert("programs".to_owned(), json!({}));
        known.insert("fields".to_owned(), json!({}));
        let found = compare(&known, &seen);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|difference| difference.is_wrong));
    }
}
