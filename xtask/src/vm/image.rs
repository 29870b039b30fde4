//! What a guest boots into: a root file system in memory, with the programs it shall run and nothing from a disk.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::cpio::Archive;
use super::kernels::Image;
use crate::cmd::{Cmd, quoted, which};

const INIT: &str = include_str!("init.sh");

/// A program of this machine and its name in the guest.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) file: PathBuf,
}

impl Program {
    /// One that is on this machine's path.
    pub(crate) fn of_this_machine(name: &'static str) -> Result<Self> {
        let file = which(name).with_context(|| format!("{name} is missing"))?;
        Ok(Self { name, file })
    }
}

/// Writes the archive of a guest of this kernel that runs `command`, a shell script, with `programs` on its path.
pub(crate) fn write(to: &Path, kernel: &Image, programs: &[Program], command: &str) -> Result<()> {
    let place = to.parent().context("a file lies in a directory")?;
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    let mut archive = Archive::default();
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("command", 0o644, command.as_bytes())?;
    archive.file("bin/busybox", 0o755, &read(&busybox()?)?)?;
    for module in kernel.modules()? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(&module)?)?;
    }
    let mut libraries = Vec::new();
    for program in programs {
        let stripped = to.with_extension(program.name);
        // Debug information would be most of what the guest has to unpack.
        Cmd::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&stripped)
            .arg(&program.file)
            .run_quietly()?;
        archive.file(&format!("bin/{}", program.name), 0o755, &read(&stripped)?)?;
        fs::remove_file(&stripped).context("cannot remove a temporary file")?;
        libraries.extend(libraries_of(&program.file)?);
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        let name = library.to_str().context("a library's path is not UTF-8")?;
        archive.file(name, 0o755, &read(&library)?)?;
    }
    let bytes = archive.finish()?;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// A script that becomes a command given as words.
pub(crate) fn script(words: &[OsString]) -> Result<String> {
    let words: Option<Vec<String>> = words.iter().map(|word| word.to_str().map(quoted)).collect();
    let words = words.context("the command is not UTF-8")?;
    Ok(format!("exec {}\n", words.join(" ")))
}

/// Linked statically: it runs before there is a library.
fn busybox() -> Result<PathBuf> {
    let busybox = which("busybox").context("busybox is missing")?;
    if !libraries_of(&busybox)?.is_empty() {
        bail!("{} is not linked statically", busybox.display());
    }
    Ok(busybox)
}

/// The shared libraries of a program, its loader among them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(listed) = Cmd::new("ldd").arg(program).ask() else {
        // So it says of programs without any.
        return Ok(Vec::new());
    };
    libraries_in(&listed).with_context(|| format!("{} cannot run here", program.display()))
}

fn libraries_in(listed: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listed.lines() {
        let line = line.trim();
        if line.ends_with("not found") {
            bail!("a library is missing: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().unwrap_or_default();
        // The kernel's own has no file.
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_what_ldd_names() {
        let listed = "\tlinux-vdso.so.1 (0x00007f73daa57000)\n\
                      \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f73daa2b000)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f73daa59000)";
        let expected = [
            "/lib/x86_64-linux-gnu/libelf.so.1",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries_in(listed).unwrap(), expected.map(PathBuf::from));
        assert!(libraries_in("\tlibno.so => not found").is_err());
        assert_eq!(
            libraries_in("\tstatically linked").unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn words_stay_words() {
        let words = ["echo", "a b", "it's"].map(OsString::from);
        assert_eq!(script(&words).unwrap(), "exec echo 'a b' 'it'\\''s'\n");
    }
}
