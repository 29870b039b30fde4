//! A zoo of processes: every shape there is, each told exactly as it was made.
//!
//! Each line of the tables is a shape: how it is made, and what must be told of it ([`told`] explains how that is written). It
//! is made by this program itself, with system calls; what `wait4(2)` tells of each process is compared too.

mod act;
mod arguments;
mod births;
mod calls;
mod endings;
mod families;
mod loads;
mod places;
mod programs;
mod signals;
mod stage;
mod threads;
mod told;
mod usage;

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::Discard;
use wellhead::telemetry::span::FinishedSpan;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    execute,
    require::{self, say},
    workload,
};

pub(crate) use self::act::act;
use self::{
    stage::{Shape, own_program, true_program},
    told::{Forest, Writer},
};

/// Shapes that must be there on a whole machine.
const FEWEST: usize = 55;

/// What is looked at.
const KINDS: [&str; 3] = ["process.fork", "process.exec", "process.exit"];

/// One of so many ends may be told before the kernel lets go of the process.
const FEW: usize = 20;

/// Seconds after which a shape that is not done is given up.
const PATIENCE: u32 = 60;

/// All tables.
const TABLES: [&[Shape]; 8] = [
    births::SHAPES,
    endings::SHAPES,
    signals::SHAPES,
    threads::SHAPES,
    families::SHAPES,
    places::SHAPES,
    programs::SHAPES,
    arguments::SHAPES,
];

fn shapes() -> impl Iterator<Item = &'static Shape> {
    TABLES.into_iter().chain([loads::SHAPES]).flatten()
}

/// The workload: makes the shapes one after the other, each in a process of its own.
pub(crate) fn all(arguments: &[String]) -> Result<Value> {
    let [directory, cgroup] = arguments else {
        anyhow::bail!("where?");
    };
    let only = std::env::var(ONLY).ok();
    let mut made = Vec::new();
    for (number, shape) in shapes().enumerate() {
        if only.as_ref().is_some_and(|only| !shape.0.contains(only)) {
            continue;
        }
        let place = Path::new(directory).join(format!("{number:03}"));
        let runner = execute::fork(|| {
            // SAFETY: has no memory to get wrong.
            unsafe { libc::alarm(PATIENCE) };
            let enact = || stage::make(shape, &place, Path::new(cgroup));
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(enact)) {
                Ok(Ok(())) => 0,
                _ => 1,
            }
        })?;
        let (_, status) = execute::wait(runner)?;
        ensure!(status == 0, "{}: its maker ended with {status:#x}", shape.0);
        let result = fs::read_to_string(stage::result_file(&place))?;
        made.push(serde_json::from_str::<Value>(&result)?);
    }
    Ok(Value::Array(made))
}

/// Set to a part of names where only those shapes are to be made, to find out about one.
const ONLY: &str = "WELLHEAD_TEST_ZOO";

pub(crate) fn is_told_exactly() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    // Users other than root execute what is there.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let place = fs::canonicalize(directory.path())?;
    let place = place.to_str().context("UTF-8")?;
    let (live, spans) = Live::start_with_spans(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&KINDS)?;
    let path = cgroup.path().to_str().context("UTF-8")?;
    let made = workload::run(&cgroup, "zoo", &[place, path])?;
    // Of whom nobody asks, is told a second later.
    calls::sleep_ms(2_500);
    // Since Linux 7.0 programs may be preempted, and are then skipped for whoever preempts. Each may spoil a shape.
    let missed = live.counters.discards(Discard::KernelRecursion);
    if missed == 0 {
        live.ensure_nothing_lost()?;
    } else {
        say(format_args!("zoo: {missed} runs of programs were skipped"));
    }
    let lines = live.stop_timed(events)?;
    let forest = Forest::of(&lines)?;
    if missed == 0 {
        check_spans(&spans.take_all(), &forest)?;
    }
    let made = made.as_array().context("a list")?;
    let (mut wrong, mut skipped) = (Vec::new(), 0);
    for one in made {
        let name = one["name"].as_str().context("a name")?;
        if let Some(reason) = one["skipped"].as_str() {
            say(format_args!("SKIPPED: shape {name:?}: {reason}"));
            skipped += 1;
            continue;
        }
        if let Err(error) = check(one, &forest) {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    // Of the zombie, whom nobody asks for, it must be.
    let late = forest
        .all
        .iter()
        .filter(|told| usage::is_late(told))
        .count();
    say(format_args!(
        "zoo: {late} of {} ends told before all was known",
        forest.all.len()
    ));
    ensure!(late <= forest.all.len() / FEW, "too many");
    let ran = made.len() - skipped;
    say(format_args!(
        "zoo: {ran} shapes, {skipped} skipped, {} wrong",
        wrong.len()
    ));
    ensure!(
        wrong.len() as u64 <= missed,
        "{} shapes:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let is_whole = !require::is_bare() && std::env::var_os(ONLY).is_none();
    ensure!(
        ran >= FEWEST || !is_whole,
        "only {ran} shapes could be made"
    );
    Ok(())
}

fn check(made: &Value, forest: &Forest) -> Result<()> {
    let name = made["name"].as_str().context("a name")?;
    if let Some(failure) = made["failed"].as_str() {
        anyhow::bail!("cannot be made: {failure}");
    }
    let shape = shapes()
        .find(|shape| shape.0 == name)
        .context("no such shape")?;
    let runner = forest.by_pid(made["runner"].as_u64().context("a pid")?);
    let runner = runner.context("its maker is not told of")?;
    let directory = made["directory"].as_str().context("a directory")?;
    let (own, nothing) = (own_program()?, true_program()?);
    let programs = (
        own.to_str().context("UTF-8")?,
        nothing.to_str().context("UTF-8")?,
    );
    let told = Writer::new((forest, runner), directory, programs).write();
    let expected = told::expected(shape.2, &made["notes"])?;
    ensure!(
        told == expected,
        "\n  told     {told}\n  expected {expected}"
    );
    let members = forest.below(runner);
    for index in &members {
        check_process(forest, *index)?;
    }
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for fact in made["facts"].as_array().context("facts")? {
        let pid = fact["pid"].as_u64().context("a pid")?;
        let nth = seen.entry(pid).or_default();
        let mut having = members
            .iter()
            .filter(|index| forest.all[**index].pid == pid);
        let index = having
            .nth(*nth)
            .with_context(|| format!("{pid} is not told of"))?;
        usage::check(forest, *index, fact).with_context(|| format!("process {pid}"))?;
        *nth += 1;
    }
    if let Some(first) = members.first() {
        usage::check_least(&forest.all[*first], &made["notes"])?;
    }
    if name == families::UNREAPED {
        let [_, zombie, later] = members[..] else {
            anyhow::bail!("three processes");
        };
        let (ended, after) = (forest.all[zombie].exited_at, forest.all[later].forked_at);
        ensure!(ended < after, "told of only when its parent ended");
    }
    Ok(())
}

/// What holds for all: who is above them, and whose program they ended with.
fn check_process(forest: &Forest, index: usize) -> Result<()> {
    let process = &forest.all[index];
    for exec in &process.execs {
        let told = exec.attributes["wellhead.process.ancestors"].as_array();
        let told: Vec<&str> = told
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        ensure!(told == exec.line, "ancestors {told:?}, not {:?}", exec.line);
    }
    if let (Some(exit), Some((name, path))) = (&process.exit, &process.program) {
        ensure!(
            exit["process.executable.name"] == **name,
            "ended as another: {exit}"
        );
        ensure!(
            exit["process.executable.path"] == **path,
            "ended as another: {exit}"
        );
    }
    Ok(())
}

/// One span for each process that executed something and ended; each has the parent that it should, which is there too.
fn check_spans(spans: &[FinishedSpan], forest: &Forest) -> Result<()> {
    let ids: HashSet<[u8; 8]> = spans.iter().map(|finished| finished.span.span_id).collect();
    ensure!(ids.len() == spans.len(), "spans of the same id");
    let traces: HashSet<[u8; 16]> = spans
        .iter()
        .map(|finished| finished.span.trace_id)
        .collect();
    let roots: Vec<_> = spans
        .iter()
        .map(|finished| &finished.span)
        .filter(|span| span.parent_span_id.is_none())
        .map(|span| &span.name)
        .collect();
    ensure!(traces.len() == 1, "traces of {roots:?}");
    for FinishedSpan { span, .. } in spans {
        ensure!(
            span.start_unix_nano <= span.end_unix_nano,
            "ends before it begins: {span:?}"
        );
        let mut parent = span.parent_span_id.iter();
        ensure!(parent.all(|id| ids.contains(id)), "no parent of {span:?}");
    }
    ensure!(roots.len() == 1, "{roots:?} without a parent");
    let ended = forest.all.iter().filter(|told| told.exit.is_some());
    let expected = ended.filter(|told| !told.execs.is_empty()).count();
    ensure!(
        spans.len() == expected,
        "{} spans, not {expected}",
        spans.len()
    );
    Ok(())
}

/// A process that was there before the agent: its children descend from it, and its end is told.
pub(crate) fn knows_elders() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--workload", "act", "old"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    workload::enter(&mut command, &[&cgroup])?;
    let mut old = command.spawn()?;
    let mut answers = BufReader::new(old.stdout.take().context("a pipe")?).lines();
    ensure!(answers.next().context("an answer")?? == "ready");
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&KINDS)?;
    old.stdin.take().context("a pipe")?.write_all(b"go\n")?;
    let said: Value = serde_json::from_str(&answers.next().context("an answer")??)?;
    ensure!(old.wait()?.success());
    calls::sleep_ms(1_500);
    let lines = live.stop(events)?;
    let pid = old.id();
    let events: Vec<Value> = lines
        .iter()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    let of = |name: &str, pid: &Value| {
        let having = |event: &&Value| {
            event["name"] == *format!("wellhead.process.{name}")
                && event["attributes"]["process.pid"] == *pid
        };
        let all: Vec<&Value> = events.iter().filter(having).collect();
        (all.len() == 1).then(|| all[0]["attributes"].clone())
    };
    let exec = of("exec", &said["child"]).context("one exec of the child")?;
    let own = workload::own_name()?;
    let comm: String = own.to_string_lossy().chars().take(15).collect();
    let above = json!([format!("{comm}[{pid}]")]);
    assert_eq!(exec["wellhead.process.ancestors"], above, "{exec}");
    assert_eq!(exec["process.parent_pid"], pid);
    assert_eq!(exec["process.command_args"], json!(["true", "young"]));
    let end = of("exit", &said["child"]).context("one exit of the child")?;
    assert_eq!(end["process.exit.code"], 0);
    let end = of("exit", &json!(pid)).context("one exit of the old")?;
    assert_eq!(end["process.exit.code"], 0);
    assert_eq!(end["process.executable.name"], comm);
    ensure!(
        end["wellhead.process.memory.peak"].as_u64() > Some(1 << 20),
        "{end}"
    );
    ensure!(of("fork", &json!(pid)).is_none());
    Ok(())
}
