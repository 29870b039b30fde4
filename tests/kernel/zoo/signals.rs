//! Signals from others: who sent what, and what became of it.

use std::{fs, io, os::fd::AsRawFd as _, ptr};

use anyhow::{Result, ensure};
use wellhead::identity::scan::find_mount;

use super::{
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, own_program},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape(
        "SIGTERM",
        |s| killed(s, libc::SIGTERM),
        "A(R) !SIGTERM by R",
    ),
    Shape(
        "SIGKILL",
        |s| killed(s, libc::SIGKILL),
        "A(R) !SIGKILL by R",
    ),
    Shape("SIGINT", |s| killed(s, libc::SIGINT), "A(R) !SIGINT by R"),
    Shape("SIGHUP", |s| killed(s, libc::SIGHUP), "A(R) !SIGHUP by R"),
    Shape(
        "SIGQUIT",
        |s| killed(s, libc::SIGQUIT),
        "A(R) !SIGQUIT by R",
    ),
    Shape(
        "SIGSEGV by kill",
        |s| killed(s, libc::SIGSEGV),
        "A(R) !SIGSEGV by R",
    ),
    Shape(
        "SIGUSR2",
        |s| killed(s, libc::SIGUSR2),
        "A(R) !SIGUSR2 by R",
    ),
    Shape(
        "SIGSTKFLT",
        |s| killed(s, libc::SIGSTKFLT),
        "A(R) !SIGSTKFLT by R",
    ),
    Shape("a real-time signal", |s| killed(s, 42), "A(R) !42 by R"),
    Shape("sigqueue", queued, "A(R) !SIGTERM by R"),
    Shape("pidfd_send_signal", by_descriptor, "A(R) !SIGKILL by R"),
    Shape(
        "killed after an exec",
        killed_program,
        "A(R) me[pause] !SIGTERM by R",
    ),
    Shape(
        "by a sibling of an odd name",
        by_odd_sibling,
        "A(R) !SIGTERM by B called $ODD; B(R) =0",
    ),
    Shape(
        "by another user",
        by_other_user,
        "A(R) !SIGKILL by B as 54321 as 54321; B(R) =0 as 54321",
    ),
    Shape(
        "from another cgroup",
        from_outside,
        "A(R) !SIGKILL by B; B(R) gone",
    ),
    Shape(
        "its parent's death",
        parents_death,
        "A(R) =0; B(A) !SIGKILL by A under R",
    ),
    Shape(
        "SIGTERM to the whole group",
        whole_group,
        "A(R) !SIGTERM by A; B(R) !SIGTERM by A; C(R) !SIGTERM by A",
    ),
    Shape(
        "SIGKILL to a process group",
        process_group,
        "A(R) !SIGKILL by R; B(R) !SIGKILL by R",
    ),
    Shape(
        "SIGTERM answered with exit 0",
        answered,
        "A(R) =0 asked SIGTERM by R",
    ),
    Shape(
        "SIGINT answered with exit 130",
        answered_otherwise,
        "A(R) =130 asked SIGINT by R",
    ),
    Shape(
        "SIGTERM ignored, then SIGKILL",
        ignored,
        "A(R) !SIGKILL by R asked SIGTERM by R",
    ),
    Shape(
        "SIGTERM handled in vain, then SIGKILL",
        in_vain,
        "A(R) !SIGKILL by R asked SIGTERM by R",
    ),
    Shape(
        "SIGTERM blocked, then SIGKILL",
        blocked,
        "A(R) !SIGKILL by R asked SIGTERM by R",
    ),
    Shape("harmless signals", harmless, "A(R) !SIGUSR1 by R"),
    Shape("stopped, then killed", stopped, "A(R) !SIGKILL by R"),
    Shape("SIGKILL while it dies", twice, "A(R) !SIGKILL by R"),
    Shape(
        "SIGTERM again while it dies",
        terminated_twice,
        "A(R) !SIGTERM by R; B(R) =0",
    ),
    Shape(
        "asked, and then it faults",
        asked_then_fault,
        "A(R) !SIGSEGV asked SIGTERM by R",
    ),
    Shape("SIGTERM as no timer does", as_io_does, "A(R) !SIGTERM by R"),
    Shape(
        "hung up while it dies of SIGHUP",
        hung_up_while_it_dies,
        "A(R) !SIGHUP by R",
    ),
    Shape(
        "the same by kill, and then it faults",
        handled_then_fault,
        "A(R) !SIGSEGV",
    ),
    Shape(
        "the same by kill, and then by the kernel",
        handled_then_hung_up,
        "A(R) !SIGHUP",
    ),
    Shape(
        "a signal before the exec",
        before_exec,
        "A(R) true[true] =0 asked SIGHUP by R",
    ),
];

fn killed(stage: &mut Stage, signal: i32) -> Result<()> {
    let child = Stage::ready(|| ())?;
    calls::kill(child, signal)?;
    stage.reap(child).map(drop)
}

fn queued(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    let value = libc::sigval {
        sival_ptr: ptr::null_mut(),
    };
    // SAFETY: the value is passed on and looked at by nobody.
    calls::number(unsafe { libc::sigqueue(child, libc::SIGTERM, value) })?;
    stage.reap(child).map(drop)
}

fn by_descriptor(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    // SAFETY: numbers alone.
    let sent = unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, child, 0);
        libc::syscall(libc::SYS_pidfd_send_signal, descriptor, libc::SIGKILL, 0, 0)
    };
    ensure!(sent == 0, "{}", io::Error::last_os_error());
    stage.reap(child).map(drop)
}

fn killed_program(stage: &mut Stage) -> Result<()> {
    use std::io::Read as _;
    let (mut told, tell) = io::pipe()?;
    let program = own_program()?;
    let child = Stage::start(|| {
        // SAFETY: the number is nobody's; it outlives the exec.
        unsafe { libc::dup2(tell.as_raw_fd(), super::act::TELL) };
        calls::exec(&program, &acting(&[b"pause"]))
    })?;
    drop(tell);
    told.read_exact(&mut [0])?;
    calls::kill(child, libc::SIGTERM)?;
    stage.reap(child).map(drop)
}

fn by_odd_sibling(stage: &mut Stage) -> Result<()> {
    const ODD: &[u8] = b"\xff\x1b[31m \n\"\\\xc3\xa9 x";
    stage.note("ODD", format!("{:?}", String::from_utf8_lossy(ODD)));
    let child = Stage::ready(|| ())?;
    stage.run(|| {
        calls::set_comm(ODD);
        i32::from(calls::kill(child, libc::SIGTERM).is_err())
    })?;
    stage.reap(child).map(drop)
}

fn by_other_user(stage: &mut Stage) -> Result<()> {
    const OTHER: u32 = 54_321;
    let child = Stage::ready(|| calls::become_user(OTHER).unwrap_or(()))?;
    stage.run(|| {
        if calls::become_user(OTHER).is_err() {
            return FAILED;
        }
        i32::from(calls::kill(child, libc::SIGKILL).is_err())
    })?;
    stage.reap(child).map(drop)
}

fn from_outside(stage: &mut Stage) -> Result<()> {
    let elsewhere = find_mount()?.path.join("cgroup.procs");
    let child = Stage::ready(|| ())?;
    stage.run(|| {
        let sent = fs::write(elsewhere, "0").map(|()| calls::kill(child, libc::SIGKILL));
        i32::from(!matches!(sent, Ok(Ok(()))))
    })?;
    stage.reap(child).map(drop)
}

fn parents_death(stage: &mut Stage) -> Result<()> {
    calls::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    let (told, tell) = io::pipe()?;
    let parent = Stage::start(|| {
        let child = Stage::ready(|| calls::prctl(libc::PR_SET_PDEATHSIG, 9));
        tell_pids(&tell, &[child.unwrap_or(-1)])
    })?;
    stage.reap(parent)?;
    reap_told(stage, &told, 1)
}

fn tell_pids(mut pipe: &io::PipeWriter, pids: &[i32]) -> i32 {
    use std::io::Write as _;
    let bytes: Vec<u8> = pids.iter().flat_map(|pid| pid.to_ne_bytes()).collect();
    i32::from(pipe.write_all(&bytes).is_err())
}

fn reap_told(stage: &mut Stage, mut pipe: &io::PipeReader, count: usize) -> Result<()> {
    use std::io::Read as _;
    for _ in 0..count {
        let mut bytes = [0; 4];
        pipe.read_exact(&mut bytes)?;
        stage.reap(i32::from_ne_bytes(bytes))?;
    }
    Ok(())
}

/// Makes the calling process one of this process group; 0 for its own.
fn enter_group(leader: i32) {
    // SAFETY: has no memory to get wrong.
    unsafe { libc::setpgid(0, leader) };
}

fn whole_group(stage: &mut Stage) -> Result<()> {
    use std::io::Read as _;
    let (mut told, tell) = io::pipe()?;
    let number = tell.as_raw_fd();
    let leader = Stage::ready_then(
        || {
            enter_group(0);
            // SAFETY: the parent has it too, and the child does not use it.
            unsafe { libc::close(number) };
        },
        // Once the parent closes the other end.
        || match told.read(&mut [0]) {
            Ok(_) => i32::from(calls::kill(0, libc::SIGTERM).is_err()),
            Err(_) => FAILED,
        },
    )?;
    let mut members = vec![leader];
    for _ in 0..2 {
        members.push(Stage::ready(|| {
            enter_group(leader);
            // SAFETY: as above.
            unsafe { libc::close(number) };
        })?);
    }
    drop(tell);
    members
        .into_iter()
        .try_for_each(|pid| stage.reap(pid).map(drop))
}

fn process_group(stage: &mut Stage) -> Result<()> {
    let leader = Stage::ready(|| enter_group(0))?;
    let other = Stage::ready(|| enter_group(leader))?;
    calls::kill(-leader, libc::SIGKILL)?;
    stage.reap(leader)?;
    stage.reap(other).map(drop)
}

extern "C" fn exit_well(_signal: i32) {
    calls::exit_now(0)
}

extern "C" fn exit_130(_signal: i32) {
    calls::exit_now(130)
}

extern "C" fn do_nothing(_signal: i32) {}

fn on(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: the handlers do nothing that a handler may not.
    unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
}

fn answered(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| on(libc::SIGTERM, exit_well))?;
    calls::kill(child, libc::SIGTERM)?;
    stage.reap(child).map(drop)
}

fn answered_otherwise(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| on(libc::SIGINT, exit_130))?;
    calls::kill(child, libc::SIGINT)?;
    stage.reap(child).map(drop)
}

fn then_killed(stage: &mut Stage, prepare: impl FnOnce()) -> Result<()> {
    let child = Stage::ready(prepare)?;
    calls::kill(child, libc::SIGTERM)?;
    calls::sleep_ms(20);
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

fn ignored(stage: &mut Stage) -> Result<()> {
    // SAFETY: no handler is installed.
    then_killed(stage, || unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    })
}

fn in_vain(stage: &mut Stage) -> Result<()> {
    then_killed(stage, || on(libc::SIGTERM, do_nothing))
}

fn blocked(stage: &mut Stage) -> Result<()> {
    // SAFETY: the set outlives the call.
    then_killed(stage, || unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
    })
}

fn harmless(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        calls::kill(child, signal)?;
    }
    calls::kill(child, libc::SIGUSR1)?;
    stage.reap(child).map(drop)
}

fn stopped(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    calls::kill(child, libc::SIGSTOP)?;
    calls::sleep_ms(10);
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

/// The first kills it; what comes later finds a process that is dead already.
fn twice(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    calls::kill(child, libc::SIGKILL)?;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGKILL] {
        calls::kill(child, signal)?;
    }
    stage.reap(child).map(drop)
}

/// Others that ask for the same come too late.
fn terminated_twice(stage: &mut Stage) -> Result<()> {
    let child = Stage::ready(|| ())?;
    calls::kill(child, libc::SIGTERM)?;
    stage.run(|| i32::from(calls::kill(child, libc::SIGTERM).is_err()))?;
    stage.reap(child).map(drop)
}

fn asked_then_fault(stage: &mut Stage) -> Result<()> {
    extern "C" fn fault(_signal: i32) {
        super::endings::fault();
    }
    let child = Stage::ready(|| on(libc::SIGTERM, fault))?;
    calls::kill(child, libc::SIGTERM)?;
    stage.reap(child).map(drop)
}

/// With the `si_code` that the C library's asynchronous input and output has.
fn as_io_does(stage: &mut Stage) -> Result<()> {
    const SI_ASYNCIO: i32 = -4;
    let child = Stage::ready(|| ())?;
    // SAFETY: all zero is a valid value, and outlives the call.
    let sent = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        info.si_code = SI_ASYNCIO;
        let (call, info) = (libc::SYS_rt_sigqueueinfo, &raw const info);
        libc::syscall(call, child, libc::SIGTERM, info)
    };
    ensure!(sent == 0, "{}", io::Error::last_os_error());
    stage.reap(child).map(drop)
}

/// A terminal, its two ends.
fn terminal() -> Result<(i32, i32)> {
    let (mut one, mut other) = (0, 0);
    let (name, modes, size) = (ptr::null_mut(), ptr::null(), ptr::null());
    // SAFETY: both numbers outlive the call, and nothing else is asked for.
    calls::number(unsafe { libc::openpty(&raw mut one, &raw mut other, name, modes, size) })?;
    Ok((one, other))
}

/// Makes the calling process the first of a session that has this terminal, which is hung up if nobody else has the first end.
fn take_terminal((one, other): (i32, i32)) {
    // SAFETY: numbers alone.
    unsafe {
        libc::setsid();
        libc::ioctl(other, libc::TIOCSCTTY, 0);
        libc::close(one);
    }
}

/// The kernel's own SIGHUP changes nothing any more, nor who sent the first.
fn hung_up_while_it_dies(stage: &mut Stage) -> Result<()> {
    let terminal = terminal()?;
    let child = Stage::ready(|| take_terminal(terminal))?;
    calls::kill(child, libc::SIGHUP)?;
    // SAFETY: nobody else has these numbers here.
    unsafe {
        libc::close(terminal.0);
        libc::close(terminal.1);
    }
    stage.reap(child).map(drop)
}

/// Handles a signal that its parent sends, and then lives on as is said.
fn handled_then(stage: &mut Stage, signal: i32, life: impl FnOnce() -> i32) -> Result<()> {
    use std::io::Read as _;
    let (mut told, tell) = io::pipe()?;
    let number = tell.as_raw_fd();
    let child = Stage::ready_then(
        || {
            on(signal, do_nothing);
            // SAFETY: the parent has it too, and the child does not use it.
            unsafe { libc::close(number) };
        },
        || {
            // Until the parent closes the other end.
            if told.read(&mut [0]).is_err() {
                return FAILED;
            }
            // SAFETY: no handler is installed.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            life()
        },
    )?;
    calls::kill(child, signal)?;
    drop(tell);
    stage.reap(child).map(drop)
}

fn handled_then_fault(stage: &mut Stage) -> Result<()> {
    handled_then(stage, libc::SIGSEGV, super::endings::fault)
}

/// The first of a session loses its terminal: the kernel sends it SIGHUP.
fn handled_then_hung_up(stage: &mut Stage) -> Result<()> {
    handled_then(stage, libc::SIGHUP, || {
        let Ok(both) = terminal() else {
            return FAILED;
        };
        take_terminal(both);
        calls::pause()
    })
}

fn before_exec(stage: &mut Stage) -> Result<()> {
    handled_then(stage, libc::SIGHUP, || calls::exec("/bin/true", &[b"true"]))
}
