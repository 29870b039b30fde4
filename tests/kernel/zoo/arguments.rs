//! Arguments of all kinds.

use std::fs;

use anyhow::Result;
use wellhead_tests::execute;

use super::{
    calls,
    programs::{quick, until_executed},
    stage::{Shape, Stage},
};

pub(super) const SHAPES: &[Shape] = &[
    Shape(
        "no argument at all",
        none,
        "A(R) p@$D/p$ARGUMENTS !SIGKILL by R",
    ),
    Shape(
        "empty arguments",
        |s| given(s, &[b"", b"", b"", b""]),
        "A(R) true[|||] =0",
    ),
    Shape("one empty argument", |s| given(s, &[b""]), "A(R) true[] =0"),
    Shape("4095 bytes", |s| long(s, 4095), "A(R) true[a|x*4092] =0"),
    Shape("4096 bytes", |s| long(s, 4096), "A(R) true[a|x*4093] =0"),
    Shape(
        "4097 bytes",
        |s| long(s, 4097),
        "A(R) true[a|x*4094] cut =0",
    ),
    Shape(
        "4098 bytes",
        |s| long(s, 4098),
        "A(R) true[a|x*4094] cut =0",
    ),
    Shape("two thousand arguments", many, "A(R) true[$MANY] cut =0"),
    Shape("nearly two MiB", two_mib, "A(R) true[big|x*4092] cut =0"),
    Shape(
        "no UTF-8",
        |s| given(s, &[b"true", b"\xff\xfe", b"\xc3"]),
        "A(R) true[true|\u{fffd}\u{fffd}|\u{fffd}] =0",
    ),
    Shape(
        "for terminals",
        |s| given(s, &[b"true", b"a\nb", b"\x1b[31m", b"\t\r\x07"]),
        "A(R) true[true|a\\nb|\\u{1b}[31m|\\t\\r\\u{7}] =0",
    ),
    Shape(
        "spaces and quotes",
        |s| given(s, &[b"true", b" ", b"a b", b"'\"\\"]),
        "A(R) true[true| |a b|'\"\\] =0",
    ),
    Shape(
        "another name than the program's",
        |s| given(s, &[b"-not true"]),
        "A(R) true[-not true] =0",
    ),
    Shape(
        "secrets",
        |s| given(s, &[b"true", b"--password", b"hunter2", b"TOKEN=x"]),
        "A(R) true[true|--password|[redacted]|TOKEN=[redacted]] =0",
    ),
];

fn given(stage: &mut Stage, arguments: &[&[u8]]) -> Result<()> {
    stage.run_exec("/bin/true", arguments).map(drop)
}

/// Newer kernels make it one that is empty.
fn none(stage: &mut Stage) -> Result<()> {
    let program = execute::elf(&[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
    let path = quick(stage, "p")?;
    fs::write(&path, program)?;
    let child = Stage::start(|| calls::exec(&path, &[]))?;
    until_executed(child, "p")?;
    let has_one = fs::read(format!("/proc/{child}/cmdline"))? == b"\0";
    stage.note("ARGUMENTS", if has_one { "[]" } else { "" });
    calls::kill(child, libc::SIGKILL)?;
    stage.reap(child).map(drop)
}

/// So many bytes in all, NULs and all.
fn long(stage: &mut Stage, bytes: usize) -> Result<()> {
    let rest = vec![b'x'; bytes - b"a\0\0".len()];
    given(stage, &[b"a", &rest])
}

fn many(stage: &mut Stage) -> Result<()> {
    let all: Vec<Vec<u8>> = (0..2_000)
        .map(|number| format!("{number:07}").into())
        .collect();
    let arguments: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    // Seven digits and a NUL each.
    let kept: Vec<String> = (0..4096 / 8).map(|number| format!("{number:07}")).collect();
    stage.note("MANY", kept.join("|"));
    given(stage, &arguments)
}

fn two_mib(stage: &mut Stage) -> Result<()> {
    // The longest that there may be, NUL and all, is 128 KiB.
    let piece = vec![b'x'; (128 << 10) - 1];
    let mut arguments: Vec<&[u8]> = vec![b"big"];
    arguments.extend(std::iter::repeat_n(piece.as_slice(), 15));
    given(stage, &arguments)
}
