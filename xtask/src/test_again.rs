//! Once more, alone: tests against a real kernel and real neighbours share the machine with whatever else it does, and one
//! of hundreds may find it in the way. A test that fails runs a second time with nothing beside it; one that then passes
//! is told as flaky, and one that fails again fails the run.

use anyhow::{Result, bail};

use crate::cmd::{Cmd, say};

/// More than so many failures are no accident.
const AT_MOST: usize = 3;

/// Runs test programs, started by what `cargo` returns: everything in them, then what failed once more.
pub(crate) fn run(cargo: impl Fn() -> Cmd) -> Result<()> {
    let first = cargo();
    let shown = first.to_string();
    let (status, output) = first.run_and_keep()?;
    if status.success() {
        return Ok(());
    }
    let failed = failures(&output);
    if failed.is_empty() || failed.len() > AT_MOST {
        bail!("`{shown}` failed: {status}, {} tests", failed.len());
    }
    say(format!(
        "WARNING: once more, alone, because they failed beside others: {}",
        failed.join(", ")
    ));
    cargo()
        .args(["--", "--exact", "--test-threads=1"])
        .args(&failed)
        .run()?;
    for name in failed {
        say(format!(
            "FLAKY: {name} failed at its first attempt, see above, and passed at its second"
        ));
    }
    Ok(())
}

/// The names in the lists that test programs print under `failures:`, before their results.
fn failures(output: &str) -> Vec<&str> {
    let lists = output.split("\nfailures:\n").skip(1);
    let names = lists.flat_map(|list| {
        list.lines()
            .map_while(|line| line.strip_prefix("    "))
            .map(str::trim_end)
            .filter(|name| !name.is_empty() && !name.contains(' '))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_failed() {
        let output = "test a::one ... ok\ntest a::two ... FAILED\n\nfailures:\n\n---- a::two stdout ----\n    at here\n\n\
                      failures:\n    a::two\n    b::three\n\ntest result: FAILED. 1 passed; 2 failed\n";
        assert_eq!(failures(output), ["a::two", "b::three"]);
        let twice = format!("{output}{output}");
        assert_eq!(failures(&twice).len(), 4);
        assert_eq!(failures("error: could not compile"), Vec::<&str>::new());
        assert_eq!(failures("\nfailures:\n    cut"), ["cut"]);
    }

    #[test]
    fn one_that_passes_alone_is_flaky_and_one_that_does_not_fails() {
        let fails_unless_alone = "case \"$*\" in *--exact*) exit 0;; esac; printf '\\nfailures:\\n    one\\n\\n'; exit 101";
        let shell = |script: &'static str| move || Cmd::new("sh").args(["-c", script, "sh"]);
        run(shell(fails_unless_alone)).unwrap();
        let always = "printf '\\nfailures:\\n    one\\n\\n'; exit 101";
        run(shell(always)).unwrap_err();
        let four = "printf '\\nfailures:\\n    a\\n    b\\n    c\\n    d\\n\\n'; case \"$*\" in *--exact*) exit 0;; esac; exit 101";
        run(shell(four)).unwrap_err();
        run(shell("exit 101")).unwrap_err();
    }
}
