//! Once more, alone: tests against a real kernel and real neighbours share the machine with whatever else it does, and one
//! of hundreds may find it in the way. A test that fails runs a second time with nothing beside it; one that then passes
//! is told as flaky, and one that fails again fails the run.

use anyhow::{Result, bail, ensure};

use crate::cmd::{Cmd, say};

/// More than so many failures are no accident.
const AT_MOST: usize = 3;

/// Runs one test program, started by what `cargo` returns: everything in it, then what failed once more.
pub(crate) fn run(cargo: impl Fn() -> Cmd) -> Result<()> {
    let first = cargo();
    let shown = first.to_string();
    let (status, output) = first.run_and_keep()?;
    if status.success() {
        return Ok(());
    }
    let failed = failures(&output);
    // One that died on the way has no result, and nobody knows what it would have found.
    let ended = output
        .lines()
        .filter(|line| line.starts_with(RESULT))
        .count();
    if ended != 1 || failed.is_empty() || failed.len() > AT_MOST {
        bail!("`{shown}` failed: {status}, {} tests", failed.len());
    }
    for name in failed {
        say(format!(
            "WARNING: once more, alone, because it failed beside others: {name}"
        ));
        let again = cargo().args(["--", "--exact", "--test-threads=1", name]);
        let shown = again.to_string();
        let (status, output) = again.run_and_keep()?;
        let ran = output.contains(&format!("{RESULT} ok. 1 passed; 0 failed;"));
        ensure!(
            status.success() && ran,
            "`{shown}` failed as well: {status}"
        );
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

    /// A program that fails in these tests, and does this when told to run one alone.
    fn program(failed: &str, result: &str, alone: &str) -> impl Fn() -> Cmd {
        let script = format!(
            "case \"$*\" in *--exact*) {alone};; esac; printf '\\nfailures:\\n{failed}\\n{result}'; exit 101"
        );
        move || Cmd::new("sh").args(["-c", &script, "sh"])
    }

    #[test]
    fn one_that_passes_alone_is_flaky_and_one_that_does_not_fails() {
        const FAILED: &str = "test result: FAILED. 0 passed; 1 failed;\\n";
        const PASSES: &str = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit 0";
        const RUNS_NOTHING: &str = "echo 'test result: ok. 0 passed; 0 failed; 0 ignored'; exit 0";
        let one = "    one\\n";
        run(program(one, FAILED, PASSES)).unwrap();
        run(program("    one\\n    two\\n", FAILED, PASSES)).unwrap();
        run(program(one, FAILED, RUNS_NOTHING)).unwrap_err();
        run(program(one, FAILED, "exit 101")).unwrap_err();
        run(program(one, "", PASSES)).unwrap_err();
        run(program("    a\\n    b\\n    c\\n    d\\n", FAILED, PASSES)).unwrap_err();
        run(program("", FAILED, PASSES)).unwrap_err();
    }
}
