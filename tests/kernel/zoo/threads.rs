//! Processes of several threads.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use anyhow::Result;
use wellhead_tests::execute;

use super::{
    act,
    calls::{self, FAILED},
    stage::{Shape, Stage},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape(
        "a thread executes",
        |s| s.run(thread_executes).map(drop),
        "A(R) true[thread] =0",
    ),
    Shape(
        "a thread executes where the first has ended",
        |s| s.run(thread_executes_alone).map(drop),
        "A(R) true[thread] =0",
    ),
    Shape(
        "the first thread ends first",
        |s| any_code(s, first_ends),
        "A(R) =$CODE",
    ),
    Shape(
        "the last thread ends the process",
        |s| s.run(last_exits).map(drop),
        "A(R) =7",
    ),
    Shape(
        "exit_group by another thread",
        |s| s.run(group_exit).map(drop),
        "A(R) =9",
    ),
    Shape(
        "16 threads end at once",
        |s| any_code(s, all_at_once),
        "A(R) =$CODE",
    ),
    Shape(
        "50 threads are killed",
        |s| many_killed(s, 50),
        "A(R) !SIGKILL by R",
    ),
    Shape(
        "killed while a thread runs",
        killed_running,
        "A(R) !SIGTERM by R",
    ),
    Shape(
        "the first thread ended, then killed",
        killed_without_first,
        "A(R) !SIGKILL by R",
    ),
    Shape(
        "a thread faults",
        |s| s.run(thread_faults).map(drop),
        "A(R) !SIGSEGV",
    ),
    Shape(
        "a thread forks",
        |s| s.run(thread_forks).map(drop),
        "A(R) =0; B(A) true[of a thread] =0",
    ),
    Shape(
        "waited for by another thread",
        |s| s.run(other_waits).map(drop),
        "A(R) =0; B(A) =6",
    ),
    Shape(
        "threads of names of their own",
        named,
        "A(R) =0; B(A) !SIGTERM by A called \"courier\"",
    ),
    Shape(
        "four threads use the processor",
        |s| s.run(busy_threads).map(drop),
        "A(R) =0",
    ),
];

fn with_thread(life: impl FnOnce() -> i32 + Send + 'static) {
    thread::spawn(life);
}

fn thread_executes() -> i32 {
    with_thread(|| calls::exec("/bin/true", &[b"thread"]));
    calls::pause()
}

fn thread_executes_alone() -> i32 {
    with_thread(|| {
        calls::sleep_ms(30);
        calls::exec("/bin/true", &[b"thread"])
    });
    calls::exit_thread(5)
}

/// What the parent is told is what the first thread returned, or since 5.17 the last.
fn any_code(stage: &mut Stage, life: fn() -> i32) -> Result<()> {
    let status = stage.run(life)?;
    stage.note("CODE", (status >> 8).to_string());
    Ok(())
}

fn first_ends() -> i32 {
    with_thread(|| {
        calls::sleep_ms(30);
        calls::exit_thread(7)
    });
    calls::exit_thread(5)
}

fn last_exits() -> i32 {
    with_thread(|| {
        calls::sleep_ms(30);
        calls::exit_now(7)
    });
    calls::exit_thread(5)
}

fn group_exit() -> i32 {
    with_thread(|| calls::exit_now(9));
    calls::pause()
}

fn all_at_once() -> i32 {
    const THREADS: usize = 16;
    let together = Arc::new(Barrier::new(THREADS + 1));
    for _ in 0..THREADS {
        let together = Arc::clone(&together);
        with_thread(move || {
            together.wait();
            calls::exit_thread(11)
        });
    }
    together.wait();
    calls::exit_thread(12)
}

fn many_killed(stage: &mut Stage, threads: usize) -> Result<()> {
    let child = Stage::ready(|| (0..threads).for_each(|_| with_thread(calls::pause)))?;
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

fn killed_running(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| {
        with_thread(|| {
            act::burn(20_000);
            0
        });
    })?;
    calls::sleep_ms(20);
    calls::kill(child, libc::SIGTERM)?;
    stage.reap(child).map(drop)
}

fn killed_without_first(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready_then(|| with_thread(calls::pause), || calls::exit_thread(3))?;
    calls::sleep_ms(20);
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

fn thread_faults() -> i32 {
    with_thread(super::endings::fault);
    calls::pause()
}

fn thread_forks() -> i32 {
    let other = thread::spawn(|| {
        let child = execute::fork(|| calls::exec("/bin/true", &[b"of a thread"]));
        child
            .and_then(execute::wait)
            .map_or(FAILED, |(_, status)| status)
    });
    other.join().unwrap_or(FAILED)
}

fn other_waits() -> i32 {
    let Ok(child) = execute::fork(|| 6) else {
        return FAILED;
    };
    let other = thread::spawn(move || execute::wait(child).map_or(FAILED, |(_, status)| status));
    i32::from(other.join().unwrap_or(FAILED) != 6 << 8)
}

/// Who sends a signal is told by the name of the thread that does.
fn named(stage: &mut Stage) -> Result<()> {
    stage
        .run(|| {
            let Ok(child) = stage_ready() else {
                return FAILED;
            };
            let courier = thread::spawn(move || {
                calls::set_comm(b"courier");
                calls::kill(child, libc::SIGTERM).is_ok()
            });
            let sent = courier.join().unwrap_or(false);
            i32::from(!sent || execute::wait(child).is_err())
        })
        .map(drop)
}

fn stage_ready() -> std::io::Result<i32> {
    execute::fork(calls::pause)
}

fn busy_threads() -> i32 {
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| act::burn(50))).collect();
    let all_ended = threads.into_iter().all(|thread| thread.join().is_ok());
    i32::from(!all_ended)
}
