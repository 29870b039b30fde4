//! Who is whose child: orphans, those nobody waits for, namespaces of process ids.

use std::io::Read as _;
use std::{fs, io, ptr};

use anyhow::{Result, ensure};
use wellhead_tests::execute;

use super::{
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, own_program, skip},
};

/// The shape of which the order of events matters.
pub(super) const UNREAPED: &str = "nobody waits";

pub(super) const SHAPES: &[Shape] = &[
    Shape(
        "a daemon forked twice",
        daemon,
        "A(R) =0; B(A) =0; C(B) true[daemon] of ~ =0 under ~",
    ),
    Shape(
        "an orphan goes to the subreaper",
        orphan,
        "A(R) =0; B(A) =0; C(B) =8 under A",
    ),
    Shape(
        "leader of a session",
        |s| s.run(session).map(drop),
        "A(R) true[leader] =0",
    ),
    Shape(UNREAPED, nobody_waits, "A(R) =0; B(A) =3; C(A) =0"),
    Shape(
        "SIGCHLD is ignored",
        |s| s.run(|| children_ignored(false)).map(drop),
        "A(R) =0; B(A) =3",
    ),
    Shape(
        "SA_NOCLDWAIT",
        |s| s.run(|| children_ignored(true)).map(drop),
        "A(R) =0; B(A) =3",
    ),
    Shape(
        "no more processes than allowed",
        bomb,
        "A(R) =0 as 54322; $N×(A) =0 as 54322",
    ),
    Shape("300 children at once", crowd, "300×(R) =0"),
    Shape("a process id is used again", reused, "A(R) =1; $REST"),
    Shape(
        "first of a PID namespace",
        |s| in_pid_namespace(s, || calls::exec("/bin/true", &[b"first"])),
        "A(R) true[first] vpid=1 =0",
    ),
    Shape(
        "a child in a PID namespace",
        |s| in_pid_namespace(s, with_child),
        "A(R) =0; B(A) true[second] vpid=2 =0",
    ),
    Shape(
        "a PID namespace ends",
        |s| in_pid_namespace(s, leave_child),
        "A(R) =0; B(A) !SIGKILL",
    ),
    Shape(
        "the first of a PID namespace does not hear",
        deaf_first,
        "A(R) !SIGKILL by R asked SIGTERM by R",
    ),
];

fn daemon(stage: &mut Stage) -> Result<()> {
    let (mut told, tell) = io::pipe()?;
    stage.run(|| {
        let first = execute::fork(|| {
            // SAFETY: has no memory to get wrong.
            unsafe { libc::setsid() };
            let second = execute::fork(|| {
                // Once the parent is gone.
                for _ in 0..1000 {
                    // SAFETY: as above.
                    if unsafe { libc::getppid() } == 1 {
                        break;
                    }
                    calls::sleep_ms(1);
                }
                calls::sleep_ms(20);
                calls::exec("/bin/true", &[b"daemon"])
            });
            i32::from(second.is_err())
        });
        first
            .and_then(execute::wait)
            .map_or(FAILED, |(_, status)| status)
    })?;
    drop(tell);
    // It has the other end until it ends.
    told.read_to_end(&mut Vec::new())?;
    calls::sleep_ms(100);
    Ok(())
}

fn orphan(stage: &mut Stage) -> Result<()> {
    stage
        .run(|| {
            calls::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
            let parent = execute::fork(|| {
                let child = execute::fork(|| {
                    calls::sleep_ms(30);
                    8
                });
                i32::from(child.is_err())
            });
            let Ok(parent) = parent else { return FAILED };
            // Whoever it is: first the one, then the other.
            i32::from(execute::wait(parent).is_err() || wait_any() != 8)
        })
        .map(drop)
}

/// Waits for any child; its code, or -1 if there is none.
fn wait_any() -> i32 {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    if unsafe { libc::waitpid(-1, &raw mut status, 0) } < 0 {
        return -1;
    }
    status >> 8
}

fn session() -> i32 {
    // SAFETY: has no memory to get wrong.
    if unsafe { libc::setsid() } < 0 {
        return FAILED;
    }
    calls::exec("/bin/true", &[b"leader"])
}

/// What is told of a process that nobody waits for comes before what its parent does two seconds later.
fn nobody_waits(stage: &mut Stage) -> Result<()> {
    stage
        .run(|| {
            let Ok(_zombie) = execute::fork(|| 3) else {
                return FAILED;
            };
            calls::sleep_ms(2_500);
            let later = execute::fork(|| 0);
            later
                .and_then(execute::wait)
                .map_or(FAILED, |(_, status)| status)
        })
        .map(drop)
}

fn children_ignored(by_flag: bool) -> i32 {
    // SAFETY: the action outlives the call; no handler is installed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if by_flag {
            action.sa_flags = libc::SA_NOCLDWAIT;
        } else {
            action.sa_sigaction = libc::SIG_IGN;
        }
        libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
    }
    if execute::fork(|| 3).is_err() {
        return FAILED;
    }
    // There is nobody to be waited for once all are gone.
    i32::from(wait_any() != -1)
}

/// Forks until it may not; those who are there wait until it is done.
fn bomb(stage: &mut Stage) -> Result<()> {
    use std::io::{Read as _, Write as _};
    const MOST: u64 = 200;
    let (mut told, tell) = io::pipe()?;
    stage.run(|| {
        calls::limit(libc::RLIMIT_NPROC, MOST, MOST);
        if calls::become_user(54_322).is_err() {
            return FAILED;
        }
        let Ok((mut wait, go)) = io::pipe() else {
            return FAILED;
        };
        let go = Some(go);
        let mut count = 0_u32;
        while let Ok(_child) = execute::fork(|| {
            if let Some(go) = &go {
                use std::os::fd::AsRawFd as _;
                // SAFETY: the child does not use it; otherwise nobody would see it closed.
                unsafe { libc::close(go.as_raw_fd()) };
            }
            wait.read(&mut [0]).map_or(FAILED, |_| 0)
        }) {
            count += 1;
            if u64::from(count) > 2 * MOST {
                break;
            }
        }
        drop(go);
        let mut tell = &tell;
        let told = tell.write_all(&count.to_ne_bytes());
        (0..count).for_each(|_| {
            wait_any();
        });
        i32::from(told.is_err())
    })?;
    let mut count = [0; 4];
    told.read_exact(&mut count)?;
    let count = u32::from_ne_bytes(count);
    ensure!(u64::from(count) <= MOST && count > 100, "{count} children");
    stage.note("N", count.to_string());
    Ok(())
}

fn crowd(stage: &mut Stage) -> Result<()> {
    let children = (0..300).map(|_| Stage::start(|| 0));
    let children: Vec<i32> = children.collect::<Result<_>>()?;
    children
        .into_iter()
        .try_for_each(|child| stage.reap(child).map(drop))
}

/// Has the kernel give a process id again, which it otherwise does only after all others.
fn reused(stage: &mut Stage) -> Result<()> {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if !std::path::Path::new(LAST).exists() {
        return Err(skip(
            "process ids cannot be chosen (CONFIG_CHECKPOINT_RESTORE)",
        ));
    }
    let first = Stage::start(|| 1)?;
    stage.reap(first)?;
    let mut others = String::new();
    for role in ('B'..'Z').filter(|role| *role != 'R') {
        fs::write(LAST, (first - 1).to_string()).map_err(skip)?;
        let program = own_program()?;
        // Only if it has the id it does something.
        let child = Stage::start(|| {
            if calls::own_pid() != first {
                return 0;
            }
            calls::exec(&program, &acting(&[b"exit", b"2"]))
        })?;
        stage.reap(child)?;
        if child == first {
            stage.note("REST", format!("{others}{role}(R) me[exit|2] =2"));
            return Ok(());
        }
        others = format!("{others}{role}(R) =0; ");
    }
    Err(skip("somebody else got the process id again and again"))
}

/// Has `life` be lived by the first process of a new PID namespace.
fn in_pid_namespace(stage: &mut Stage, life: fn() -> i32) -> Result<()> {
    calls::unshare(libc::CLONE_NEWPID).map_err(skip)?;
    stage.run(life).map(drop)
}

fn with_child() -> i32 {
    let child = execute::fork(|| calls::exec("/bin/true", &[b"second"]));
    child
        .and_then(execute::wait)
        .map_or(FAILED, |(_, status)| status)
}

fn leave_child() -> i32 {
    let child = execute::fork(calls::pause);
    i32::from(child.is_err())
}

/// The first process of a PID namespace gets no signals that it has no handler for.
fn deaf_first(stage: &mut Stage) -> Result<()> {
    calls::unshare(libc::CLONE_NEWPID).map_err(skip)?;
    let child = Stage::ready(|| ())?;
    calls::kill(child, libc::SIGTERM)?;
    calls::sleep_ms(20);
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}
