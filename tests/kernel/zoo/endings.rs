//! How processes end: by themselves, by faults, by the kernel's hand.

use std::{fs, hint, io, time::Instant};

use anyhow::Result;

use super::{
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, own_program, skip},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape("exits with 1", |s| s.run(|| 1).map(drop), "A(R) =1"),
    Shape(
        "exits with 3 after an exec",
        |s| {
            s.run_exec(own_program()?, &acting(&[b"exit", b"3"]))
                .map(drop)
        },
        "A(R) me[exit|3] =3",
    ),
    Shape("exits with 127", |s| s.run(|| 127).map(drop), "A(R) =127"),
    Shape("exits with 255", |s| s.run(|| 255).map(drop), "A(R) =255"),
    Shape("exits with 256", |s| s.run(|| 256).map(drop), "A(R) =0"),
    Shape("exits with -1", |s| s.run(|| -1).map(drop), "A(R) =255"),
    Shape(
        "exits with 128 + 9",
        |s| s.run(|| 137).map(drop),
        "A(R) =137",
    ),
    Shape(
        "touches nothing",
        |s| s.run(fault).map(drop),
        "A(R) !SIGSEGV",
    ),
    Shape(
        "touches nothing after an exec",
        |s| s.run_exec(own_program()?, &acting(&[b"fault"])).map(drop),
        "A(R) me[fault] !SIGSEGV",
    ),
    Shape(
        "aborts",
        |s| s.run(|| std::process::abort()).map(drop),
        "A(R) !SIGABRT by A",
    ),
    Shape("divides by zero", |s| code(s, divide), "A(R) !SIGFPE"),
    Shape("illegal instruction", |s| code(s, illegal), "A(R) !SIGILL"),
    Shape("breakpoint", |s| code(s, breakpoint), "A(R) !SIGTRAP"),
    Shape("beyond a file's end", beyond_end, "A(R) !SIGBUS"),
    Shape("writes to nobody", write_to_nobody, "A(R) !SIGPIPE"),
    Shape(
        "a forbidden call",
        |s| s.run(forbidden).map(drop),
        "A(R) !SIGSYS",
    ),
    Shape(
        "strict seccomp",
        |s| s.run(strict).map(drop),
        "A(R) !SIGKILL",
    ),
    Shape("alarm", |s| s.run(alarm).map(drop), "A(R) !SIGALRM"),
    Shape("POSIX timer", |s| s.run(timer).map(drop), "A(R) !SIGUSR1"),
    Shape(
        "too much processor time",
        |s| s.run(too_much_time).map(drop),
        "A(R) !SIGXCPU",
    ),
    Shape("too large a file", too_large, "A(R) !SIGXFSZ"),
    Shape("dumps core", dump_core, "A(R) !SIGSEGV"),
    Shape(
        "raises a real-time signal",
        |s| s.run(|| raise(40)).map(drop),
        "A(R) !40 by A",
    ),
    Shape(
        "raises the last signal",
        |s| s.run(|| raise(64)).map(drop),
        "A(R) !64 by A",
    ),
    Shape(
        "kills itself",
        |s| s.run(|| raise(libc::SIGKILL)).map(drop),
        "A(R) !SIGKILL by A",
    ),
];

pub(super) fn fault() -> i32 {
    // SAFETY: none; that is the point. It is one write, to where nothing can be.
    unsafe { hint::black_box(std::ptr::without_provenance_mut::<u8>(8)).write_volatile(1) };
    FAILED
}

fn raise(signal: i32) -> i32 {
    // SAFETY: has no memory to get wrong.
    unsafe { libc::raise(signal) };
    calls::pause()
}

/// Runs machine code, where it is known.
fn code(stage: &mut Stage, life: fn() -> i32) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(skip("the machine code is x86-64's"));
    }
    stage.run(life).map(drop)
}

fn divide() -> i32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: ends the process.
    unsafe {
        std::arch::asm!("xor ecx, ecx", "mov eax, 1", "xor edx, edx", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    }
    FAILED
}

fn illegal() -> i32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: ends the process.
    unsafe {
        std::arch::asm!("ud2");
    }
    FAILED
}

fn breakpoint() -> i32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: ends the process.
    unsafe {
        std::arch::asm!("int3");
    }
    FAILED
}

fn beyond_end(stage: &mut Stage) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(stage.file("empty"))?;
    stage
        .run(|| {
            let both = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping, of which the write is beyond what the file has.
            unsafe {
                let memory = libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    both,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                );
                memory.cast::<u8>().write_volatile(1);
            }
            FAILED
        })
        .map(drop)
}

fn write_to_nobody(stage: &mut Stage) -> Result<()> {
    use std::io::Write as _;
    let (reader, mut writer) = io::pipe()?;
    drop(reader);
    stage
        .run(|| writer.write_all(b"x").map_or(FAILED, |()| 0))
        .map(drop)
}

/// Forbids one system call, and calls it.
fn forbidden() -> i32 {
    const KILL_PROCESS: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let (load, equal, give) = (0x20, 0x15, 0x06);
    let call = u32::try_from(libc::SYS_getpriority).unwrap_or(0);
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(load, 0, 0, 0),
        step(equal, 0, 1, call),
        step(give, 0, 0, KILL_PROCESS),
        step(give, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the filter outlives the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program) != 0 {
            return calls::errno();
        }
        libc::getpriority(libc::PRIO_PROCESS, 0);
    }
    FAILED
}

fn strict() -> i32 {
    calls::prctl(libc::PR_SET_SECCOMP, 1);
    // SAFETY: has no memory to get wrong.
    unsafe { libc::getuid() };
    FAILED
}

fn alarm() -> i32 {
    let soon = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: 20_000,
        },
    };
    // SAFETY: the time outlives the call.
    unsafe {
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const soon, 0);
    }
    calls::pause()
}

fn timer() -> i32 {
    // SAFETY: all zero is a valid value of each; they outlive the calls.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGUSR1;
        let mut timer: libc::timer_t = std::mem::zeroed();
        let mut soon: libc::itimerspec = std::mem::zeroed();
        soon.it_value.tv_nsec = 20_000_000;
        libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        libc::timer_settime(timer, 0, &raw const soon, std::ptr::null_mut());
    }
    calls::pause()
}

fn too_much_time() -> i32 {
    calls::limit(libc::RLIMIT_CPU, 1, 100);
    let start = Instant::now();
    while start.elapsed().as_secs() < 20 {
        hint::spin_loop();
    }
    FAILED
}

fn too_large(stage: &mut Stage) -> Result<()> {
    let file = stage.file("large");
    stage
        .run(|| {
            calls::limit(libc::RLIMIT_FSIZE, 10, 10);
            i32::from(fs::write(&file, [0; 100]).is_ok())
        })
        .map(drop)
}

fn dump_core(stage: &mut Stage) -> Result<()> {
    stage
        .run(|| {
            let most = libc::RLIM_INFINITY;
            calls::limit(libc::RLIMIT_CORE, most, most);
            fault()
        })
        .map(drop)
}
