//! `cargo xtask test vm`: the kernel tests on this machine's kernel and, the same program, on every kernel of the matrix.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use super::accel::Accelerator;
use super::golden::{self, Bless};
use super::image;
use super::kernels::{Image, KERNELS, Kernel};
use super::qemu::{End, Guest, Terminal};
use super::report::{Line, Outcome, Reports, Test};
use super::{companions, kernel_tests, table, work_directory};
use crate::cmd::{Cmd, quoted, say};
use crate::{setup, test};

/// Guests at a time: two are quicker than one after another, even on two processors.
const AT_A_TIME: usize = 2;
/// A guest in software emulation takes ten minutes.
const LIMIT: Duration = Duration::from_mins(40);
/// What the tests are told. Emulated processors are slow: fewer processes and connections than on real ones, counted just
/// as exactly.
const SETTINGS: [(&str, &str); 5] = [
    // Told in the output, where the first did not do.
    (ATTEMPTS, "3"),
    ("WELLHEAD_TEST_PROCESSES", "4000"),
    ("WELLHEAD_TEST_CONNECTIONS", "3000"),
    ("WELLHEAD_REQUIRE_KERNEL", "1"),
    ("WELLHEAD_TEST_BARE", "1"),
];
const ATTEMPTS: &str = "WELLHEAD_TEST_ATTEMPTS";
const REPORT: &str = "WELLHEAD_TEST_REPORT";

/// One kernel's tests.
#[derive(Debug)]
pub(crate) struct Column {
    /// What the kernel is called.
    pub(crate) title: String,
    /// More about the machine.
    pub(crate) note: String,
    pub(crate) tests: Vec<Test>,
    /// What went wrong beside single tests.
    pub(crate) trouble: Option<String>,
    pub(crate) took: Duration,
    facts: Option<Map<String, Value>>,
}

/// The kernels to test on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// This machine's, and the matrix.
    All,
    /// The matrix, without what takes a minute or more there: this machine's was tested before, with it.
    GuestsInBrief,
}

/// A guest to be.
struct Job {
    kernel: &'static Kernel,
    image: Image,
    accelerator: Accelerator,
    initrd: PathBuf,
}

/// Runs them all, or those with `filter` in their name, and compares what the kernels look like with what they were.
pub(crate) fn run(kernels: Kernels, filter: &[OsString], bless: Bless) -> Result<()> {
    setup::vm()?;
    let tests = kernel_tests()?;
    let work = work_directory()?;
    let jobs = jobs(&work)?;
    let mut programs = companions()?;
    let tests_file = tests.file.clone();
    programs.push(tests);
    let script = script(kernels, filter)?;
    for job in &jobs {
        image::write(&job.initrd, &job.image, &programs, &script)?;
    }

    let mut columns = Vec::new();
    if kernels == Kernels::All {
        columns.push(on_this_machine(&tests_file, filter, &work)?);
    }
    let guests = columns.len();
    columns.extend(in_guests(&jobs, &work)?);
    for line in table::lines(&columns) {
        say(line);
    }
    let golden = compare(&jobs, &columns[guests..], bless)?;
    let bad = columns.iter().filter(|column| !column.is_good()).count();
    match (bad, golden) {
        (0, true) => Ok(()),
        (0, false) => bail!("kernels do not look as in {}", golden::DIRECTORY),
        (bad, _) => bail!("the tests failed on {bad} of {} kernels", columns.len()),
    }
}

fn jobs(work: &Path) -> Result<Vec<Job>> {
    let job = |kernel: &'static Kernel| {
        let image = kernel.image()?;
        let accelerator = Accelerator::find(&image, &work.join(kernel.name))?;
        Ok(Job {
            kernel,
            image,
            accelerator,
            initrd: work.join(kernel.name).join("tests.cpio"),
        })
    };
    KERNELS.iter().map(job).collect()
}

fn script(kernels: Kernels, filter: &[OsString]) -> Result<String> {
    // Where programs can be preempted (7.x), a task of the same processor may meet one that is already running, which the
    // kernel then skips. Tasks of one real-time priority do not preempt each other.
    let mut words = ["chrt", "-f", "1", "kernel-tests", "--color=never"]
        .map(str::to_owned)
        .to_vec();
    for word in filter {
        words.push(quoted(word.to_str().context("the filter is not UTF-8")?));
    }
    let settings = SETTINGS.map(|(name, value)| format!("export {name}={value}\n"));
    let brief = match kernels {
        Kernels::All => "",
        Kernels::GuestsInBrief => "export WELLHEAD_TEST_BRIEF=1\n",
    };
    Ok(format!(
        "{}{brief}{}\nstatus=$?\nkernel-tests --facts || status=$?\nexit $status\n",
        settings.concat(),
        words.join(" ")
    ))
}

fn on_this_machine(tests: &Path, filter: &[OsString], work: &Path) -> Result<Column> {
    test::mount_what_the_kernel_shows()?;
    let unbound = setup::tests()?.unbound;
    let logs = work.join("host");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let mut reports = Reports::new(&logs.join("report"))?;
    let output = fs::File::create(logs.join("output"))?;
    let start = Instant::now();
    say("kernel tests on this machine");
    let mut running = Cmd::root("env")?
        .arg(format!("{REPORT}={}", logs.join("report").display()))
        .arg(format!("{ATTEMPTS}=2"))
        .arg(format!("WELLHEAD_TEST_UNBOUND={}", unbound.display()))
        .arg(tests)
        .arg("--color=never")
        .args(filter)
        .start(Stdio::null(), Some(output))?;
    let status = running.wait()?;
    let mut column = Column::new("host", test::release()?);
    reports.read(&mut |line| column.note(line))?;
    column.took = start.elapsed();
    if !status.success() && !column.failed() {
        column.trouble = Some(format!(
            "{status} (what it said: {})",
            logs.join("output").display()
        ));
    }
    Ok(column)
}

fn in_guests(jobs: &[Job], work: &Path) -> Result<Vec<Column>> {
    let waiting: Mutex<VecDeque<(usize, &Job)>> = Mutex::new(jobs.iter().enumerate().collect());
    let done = Mutex::new(Vec::new());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((place, job)) = next() {
                    let column = job.run_twice_at_most(work);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((place, column));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, column)| column).collect()
}

impl Job {
    /// An emulated guest may crash for no fault of ours. Then it gets one more chance, and everybody is told.
    fn run_twice_at_most(&self, work: &Path) -> Result<Column> {
        let (column, end) = self.run(work)?;
        let End::Crash(words) = end else {
            return Ok(column);
        };
        say(format!(
            "WARNING: the guest with {} CRASHED and is run once more; its console goes to console.crashed: {words}",
            self.image.release
        ));
        // The next run writes its own.
        let console = work.join(self.kernel.name).join("console");
        drop(fs::rename(&console, console.with_extension("crashed")));
        Ok(self.run(work)?.0)
    }

    fn run(&self, work: &Path) -> Result<(Column, End)> {
        let logs = work.join(self.kernel.name);
        let guest = Guest {
            image: &self.image,
            accelerator: self.accelerator,
            cgroups: self.kernel.cgroups,
            initrd: &self.initrd,
            logs: &logs,
            terminal: Terminal::File,
            limit: Some(LIMIT),
        };
        say(format!("kernel tests on {} begin", self.image.release));
        let start = Instant::now();
        let note = format!(
            "{}, cgroups {}",
            self.image.release,
            self.kernel.cgroups.name()
        );
        let mut column = Column::new(self.kernel.name, note);
        let end = guest.run(|line| column.note(line))?;
        column.took = start.elapsed();
        column.trouble = match &end {
            End::Exit(0) => None,
            End::Exit(_) if column.failed() => None,
            End::Exit(status) => Some(format!("exit status {status}")),
            End::Crash(words) => Some(format!("the guest crashed: {words}")),
            End::TooLong => Some(format!("not done after {} s", LIMIT.as_secs())),
        };
        say(format!(
            "kernel tests on {} ended after {} s; what they said: {}",
            self.image.release,
            column.took.as_secs(),
            guest.output().display()
        ));
        Ok((column, end))
    }
}

impl Column {
    pub(crate) fn new(title: &str, note: String) -> Self {
        Self {
            title: title.to_owned(),
            note,
            tests: Vec::new(),
            trouble: None,
            took: Duration::ZERO,
            facts: None,
        }
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::Test(test) => {
                if let Outcome::Failed(reason) = &test.outcome {
                    say(format!("FAILED on {}: {}: {reason}", self.title, test.name));
                }
                self.tests.push(test);
            }
            Line::Facts(facts) => self.facts = Some(facts),
            Line::Exit(_) => {}
        }
    }

    fn failed(&self) -> bool {
        let mut tests = self.tests.iter();
        tests.any(|test| matches!(test.outcome, Outcome::Failed(_)))
    }

    fn is_good(&self) -> bool {
        self.trouble.is_none() && !self.failed() && !self.tests.is_empty()
    }
}

/// Whether every kernel looks as it did; if told to bless, that is how they look from now on.
fn compare(jobs: &[Job], columns: &[Column], bless: Bless) -> Result<bool> {
    let mut good = true;
    for (job, column) in jobs.iter().zip(columns) {
        let Some(facts) = &column.facts else {
            say(format!(
                "nothing to compare: {} told no facts",
                column.title
            ));
            good = false;
            continue;
        };
        good &= golden::check(job.kernel.name, &job.image.package, facts, bless)?;
    }
    if bless == Bless::Yes {
        golden::document(false)?;
    }
    Ok(good)
}

impl Guest<'_> {
    fn output(&self) -> PathBuf {
        self.logs.join("output")
    }
}
