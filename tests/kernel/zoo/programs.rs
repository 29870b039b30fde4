//! What is executed, by which name, and with which rights.

use std::{
    ffi::OsStr,
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
};

use anyhow::Result;
use rustix::fs::MemfdFlags;
use wellhead_tests::execute;

use super::{
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, copy_of, own_program, skip, true_program},
};

/// A user that may do nothing on its own.
const USER: u32 = 1_000;

pub(super) const SHAPES: &[Shape] = &[
    Shape("a link", linked, "A(R) link@true[true] =0"),
    Shape(
        "a link to a link",
        linked_twice,
        "A(R) second@true[true] =0",
    ),
    Shape("a second name", hard_link, "A(R) second@$D/second[p] =0"),
    Shape(
        "a relative path",
        |s| by(s, "bin/p", "bin/p"),
        "A(R) p@$D/bin/p[p] =0",
    ),
    Shape(
        "in the working directory",
        |s| by(s, "p", "./p"),
        "A(R) p@$D/p[p] =0",
    ),
    Shape(
        "by a detour",
        |s| by(s, "bin/p", "bin/../bin//./p"),
        "A(R) p@$D/bin/p[p] =0",
    ),
    Shape(
        "a name with spaces",
        |s| by(s, "a program", "./a program"),
        "A(R) a program@$D/a program[p] =0",
    ),
    Shape(
        "a name that is no UTF-8",
        no_utf8,
        "A(R) \u{fffd}x\u{fffd}@$D/\u{fffd}x\u{fffd}[p] =0",
    ),
    Shape(
        "a name for terminals",
        |s| by(s, "p\n\x1b[2J", "./p\n\x1b[2J"),
        "A(R) p\\n\\u{1b}[2J@$D/p\\n\\u{1b}[2J[p] =0",
    ),
    Shape(
        "/proc/self/exe",
        |s| {
            s.run_exec("/proc/self/exe", &acting(&[b"exit", b"0"]))
                .map(drop)
        },
        "A(R) me[exit|0] =0",
    ),
    Shape(
        "a script",
        |s| script(s, "script"),
        "A(R) script@$D/p[$D/p|-x|$D/script|b] script=$D/script =0",
    ),
    Shape(
        "a script by a relative path",
        relative_script,
        "A(R) script@$D/p[$D/p|-x|./script|b] script=./script =0",
    ),
    Shape(
        "a script that a script interprets",
        |s| script(s, "outer"),
        "A(R) outer@$D/p[$D/p|-x|$D/script|$D/outer|b] script=$D/outer =0",
    ),
    Shape(
        "a script without an interpreter",
        no_interpreter,
        "A(R) true[after] =0",
    ),
    Shape(
        "in memory",
        in_memory,
        "A(R) memfd:odd name@memfd:odd name[p] memfd =0",
    ),
    Shape(
        "by descriptor",
        |s| by_descriptor(s, false, 0),
        "A(R) p@$D/p[p] =0",
    ),
    Shape(
        "by O_PATH",
        |s| by_descriptor(s, false, libc::O_PATH),
        "A(R) p@$D/p[p] =0",
    ),
    Shape(
        "by descriptor of a file that is mounted nowhere",
        mounted_nowhere,
        "A(R) p@…/p[p] =0",
    ),
    Shape(
        "deleted before",
        |s| by_descriptor(s, true, 0),
        "A(R) p@$D/p[p] deleted =0",
    ),
    Shape(
        "deleted afterwards",
        deleted_after,
        "A(R) p@$D/p[p] !SIGKILL by R",
    ),
    Shape(
        "setuid root",
        |s| set_uid(s, false),
        "A(R) suid@$D/suid[users] uid=0/1000 gains all =0",
    ),
    Shape(
        "setuid root without new privileges",
        |s| set_uid(s, true),
        "A(R) suid@$D/suid[users] uid=1000/1000 =1 as 1000",
    ),
    Shape(
        "setuid to another user",
        set_uid_of_other,
        "A(R) p@$D/p[p] uid=54321/1000 =0 as 54321",
    ),
    Shape(
        "capabilities of a file",
        file_capabilities,
        "A(R) p@$D/p[p] uid=1000/1000 gains CAP_NET_RAW =0 as 1000",
    ),
    Shape(
        "root gives up being root",
        give_up,
        "A(R) true[true] uid=1000/1000 =0 as 1000",
    ),
    Shape(
        "in a user namespace",
        user_namespace,
        "A(R) true[true] userns uid=54323/54323 =0 as 54323",
    ),
    Shape(
        "root of a user namespace",
        mapped_user_namespace,
        "A(R) true[true] userns uid=54323/54323 gains all =0 as 54323",
    ),
];

/// A program that ends at once, and needs nothing that is not in it.
pub(super) fn quick(stage: &Stage, name: &str) -> Result<PathBuf> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(skip("the machine code is x86-64's"));
    }
    let path = stage.file(name);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    execute::quick_program(path.parent().unwrap_or(&path), &file_name(&path))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Executes the program of this name by this path.
fn by(stage: &mut Stage, name: &str, path: &str) -> Result<()> {
    quick(stage, name)?;
    stage.run_exec(path, &[b"p"]).map(drop)
}

fn linked(stage: &mut Stage) -> Result<()> {
    symlink(true_program()?, "link")?;
    stage.run_exec(stage.file("link"), &[b"true"]).map(drop)
}

fn linked_twice(stage: &mut Stage) -> Result<()> {
    symlink(true_program()?, "first")?;
    symlink("first", "second")?;
    stage.run_exec(stage.file("second"), &[b"true"]).map(drop)
}

fn hard_link(stage: &mut Stage) -> Result<()> {
    fs::hard_link(quick(stage, "first")?, "second")?;
    stage.run_exec("./second", &[b"p"]).map(drop)
}

fn no_utf8(stage: &mut Stage) -> Result<()> {
    let name = OsStr::from_bytes(b"\xffx\xc3");
    fs::rename(quick(stage, "p")?, name)?;
    stage.run_exec(stage.file(name), &[b"p"]).map(drop)
}

fn make_scripts(stage: &Stage) -> Result<()> {
    let program = quick(stage, "p")?;
    let (inner, outer) = (stage.file("script"), stage.file("outer"));
    fs::write(&inner, format!("#!{} -x\n", program.display()))?;
    fs::write(&outer, format!("#!{}\n", inner.display()))?;
    for script in [inner, outer] {
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn script(stage: &mut Stage, name: &str) -> Result<()> {
    make_scripts(stage)?;
    stage.run_exec(stage.file(name), &[b"a", b"b"]).map(drop)
}

fn relative_script(stage: &mut Stage) -> Result<()> {
    make_scripts(stage)?;
    stage.run_exec("./script", &[b"a", b"b"]).map(drop)
}

fn no_interpreter(stage: &mut Stage) -> Result<()> {
    let file = stage.file("script");
    fs::write(&file, "#!/nowhere/at/all\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    stage
        .run(|| {
            if calls::exec(&file, &[b"before"]) != libc::ENOENT {
                return FAILED;
            }
            calls::exec("/bin/true", &[b"after"])
        })
        .map(drop)
}

fn in_memory(stage: &mut Stage) -> Result<()> {
    let program = fs::read(quick(stage, "p")?)?;
    let file: OwnedFd = rustix::fs::memfd_create("odd name", MemfdFlags::CLOEXEC)?;
    rustix::io::write(&file, &program)?;
    stage
        .run(|| calls::exec_descriptor(file.as_raw_fd(), &[b"p"]))
        .map(drop)
}

fn by_descriptor(stage: &mut Stage, delete: bool, flags: i32) -> Result<()> {
    let program = quick(stage, "p")?;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&program)?;
    if delete {
        fs::remove_file(program)?;
    }
    stage
        .run(|| calls::exec_descriptor(file.as_raw_fd(), &[b"p"]))
        .map(drop)
}

/// As runc executes itself.
fn mounted_nowhere(stage: &mut Stage) -> Result<()> {
    let program = quick(stage, "p")?;
    let Ok(file) = calls::clone_mount(&program) else {
        return Err(skip("nothing may be mounted"));
    };
    stage
        .run(|| calls::exec_descriptor(file.as_raw_fd(), &[b"p"]))
        .map(drop)
}

/// Its path is what it was when it was executed.
fn deleted_after(stage: &mut Stage) -> Result<()> {
    // mov eax, 34 (pause); syscall; jmp back
    let program = execute::elf(&[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
    let path = quick(stage, "p")?;
    fs::write(&path, program)?;
    let child = Stage::start(|| calls::exec(&path, &[b"p"]))?;
    until_executed(child, "p")?;
    fs::remove_file(&path)?;
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

/// Returns once a child executes what has this name, and sleeps.
pub(super) fn until_executed(child: i32, comm: &str) -> Result<()> {
    for _ in 0..5_000 {
        // It has the name before the exec is done.
        let now = fs::read_to_string(format!("/proc/{child}/stat"))?;
        if now.contains(&format!(" ({comm}) S ")) {
            return Ok(());
        }
        calls::sleep_ms(1);
    }
    anyhow::bail!("it does not execute")
}

fn run_as_user(stage: &mut Stage, path: &Path, arguments: &[&[u8]], no_new: bool) -> Result<()> {
    stage
        .run(|| {
            if calls::become_user(USER).is_err() {
                return FAILED;
            }
            if no_new {
                calls::prctl(libc::PR_SET_NO_NEW_PRIVS, 1);
            }
            calls::exec(path, arguments)
        })
        .map(drop)
}

fn set_uid(stage: &mut Stage, no_new: bool) -> Result<()> {
    let path = stage.file("suid");
    copy_of(&own_program()?, &path, 0o4755)?;
    run_as_user(stage, &path, &acting(&[b"users"]), no_new)
}

fn set_uid_of_other(stage: &mut Stage) -> Result<()> {
    let path = quick(stage, "p")?;
    std::os::unix::fs::chown(&path, Some(54_321), None)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    run_as_user(stage, &path, &[b"p"], false)
}

fn file_capabilities(stage: &mut Stage) -> Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    const NET_RAW: u32 = 1 << 13;
    let path = quick(stage, "p")?;
    let words = [REVISION_2_EFFECTIVE, NET_RAW, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::fs::setxattr(
        &path,
        "security.capability",
        &value,
        rustix::fs::XattrFlags::empty(),
    )
    .map_err(skip)?;
    run_as_user(stage, &path, &[b"p"], false)
}

fn give_up(stage: &mut Stage) -> Result<()> {
    run_as_user(stage, Path::new("/bin/true"), &[b"true"], false)
}

fn user_namespace(stage: &mut Stage) -> Result<()> {
    in_user_namespace(stage, false)
}

/// It has all capabilities there.
fn mapped_user_namespace(stage: &mut Stage) -> Result<()> {
    in_user_namespace(stage, true)
}

fn in_user_namespace(stage: &mut Stage, mapped: bool) -> Result<()> {
    const NO_SUCH: i32 = 98;
    let status = stage.run(|| {
        if calls::become_user(54_323).is_err() {
            return FAILED;
        }
        // After a change of user its own files in /proc are root's.
        calls::prctl(libc::PR_SET_DUMPABLE, 1);
        if calls::unshare(libc::CLONE_NEWUSER).is_err() {
            return NO_SUCH;
        }
        if mapped && fs::write("/proc/self/uid_map", "0 54323 1").is_err() {
            return FAILED;
        }
        calls::exec("/bin/true", &[b"true"])
    })?;
    if status == NO_SUCH << 8 {
        return Err(skip("users may make no user namespaces"));
    }
    Ok(())
}
