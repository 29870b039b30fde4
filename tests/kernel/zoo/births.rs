//! How processes are made, and become another program.

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
};

use anyhow::{Result, ensure};
use wellhead::identity::scan::find_mount;
use wellhead_tests::execute;

use super::{
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, own_program, skip},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape("fork, no exec", |s| s.run(|| 0).map(drop), "A(R) =0"),
    Shape(
        "fork and exec",
        |s| s.run_exec("/bin/true", &[b"true", b"x"]).map(drop),
        "A(R) true[true|x] =0",
    ),
    Shape(
        "vfork and exec",
        |s| by_vfork(s, 0),
        "A(R) true[vforked] =0",
    ),
    Shape("vfork, no exec", vfork_only, "A(R) =4"),
    Shape("posix_spawn", spawn, "A(R) true[spawned] =0"),
    Shape("clone3", by_clone3, "A(R) true[cloned] =0"),
    Shape(
        "clone3 into a cgroup",
        into_cgroup,
        "A(R) gone; B(A) true[inside] =0",
    ),
    Shape(
        "left the cgroup before it executed",
        leave_and_exec,
        "A(R) gone; B(R) =0",
    ),
    Shape(
        "clone with CLONE_PARENT",
        clone_parent,
        "A(R) =0; B(A) true[sibling] of R =0 under R",
    ),
    Shape(
        "clone by vfork with CLONE_PARENT",
        by_vfork_parent,
        "A(R) =0; B(A) true[vforked] of R =0 under R",
    ),
    Shape(
        "three programs in one process",
        three,
        "A(R) me[chain|2] me[chain|1] true[true] =0",
    ),
    Shape(
        "a child's child",
        grandchild,
        "A(R) me[parent] =0; B(A) true[true|of|parent] =0",
    ),
    Shape(
        "twenty generations",
        |s| s.run(|| generations(20)).map(drop),
        GENERATIONS,
    ),
    Shape(
        "twenty programs in a line",
        |s| {
            s.run_exec(own_program()?, &acting(&[b"line", b"3"]))
                .map(drop)
        },
        "A(R) me[line|3] =0; B(A) me[line|2] =0; C(B) me[line|1] =0; D(C) me[line|0] =0",
    ),
    Shape(
        "no such file",
        |s| failing(s, "nothing", libc::ENOENT),
        "A(R) true[after] =0",
    ),
    Shape(
        "no program",
        |s| failing(s, "text", libc::ENOEXEC),
        "A(R) true[after] =0",
    ),
    Shape(
        "not executable",
        |s| failing(s, "locked", libc::EACCES),
        "A(R) true[after] =0",
    ),
    Shape("arguments too long", too_long, "A(R) true[after] =0"),
    Shape("fails beyond return", beyond_return, "A(R) !SIGSEGV"),
];

const GENERATIONS: &str = "A(R) =0; B(A) =0; C(B) =0; D(C) =0; E(D) =0; F(E) =0; G(F) =0; H(G) =0; I(H) =0; J(I) =0; \
    K(J) =0; L(K) =0; M(L) =0; N(M) =0; O(N) =0; P(O) =0; Q(P) =0; S(Q) =0; T(S) =0; U(T) true[true] =0";

extern "C" fn exec_true(_nothing: *mut libc::c_void) -> i32 {
    let arguments = [c"vforked".as_ptr(), std::ptr::null()];
    // SAFETY: path and arguments are NUL-terminated and end with a null.
    unsafe { libc::execv(c"/bin/true".as_ptr(), arguments.as_ptr()) };
    calls::exit_now(FAILED)
}

extern "C" fn exit_only(_nothing: *mut libc::c_void) -> i32 {
    calls::exit_now(4)
}

fn by_vfork(stage: &mut Stage, flags: i32) -> Result<()> {
    let child = calls::vfork(exec_true, flags)?;
    stage.reap(child).map(drop)
}

fn vfork_only(stage: &mut Stage) -> Result<()> {
    let child = calls::vfork(exit_only, 0)?;
    stage.reap(child).map(drop)
}

fn by_vfork_parent(stage: &mut Stage) -> Result<()> {
    let (told, tell) = std::io::pipe()?;
    stage.run(|| {
        let child = calls::vfork(exec_true, libc::CLONE_PARENT).unwrap_or(-1);
        tell_pid(&tell, child)
    })?;
    let child = hear_pid(&told)?;
    stage.reap(child).map(drop)
}

fn spawn(_stage: &mut Stage) -> Result<()> {
    let (_, status) = execute::spawn_and_wait(c"/bin/true", &[c"spawned"])?;
    ensure!(status == 0, "ended with {status}");
    Ok(())
}

fn by_clone3(stage: &mut Stage) -> Result<()> {
    match calls::clone3(None) {
        -1 if calls::errno() == libc::ENOSYS => Err(skip("there is no clone3")),
        -1 => anyhow::bail!("clone3: {}", calls::errno()),
        0 => calls::exit_now(calls::exec("/bin/true", &[b"cloned"])),
        pid => stage.reap(i32::try_from(pid)?).map(drop),
    }
}

/// A process that is somewhere else makes one here.
fn into_cgroup(stage: &mut Stage) -> Result<()> {
    let elsewhere = find_mount()?.path.join("cgroup.procs");
    let here = fs::File::open(&stage.cgroup)?;
    let status = stage.run(|| {
        if fs::write(elsewhere, "0").is_err() {
            return FAILED;
        }
        match calls::clone3(Some(here.as_raw_fd())) {
            -1 => calls::errno(),
            0 => calls::exit_now(calls::exec("/bin/true", &[b"inside"])),
            pid => ended_well(pid),
        }
    })?;
    ensure!(status == 0, "ended with {status}");
    Ok(())
}

fn leave_and_exec(stage: &mut Stage) -> Result<()> {
    let elsewhere = find_mount()?.path.join("cgroup.procs");
    stage.run(|| match fs::write(elsewhere, "0") {
        Ok(()) => calls::exec("/bin/true", &[b"outside"]),
        Err(_) => FAILED,
    })?;
    stage.run(|| 0).map(drop)
}

fn ended_well(pid: i64) -> i32 {
    let pid = i32::try_from(pid).unwrap_or(-1);
    execute::wait(pid).map_or(FAILED, |(_, status)| status >> 8)
}

fn clone_parent(stage: &mut Stage) -> Result<()> {
    let (told, tell) = std::io::pipe()?;
    stage.run(|| match calls::clone_with(libc::CLONE_PARENT) {
        0 => calls::exec("/bin/true", &[b"sibling"]),
        pid => tell_pid(&tell, i32::try_from(pid).unwrap_or(-1)),
    })?;
    let child = hear_pid(&told)?;
    stage.reap(child).map(drop)
}

fn tell_pid(mut pipe: &std::io::PipeWriter, pid: i32) -> i32 {
    use std::io::Write as _;
    i32::from(pipe.write_all(&pid.to_ne_bytes()).is_err())
}

fn hear_pid(mut pipe: &std::io::PipeReader) -> Result<i32> {
    use std::io::Read as _;
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn three(stage: &mut Stage) -> Result<()> {
    stage
        .run_exec(own_program()?, &acting(&[b"chain", b"2"]))
        .map(drop)
}

fn grandchild(stage: &mut Stage) -> Result<()> {
    stage
        .run_exec(own_program()?, &acting(&[b"parent"]))
        .map(drop)
}

/// Each forks the next and waits for it; the last executes.
fn generations(more: u32) -> i32 {
    if more == 1 {
        return calls::exec("/bin/true", &[b"true"]);
    }
    let child = execute::fork(|| generations(more - 1));
    child.map_or(FAILED, |pid| ended_well(pid.into()))
}

fn failing(stage: &mut Stage, name: &str, expected: i32) -> Result<()> {
    let file = stage.file(name);
    if name != "nothing" {
        fs::write(&file, "neither program nor script")?;
        let mode = if name == "text" { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    }
    let status = stage.run(|| {
        if calls::exec(&file, &[b"before"]) != expected {
            return FAILED;
        }
        calls::exec("/bin/true", &[b"after"])
    })?;
    ensure!(status == 0, "ended with {status}");
    Ok(())
}

fn too_long(stage: &mut Stage) -> Result<()> {
    // MAX_ARG_STRLEN is 32 pages.
    let long = vec![b'x'; 32 << 16];
    stage.run(|| {
        if calls::exec("/bin/true", &[b"before", &long]) != libc::E2BIG {
            return FAILED;
        }
        calls::exec("/bin/true", &[b"after"])
    })?;
    Ok(())
}

/// A program that cannot be loaded, which the kernel finds when the old one is gone.
fn beyond_return(stage: &mut Stage) -> Result<()> {
    const ADDRESS_OF_SEGMENT: usize = 64 + 16;
    if cfg!(not(target_arch = "x86_64")) {
        return Err(skip("the machine code is x86-64's"));
    }
    let mut program = execute::elf(&[0x0f, 0x0b]);
    // Beyond all that a process can have.
    program[ADDRESS_OF_SEGMENT..ADDRESS_OF_SEGMENT + 8]
        .copy_from_slice(&0xffff_f000_0000_0000_u64.to_le_bytes());
    let file = stage.file("broken");
    fs::write(&file, program)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    stage.run_exec(&file, &[b"broken"]).map(drop)
}
