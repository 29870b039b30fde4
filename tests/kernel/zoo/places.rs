//! Where programs and working directories are, as the process sees them.

use std::{fs, os::unix::fs as unix, path::Path};

use anyhow::{Context as _, Result};
use wellhead_tests::execute;

use super::{
    calls::{self, FAILED},
    programs::quick,
    stage::{Shape, Stage, skip},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape(
        "another working directory",
        |s| in_directory(s, "else", |_| ()),
        "A(R) true[true] in $D/else =0",
    ),
    Shape(
        "the root is the working directory",
        at_root,
        "A(R) true[true] in / =0",
    ),
    Shape(
        "an odd working directory",
        |s| in_directory(s, "a \n\x1b[31mé", |_| ()),
        "A(R) true[true] in $D/a \\n\\u{1b}[31mé =0",
    ),
    Shape(
        "the working directory is deleted",
        |s| in_directory(s, "gone", |d| fs::remove_dir(d).unwrap_or(())),
        "A(R) true[true] in $D/gone =0",
    ),
    Shape(
        "a very deep working directory",
        deep,
        "A(R) true[true] in …/c*150/d*150 =0",
    ),
    Shape(
        "a deep place for a program",
        deep_program,
        "A(R) p@…/c*150/d*150/p[p] in …/c*150/d*150 =0",
    ),
    Shape(
        "a hundred small directories",
        hundred,
        "A(R) true[true] in $TAIL =0",
    ),
    Shape(
        "a name of 255 bytes",
        long_name,
        "A(R) n*15@…/$HERE/n*255[n] =0",
    ),
    Shape(
        "a name of 254 bytes",
        |s| named(s, &"n".repeat(254)),
        "A(R) n*254@…/$HERE/n*254[n] =0",
    ),
    Shape("a bind mount", bind, "A(R) p@$D/there/p[p] in $D/there =0"),
    Shape("a file that is mounted", bind_file, "A(R) on@$D/on[p] =0"),
    Shape(
        "a mount over the working directory",
        mounted_over,
        "A(R) true[true] in $D/over =0",
    ),
    Shape(
        "a mount that is gone",
        unmounted,
        "A(R) true[true] in /sub =0",
    ),
    Shape("chroot", |s| chroot(s, true), "A(R) p@/bin/p[p] in / =0"),
    Shape(
        "chroot around the working directory",
        |s| chroot(s, false),
        "A(R) p@/bin/p[p] =0",
    ),
    Shape(
        "chroot inside of chroot",
        chroot_twice,
        "A(R) p@/p[p] in / =0",
    ),
    Shape("pivot_root", pivot, "A(R) p@/p[p] in / =0"),
];

fn in_directory(stage: &mut Stage, name: &str, then: fn(&Path)) -> Result<()> {
    let directory = stage.file(name);
    fs::create_dir(&directory)?;
    stage
        .run(|| {
            if std::env::set_current_dir(&directory).is_err() {
                return FAILED;
            }
            then(&directory);
            calls::exec("/bin/true", &[b"true"])
        })
        .map(drop)
}

fn at_root(stage: &mut Stage) -> Result<()> {
    stage
        .run(|| match std::env::set_current_dir("/") {
            Ok(()) => calls::exec("/bin/true", &[b"true"]),
            Err(_) => FAILED,
        })
        .map(drop)
}

/// Goes down into directories that it makes.
fn descend<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for name in names {
        fs::create_dir(name)?;
        std::env::set_current_dir(name)?;
    }
    Ok(())
}

fn four() -> [String; 4] {
    ["a", "b", "c", "d"].map(|letter| letter.repeat(150))
}

fn deep(stage: &mut Stage) -> Result<()> {
    descend(four().iter().map(String::as_str))?;
    stage.run_exec("/bin/true", &[b"true"]).map(drop)
}

fn deep_program(stage: &mut Stage) -> Result<()> {
    let program = quick(stage, "p")?;
    descend(four().iter().map(String::as_str))?;
    fs::copy(program, "p")?;
    stage.run_exec("p", &[b"p"]).map(drop)
}

/// More names than are followed.
fn hundred(stage: &mut Stage) -> Result<()> {
    const FOLLOWED: usize = 40;
    descend(std::iter::repeat_n("d", 100))?;
    stage.note("TAIL", format!("…{}", "/d".repeat(FOLLOWED)));
    stage.run_exec("/bin/true", &[b"true"]).map(drop)
}

fn named(stage: &mut Stage, name: &str) -> Result<()> {
    let program = quick(stage, "p")?;
    let here = stage
        .directory
        .file_name()
        .context("a name")?
        .to_string_lossy()
        .into_owned();
    stage.note("HERE", here);
    fs::rename(program, stage.file(name))?;
    // By its name alone: with more before it it would be cut.
    stage.run_exec(name, &[b"n"]).map(drop)
}

/// One byte more than is kept of the path that is given: it is called as the process is.
fn long_name(stage: &mut Stage) -> Result<()> {
    named(stage, &"n".repeat(255))
}

/// Has mounts of its own from now on.
fn own_mounts() -> Result<()> {
    calls::unshare(libc::CLONE_NEWNS).map_err(skip)?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    calls::mount(Path::new("none"), Path::new("/"), None, private)
}

fn bind(stage: &mut Stage) -> Result<()> {
    let (here, there) = (stage.file("here"), stage.file("there"));
    fs::create_dir(&here)?;
    fs::create_dir(&there)?;
    fs::rename(quick(stage, "p")?, here.join("p"))?;
    own_mounts()?;
    calls::mount(&here, &there, None, libc::MS_BIND)?;
    std::env::set_current_dir(&there)?;
    stage.run_exec("./p", &[b"p"]).map(drop)
}

fn bind_file(stage: &mut Stage) -> Result<()> {
    let (program, on) = (quick(stage, "p")?, stage.file("on"));
    fs::write(&on, "")?;
    own_mounts()?;
    calls::mount(&program, &on, None, libc::MS_BIND)?;
    stage.run_exec(&on, &[b"p"]).map(drop)
}

fn mounted_over(stage: &mut Stage) -> Result<()> {
    let over = stage.file("over");
    fs::create_dir(&over)?;
    own_mounts()?;
    calls::mount(Path::new("none"), &over, Some("tmpfs"), 0)?;
    std::env::set_current_dir(&over)?;
    calls::mount(Path::new("none"), &over, Some("tmpfs"), 0)?;
    stage.run_exec("/bin/true", &[b"true"]).map(drop)
}

fn unmounted(stage: &mut Stage) -> Result<()> {
    let place = stage.file("mount");
    fs::create_dir(&place)?;
    own_mounts()?;
    calls::mount(Path::new("none"), &place, Some("tmpfs"), 0)?;
    fs::create_dir(place.join("sub"))?;
    std::env::set_current_dir(place.join("sub"))?;
    detach(&place)?;
    stage.run_exec("/bin/true", &[b"true"]).map(drop)
}

fn detach(place: &Path) -> Result<()> {
    let path = execute::c_string(place)?;
    // SAFETY: the path outlives the call.
    let result = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    calls::number(result).context("unmount")
}

fn chroot(stage: &mut Stage, with_directory: bool) -> Result<()> {
    let root = stage.file("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::rename(quick(stage, "p")?, root.join("bin/p"))?;
    stage
        .run(|| {
            let entered = unix::chroot(&root);
            if entered.is_err() || with_directory && std::env::set_current_dir("/").is_err() {
                return FAILED;
            }
            calls::exec("/bin/p", &[b"p"])
        })
        .map(drop)
}

fn chroot_twice(stage: &mut Stage) -> Result<()> {
    let root = stage.file("root");
    fs::create_dir_all(root.join("inner"))?;
    fs::rename(quick(stage, "p")?, root.join("inner/p"))?;
    stage
        .run(|| {
            for place in [root.as_path(), Path::new("/inner")] {
                if unix::chroot(place).is_err() || std::env::set_current_dir("/").is_err() {
                    return FAILED;
                }
            }
            calls::exec("/p", &[b"p"])
        })
        .map(drop)
}

/// As container runtimes do it. In the child: whoever has the same mounts has the same root afterwards.
fn pivot(stage: &mut Stage) -> Result<()> {
    const ROOT_IS_FIXED: i32 = 98;
    let (program, root) = (quick(stage, "p")?, stage.file("root"));
    fs::create_dir(&root)?;
    let prepare = || -> Result<()> {
        own_mounts()?;
        calls::mount(Path::new("none"), &root, Some("tmpfs"), 0)?;
        fs::copy(&program, root.join("p"))?;
        std::env::set_current_dir(&root)?;
        // SAFETY: both paths are strings; only this mount namespace changes.
        let moved = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
        calls::number(i32::try_from(moved)?)?;
        detach(Path::new("."))?;
        Ok(std::env::set_current_dir("/")?)
    };
    let status = stage.run(|| match prepare() {
        Ok(()) => calls::exec("/p", &[b"p"]),
        Err(error) => {
            let why = error.downcast_ref::<std::io::Error>();
            let is_fixed = why.is_some_and(|why| why.raw_os_error() == Some(libc::EINVAL));
            if is_fixed { ROOT_IS_FIXED } else { FAILED }
        }
    })?;
    if status == ROOT_IS_FIXED << 8 {
        return Err(skip("the root is what the kernel was started with"));
    }
    Ok(())
}
