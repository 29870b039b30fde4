//! The archive a kernel unpacks as its first root file system: `cpio` in its "newc" form, as
//! `Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel describes it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::paths;

/// `S_IFDIR` and `S_IFREG` of `stat(2)`.
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive being written. All entries belong to root and are as old as the epoch, so the same contents are the same
/// bytes.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory, with those above it.
    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        for above in ancestors(path)? {
            if self.directories.insert(above.clone()) {
                self.entry(&above, DIRECTORY | 0o755, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file, with the directories above it.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, contents: &[u8]) -> Result<()> {
        self.above(path)?;
        self.entry(&relative(path)?, FILE | permissions, contents)
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn above(&mut self, path: &str) -> Result<()> {
        match relative(path)?.rsplit_once('/') {
            Some((directory, _)) => self.directory(directory),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(contents.len()).context("a file of 4 GiB")?;
        let name_size = u32::try_from(name.len() + 1)?;
        // Inode, mode, owner, group, links, time, size, device and special device (major, minor), name, check sum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }
}

/// Names in an archive have no leading slash.
fn relative(path: &str) -> Result<String> {
    paths::in_archive(path).with_context(|| format!("no path for an archive: {path}"))
}

/// A directory and those above it, outermost first.
fn ancestors(path: &str) -> Result<Vec<String>> {
    let path = relative(path)?;
    let ends = path.match_indices('/').map(|(at, _)| at);
    let ends = ends.chain([path.len()]);
    Ok(ends.map(|end| path[..end].to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.file("/usr/lib/a.so", 0o644, b"abcde").unwrap();
        archive.file("/usr/lib/b.so", 0o644, b"").unwrap();
        archive.directory("/proc").unwrap();
        archive.finish().unwrap()
    }

    /// Names, modes and contents, as the kernel's `init/initramfs.c` walks them.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let field = |number: usize| {
                let at = 6 + 8 * number;
                let text = str::from_utf8(&bytes[at..at + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let start = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return found;
            }
            found.push((name, mode, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn holds_what_was_put_in_with_the_directories_above() {
        let entries = read(&sample());
        let expected: [(&str, u32, &[u8]); 6] = [
            ("init", 0o100_755, b"#!/bin/sh\n"),
            ("usr", 0o040_755, b""),
            ("usr/lib", 0o040_755, b""),
            ("usr/lib/a.so", 0o100_644, b"abcde"),
            ("usr/lib/b.so", 0o100_644, b""),
            ("proc", 0o040_755, b""),
        ];
        let expected = expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_vec()));
        assert_eq!(entries, expected);
    }

    #[test]
    fn refuses_paths_that_leave_the_archive() {
        let mut archive = Archive::default();
        assert!(archive.file("/a/../b", 0o644, b"").is_err());
    }

    #[test]
    fn cpio_reads_it() {
        if crate::cmd::which("cpio").is_none() {
            return;
        }
        let mut cpio = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "init\nusr\nusr/lib\nusr/lib/a.so\nusr/lib/b.so\nproc\n"
        );
    }
}
