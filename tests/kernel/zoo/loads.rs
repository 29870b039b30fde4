//! Processes that use something: time, memory, storage.

use std::{
    fs, hint,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Result;
use rustix::fs::FsWord;

use super::{
    act,
    calls::{self, FAILED},
    stage::{Shape, Stage, acting, own_program, skip},
};

const MIB: usize = 1 << 20;

pub(super) const SHAPES: &[Shape] = &[
    Shape("uses a processor for 300 ms", burns, "A(R) me[burn|300] =0"),
    Shape(
        "uses it in the kernel",
        |s| s.run(in_the_kernel).map(drop),
        "A(R) =0",
    ),
    Shape(
        "gives it up often",
        |s| s.run(gives_up).map(drop),
        "A(R) =0",
    ),
    Shape("has 32 MiB", |s| s.run(|| eat(32)).map(drop), "A(R) =0"),
    Shape(
        "had 32 MiB before the exec",
        |s| s.run(|| eat_then_exec(32)).map(drop),
        "A(R) true[true] =0",
    ),
    Shape("writes a MiB", writes, "A(R) =0"),
    Shape("reads a MiB", reads, "A(R) =0"),
    Shape("writes what is deleted", writes_in_vain, "A(R) =0"),
];

fn burns(stage: &mut Stage) -> Result<()> {
    stage.note("min_cpu_ms", 290);
    stage
        .run_exec(own_program()?, &acting(&[b"burn", b"300"]))
        .map(drop)
}

fn in_the_kernel() -> i32 {
    let all_read =
        (0..30).all(|_| fs::read("/proc/kallsyms").is_ok() || fs::read("/proc/self/maps").is_ok());
    i32::from(!all_read)
}

fn gives_up() -> i32 {
    (0..100).for_each(|_| calls::sleep_ms(0));
    (0..50).for_each(|_| std::thread::sleep(std::time::Duration::from_micros(100)));
    0
}

fn eat(mebibytes: usize) -> i32 {
    let memory = hint::black_box(vec![1_u8; mebibytes * MIB]);
    i32::from(memory[memory.len() / 2] != 1)
}

fn eat_then_exec(mebibytes: usize) -> i32 {
    if eat(mebibytes) != 0 {
        return FAILED;
    }
    calls::exec("/bin/true", &[b"true"])
}

/// Whether what is written to a place is on no disk.
fn is_in_memory(place: &Path) -> Result<bool> {
    const TMPFS: FsWord = 0x0102_1994;
    const RAMFS: FsWord = 0x8584_58f6;
    let kind = rustix::fs::statfs(place)?.f_type;
    Ok(kind == TMPFS || kind == RAMFS)
}

fn write_and_sync(file: &Path) -> i32 {
    let write = || {
        let mut file = fs::File::create(file)?;
        file.write_all(&vec![7; MIB])?;
        file.sync_all()
    };
    write().map_or(FAILED, |()| 0)
}

fn writes(stage: &mut Stage) -> Result<()> {
    let in_memory = is_in_memory(&stage.directory)?;
    stage.note("in_memory", in_memory);
    stage.note("min_written", if in_memory { 0 } else { MIB });
    let file = stage.file("written");
    stage.run(|| write_and_sync(&file)).map(drop)
}

fn reads(stage: &mut Stage) -> Result<()> {
    if is_in_memory(&stage.directory)? {
        return Err(skip("there is no disk"));
    }
    let file = stage.file("read");
    act::burn(0);
    write_and_sync(&file);
    stage.note("min_read", MIB);
    stage
        .run(|| {
            // Blocks of a disk, for memory that begins where one of its pages does.
            let mut memory = vec![0_u8; MIB + 4096];
            let start = memory.as_ptr().align_offset(4096);
            let whole = fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_DIRECT)
                .open(&file)
                .and_then(|mut file| file.read_exact(&mut memory[start..start + MIB]));
            whole.map_or(FAILED, |()| 0)
        })
        .map(drop)
}

/// What was written and never reached a disk counts, as it does in `/proc/PID/io`.
fn writes_in_vain(stage: &mut Stage) -> Result<()> {
    let file = stage.file("vain");
    stage
        .run(|| {
            let written = fs::write(&file, vec![7; MIB]).and_then(|()| fs::remove_file(&file));
            written.map_or(FAILED, |()| 0)
        })
        .map(drop)
}
