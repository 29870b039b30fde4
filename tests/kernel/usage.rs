//! What processes use, however short they live, beside what `wait4(2)` says.

use std::{
    ffi::CStr,
    fs,
    mem::MaybeUninit,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    execute,
    require::{self, say},
    snapshot, workload,
};

const SPAWNERS: u64 = 4;
const QUICK: &str = "kt-brief";
/// One in this many executes a shell, which exits with this code.
const SHELLS: u64 = 16;
const CODE: i32 = 7;
/// Processes that use a lot, and how much.
const BURNERS: u64 = 5;
const BURNER: &str = "kt-burner";
const BURNT: Duration = Duration::from_millis(150);

/// Time on a processor, microseconds, and how many processes used it.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    user: u64,
    system: u64,
    processes: u64,
    /// What one of them used at most.
    most: u64,
}

impl Used {
    fn add(&mut self, more: Self) {
        self.user += more.user;
        self.system += more.system;
        self.processes += more.processes;
        self.most = self.most.max(more.most);
    }

    fn all(&self) -> u64 {
        self.user + self.system
    }
}

/// The workload: processes that end at once, and some that take their time.
pub(crate) fn use_much(arguments: &[String]) -> Result<Value> {
    let [directory, processes] = arguments else {
        anyhow::bail!("where and how many?");
    };
    let (directory, processes) = (Path::new(directory), processes.parse::<u64>()?);
    let mut burnt = Used::default();
    let burner = directory.join(BURNER);
    symlink(std::env::current_exe()?, &burner)?;
    for _ in 0..BURNERS {
        let child = Command::new(&burner)
            .args(["--workload", "burn"])
            .stdout(Stdio::null())
            .spawn()?;
        wait_for(child.id().cast_signed(), 0, &mut burnt)?;
    }
    let quick = execute::c_string(execute::quick_program(directory, QUICK)?)?;
    let spawners: Vec<_> = (0..SPAWNERS)
        .map(|_| {
            let quick = quick.clone();
            thread::spawn(move || spawn_many(&quick, processes / SPAWNERS))
        })
        .collect();
    let (mut brief, mut shells) = (Used::default(), Used::default());
    for spawner in spawners {
        let done = spawner.join();
        let (quick, shell) = done.map_err(|_panic| anyhow::anyhow!("a spawner panicked"))??;
        brief.add(quick);
        shells.add(shell);
    }
    let of = |used: Used| json!([used.user, used.system, used.processes, used.most]);
    Ok(json!({ "burnt": of(burnt), "brief": of(brief), "shells": of(shells) }))
}

/// Works for as long as is asked, and says nothing.
pub(crate) fn burn(_arguments: &[String]) -> Result<Value> {
    while processor_time()? < BURNT {}
    Ok(json!({}))
}

/// What this process used until now.
fn processor_time() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    ensure!(failed == 0, "{}", std::io::Error::last_os_error());
    let nanoseconds = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    Ok(Duration::from_nanos(nanoseconds.cast_unsigned()))
}

fn spawn_many(quick: &CStr, processes: u64) -> Result<(Used, Used)> {
    let (mut brief, mut shells) = (Used::default(), Used::default());
    for number in 0..processes {
        if number % SHELLS == 0 {
            let arguments = [c"sh", c"-c", c"exit 7"];
            let pid = execute::spawn(c"/bin/sh", &arguments)?;
            wait_for(pid, CODE << 8, &mut shells)?;
        } else {
            wait_for(execute::spawn(quick, &[quick])?, 0, &mut brief)?;
        }
    }
    Ok((brief, shells))
}

/// Waits for a child, which has to end so, and adds what it used.
fn wait_for(pid: i32, expected: i32, used: &mut Used) -> Result<()> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both outlive the call.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    ensure!(waited == pid, "{pid}: {}", std::io::Error::last_os_error());
    ensure!(status == expected, "{pid} ended with {status}");
    // SAFETY: the kernel filled it, and all zero is valid too.
    let usage = unsafe { usage.assume_init() };
    let microseconds =
        |time: libc::timeval| (time.tv_sec * 1_000_000 + time.tv_usec).cast_unsigned();
    let [in_user, in_system] = [usage.ru_utime, usage.ru_stime].map(microseconds);
    used.add(Used {
        user: in_user,
        system: in_system,
        processes: 1,
        most: in_user + in_system,
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of some minutes")]
pub(crate) fn of_short_lives_is_counted() -> Result<()> {
    let processes = crate::storm::processes()?.next_multiple_of(SPAWNERS * SHELLS);
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let place = directory.path().to_str().context("UTF-8")?;
    // A reading in between would find some that have their parents' name still.
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_hours(1);
    })?;
    let said = workload::run(&cgroup, "use_much", &[place, &processes.to_string()])?;
    let used = [
        (BURNER, told(&said, "burnt")?),
        (QUICK, told(&said, "brief")?),
        ("sh", told(&said, "shells")?),
    ];
    let untold = wait_for_ends(&live, &used)?;
    let read = live.snapshot()?;
    for (name, used) in &used {
        let found = snapshot::seconds(&read, Metric::ProcessCpuTime, &named(name));
        let ended = snapshot::total(&read, Metric::ProcessExits, &named(name));
        let left = snapshot::total(&read, Metric::ProcessMemoryUsage, &named(name));
        let all = used.all() as f64 / 1e6;
        say(format_args!(
            "  {name}: {} processes used {all:.6} s as wait4 says, {found:.6} s as we do",
            used.processes
        ));
        assert_eq!(ended, i64::try_from(used.processes)?, "{name}");
        assert_eq!(left, 0, "{name}: memory");
        // It cuts each of two numbers to microseconds.
        let cut = 2e-6 * used.processes as f64;
        assert!(found <= all + cut, "{name}: {found} of {all}");
        // Whose last was not told lacks less than all that it used.
        let lacking = (untold * used.most) as f64 / 1e6;
        assert!(found >= all - lacking, "{name}: {found} of {all}");
    }
    let coded = [
        (Attr::ProcessExecutableName, "sh"),
        (Attr::ProcessExitCode, "7"),
    ];
    let shells = i64::try_from(processes / SHELLS)?;
    assert_eq!(snapshot::total(&read, Metric::ProcessExits, &coded), shells);
    let mode = [named(BURNER)[0], (Attr::CpuMode, "user")];
    let burnt = snapshot::seconds(&read, Metric::ProcessCpuTime, &mode);
    let said = used[0].1.user as f64 / 1e6;
    assert!(
        (burnt - said).abs() <= said * 0.02,
        "{burnt} of {said} in user mode"
    );
    live.ensure_nothing_lost()
}

fn told(said: &Value, kind: &str) -> Result<Used> {
    let [user, system, processes, most] = [0, 1, 2, 3].map(|part| said[kind][part].as_u64());
    Ok(Used {
        user: user.context("a number")?,
        system: system.context("a number")?,
        processes: processes.context("a number")?,
        most: most.context("a number")?,
    })
}

/// Waits until the kernel has let go of all processes and told so. Says of how many it never does, where that may be.
fn wait_for_ends(live: &Live, used: &[(&str, Used)]) -> Result<u64> {
    // The workload itself is one more.
    let all = used.iter().map(|(_, used)| used.processes).sum::<u64>() + 1;
    let freed = || live.counters.records(RecordKind::Freed);
    live.snapshot_when("all exits", |_| {
        live.counters.records(RecordKind::Exit) >= all
    })?;
    let complete = live.snapshot_when("what all of them used", |_| freed() >= all);
    let untold = all - freed();
    if require::first_process_is_hidden() && untold <= all / 20 {
        if untold > 0 {
            say(format_args!("  {untold} of {all} not told by this kernel"));
        }
        return Ok(untold);
    }
    complete.map(|_| 0)
}

const HEADLESS: &str = "kt-headless";
const TOUCHED: usize = 32 << 20;

/// The workload: its first thread ends, others go on.
pub(crate) fn outlive_first(_arguments: &[String]) -> Result<Value> {
    let memory = vec![1_u8; TOUCHED];
    std::hint::black_box(memory.leak());
    for _ in 0..3 {
        thread::spawn(|| thread::sleep(Duration::from_hours(1)));
    }
    // SAFETY: what it owns is leaked, or nobody else's.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    anyhow::bail!("still there")
}

/// Memory is told of processes whose first thread has ended, and once, however many go on.
pub(crate) fn without_first_thread_is_told() -> Result<()> {
    let (cgroup, directory) = (CgroupGuard::new()?, tempfile::tempdir()?);
    let live = Live::start(settings(Some(cgroup.id())))?;
    let outlive = ["outlive_first"];
    let mut child = workload::named(directory.path(), HEADLESS, &cgroup, &outlive)?.spawn()?;
    let status = format!("/proc/{}/stat", child.id());
    let start = Instant::now();
    while !fs::read_to_string(&status)?.contains(") Z ") {
        ensure!(start.elapsed() < DEADLINE, "its first thread goes on");
        thread::sleep(Duration::from_millis(5));
    }
    let memory = |read: &_| snapshot::total(read, Metric::ProcessMemoryUsage, &named(HEADLESS));
    let touched = i64::try_from(TOUCHED)?;
    // The reading before may have been while it started.
    let read = live.snapshot_when("its memory", |read| memory(read) >= touched)?;
    assert!(memory(&read) < 2 * touched, "{}", memory(&read));
    child.kill()?;
    child.wait()?;
    live.snapshot_when("it to have none", |read| memory(read) == 0)?;
    live.ensure_nothing_lost()
}

fn named(name: &str) -> [(Attr, &str); 1] {
    [(Attr::ProcessExecutableName, name)]
}
