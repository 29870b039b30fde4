//! Once more, alone: tests against a real kernel and real neighbours share the machine with whatever else it does, and one
//! of hundreds may find it in the way. A test that fails runs a second time with nothing beside it; one that then passes
//! is told as flaky, and one that fails again fails the run.

use std::ffi::OsString;

use anyhow::{Result, bail, ensure};

use crate::cmd::{Cmd, say};

/// More than so many failures are no accident.
const AT_MOST: usize = 3;

/// Runs one test program, started by what `cargo` returns: everything in it, then what failed once more. Of tests that were asked
/// for by their names, none is run again.
pub(crate) fn run(cargo: impl Fn() -> Cmd, filter: &[OsString]) -> Result<()> {
    if !filter.is_empty() {
        return cargo().arg("--").args(filter).run();
    }
    attempt(|alone| {
        let cargo = match alone {
            Some(name) => cargo().args(["--", "--exact", "--test-threads=1", name]),
            None => cargo(),
        };
        let shown = cargo.to_string();
        let (status, output) = cargo.run_and_keep()?;
        Ok(Run {
            is_fine: status.success(),
            output,
            shown: format!("`{shown}`: {status}"),
        })
    })
}

/// A test program that has ended.
struct Run {
    is_fine: bool,
    output: String,
    /// What ran and how it ended, for people.
    shown: String,
}

/// `run` runs all tests, or one alone.
fn attempt(run: impl Fn(Option<&str>) -> Result<Run>) -> Result<()> {
    let all = run(None)?;
    if all.is_fine {
        return Ok(());
    }
    let failed = failures(&all.output);
    // One that died on the way has no result, and nobody knows what it would have found.
    let results = all.output.lines().filter(|line| line.starts_with(RESULT));
    if results.count() != 1 || failed.is_empty() || failed.len() > AT_MOST {
        bail!("{}, {} tests failed", all.shown, failed.len());
    }
    for name in failed {
        say(format!(
            "WARNING: once more, alone, because it failed beside others: {name}"
        ));
        let alone = run(Some(name))?;
        let passed = format!("{RESULT} ok. 1 passed; 0 failed;");
        let ran = alone.output.contains(&passed);
        ensure!(alone.is_fine && ran, "{}, failed as well", alone.shown);
        say(format!(
            "FLAKY: {name} failed at its first attempt, see above, and passed at its second"
        ));
    }
    Ok(())
}

/// What the line begins with that test programs end with.
const RESULT: &str = "test result:";

/// The names in the last list that a test program prints under `failures:`.
fn failures(output: &str) -> Vec<&str> {
    let Some((_, list)) = output.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    list.lines()
        .map_while(|line| line.strip_prefix("    "))
        .map(str::trim_end)
        .filter(|name| !name.is_empty() && !name.contains(' '))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_failed() {
        let output = "test a::one ... ok\ntest a::two ... FAILED\n\nfailures:\n\n---- a::two stdout ----\n    at here\n\n\
                      failures:\n    a::two\n    b::three\n\ntest result: FAILED. 1 passed; 2 failed\n";
        assert_eq!(failures(output), ["a::two", "b::three"]);
        assert_eq!(failures("error: could not compile"), Vec::<&str>::new());
        assert_eq!(failures("\nfailures:\n    cut"), ["cut"]);
    }

    /// Whether a program is fine after all that prints these failures and this result, and alone that one.
    fn check(failed: &str, result: &str, alone: (bool, &str), expected: bool) {
        let found = attempt(|name| {
            let (is_fine, output) = match name {
                None => (false, format!("\nfailures:\n{failed}\n{result}")),
                Some(_) => (alone.0, alone.1.to_owned()),
            };
            Ok(Run {
                is_fine,
                output,
                shown: "a program".to_owned(),
            })
        });
        assert_eq!(found.is_ok(), expected, "{failed} {result} {alone:?}");
    }

    #[test]
    fn one_that_passes_alone_is_flaky_and_one_that_does_not_fails() {
        let failed = "test result: FAILED. 0 passed; 1 failed;\n";
        let passes = (true, "test result: ok. 1 passed; 0 failed; 0 ignored");
        let one = "    one\n";
        check(one, failed, passes, true);
        check("    one\n    two\n", failed, passes, true);
        let runs_nothing = (true, "test result: ok. 0 passed; 0 failed; 0 ignored");
        check(one, failed, runs_nothing, false);
        check(one, failed, (false, passes.1), false);
        check(one, "", passes, false);
        check("    a\n    b\n    c\n    d\n", failed, passes, false);
        check("", failed, passes, false);
    }
}
