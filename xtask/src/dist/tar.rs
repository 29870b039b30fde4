//! Archives as `tar` writes them, in the "ustar" form of POSIX.1: what layers and images are packed in.

use anyhow::{Context as _, Result, bail, ensure};

/// Everything in an archive comes in blocks of this size.
const BLOCK: usize = 512;
/// Longest part of a name in each of the two fields a header has for it.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// What an entry is, by the letter a header has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    File(&'a [u8]),
    Symlink(&'a str),
    Directory,
}

/// An archive being written. All entries belong to root and are as old as the epoch, so the same contents are the same bytes.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds an entry. The path is relative, and a directory's ends without a slash.
    pub(super) fn entry(&mut self, path: &str, mode: u32, kind: Kind<'_>) -> Result<()> {
        let name = match kind {
            Kind::Directory => format!("{path}/"),
            Kind::File(_) | Kind::Symlink(_) => path.to_owned(),
        };
        let (letter, contents, target) = match kind {
            Kind::File(contents) => (b'0', contents, ""),
            Kind::Symlink(target) => (b'2', [].as_slice(), target),
            Kind::Directory => (b'5', [].as_slice(), ""),
        };
        let header = header(&name, mode, letter, contents.len(), target)
            .with_context(|| format!("{path} does not fit into an archive"))?;
        self.bytes.extend(header);
        self.bytes.extend(contents);
        self.pad(BLOCK);
        Ok(())
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }

    fn pad(&mut self, to: usize) {
        let whole = self.bytes.len().next_multiple_of(to);
        self.bytes.resize(whole, 0);
    }
}

fn header(name: &str, mode: u32, letter: u8, size: usize, target: &str) -> Result<[u8; BLOCK]> {
    let (prefix, name) = split(name)?;
    let mut header = [0; BLOCK];
    let mut at = 0;
    let mut field = |text: &str, width: usize| {
        ensure!(text.len() <= width, "`{text}` is longer than {width} bytes");
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
        at += width;
        Ok(())
    };
    field(name, NAME)?;
    // Numbers are octal, with a zero byte behind.
    field(&format!("{mode:07o}"), 8)?;
    field("0000000", 8)?;
    field("0000000", 8)?;
    field(&format!("{size:011o}"), 12)?;
    field("00000000000", 12)?;
    // The check sum counts as spaces while it is computed.
    field("        ", 8)?;
    field(char::from(letter).encode_utf8(&mut [0; 4]), 1)?;
    field(target, 100)?;
    field("ustar\0", 6)?;
    field("00", 2)?;
    // Names of owner and group, and the device.
    field("", 32 + 32)?;
    field("0000000", 8)?;
    field("0000000", 8)?;
    field(prefix, PREFIX)?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// A name as the two fields of a header: joined by a slash they are the name.
fn split(name: &str) -> Result<(&str, &str)> {
    if name.len() <= NAME {
        return Ok(("", name));
    }
    let mut splits = name.match_indices('/').map(|(at, _)| at);
    let fits = |at: &usize| *at <= PREFIX && (1..=NAME).contains(&(name.len() - at - 1));
    match splits.rfind(fits) {
        Some(at) => Ok((&name[..at], &name[at + 1..])),
        None => bail!("the name is too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Names, modes and sizes as the system's `tar` reads them.
    fn list(bytes: &[u8]) -> String {
        let mut tar = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(|line| words(line) + "\n").collect()
    }

    #[test]
    fn tar_reads_it() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        let mut archive = Archive::default();
        archive.entry("etc", 0o755, Kind::Directory).unwrap();
        archive
            .entry("etc/a", 0o640, Kind::File(&[7; 513]))
            .unwrap();
        archive.entry("etc/b", 0o777, Kind::Symlink("a")).unwrap();
        archive.entry(&long, 0o4755, Kind::File(b"")).unwrap();
        let expected = format!(
            "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/\n\
             -rw-r----- 0/0 513 1970-01-01 00:00 etc/a\n\
             lrwxrwxrwx 0/0 0 1970-01-01 00:00 etc/b -> a\n\
             -rwsr-xr-x 0/0 0 1970-01-01 00:00 {long}\n"
        );
        assert_eq!(list(&archive.finish()), expected);
    }

    #[test]
    fn names_that_fit_nowhere_are_refused() {
        let mut archive = Archive::default();
        let long = "a".repeat(101);
        assert!(archive.entry(&long, 0o644, Kind::File(b"")).is_err());
        assert!(archive.entry("a", 0o777, Kind::Symlink(&long)).is_err());
    }
}
