//! The authorities that an image trusts: those of the distribution. What an administrator added to the machine that builds it
//! is that machine's own business.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Debian's package `ca-certificates`: a PEM file each. The bundle in `/etc/ssl` would have the machine's own as well.
const DEBIAN: &str = "/usr/share/ca-certificates/mozilla";
/// Fedora's package of that name, before anything is added to it.
const FEDORA: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

/// All of them in one PEM file.
pub(crate) fn bundle() -> Result<Vec<u8>> {
    if Path::new(DEBIAN).is_dir() {
        return joined(Path::new(DEBIAN));
    }
    if Path::new(FEDORA).is_file() {
        return fs::read(FEDORA).with_context(|| format!("cannot read {FEDORA}"));
    }
    bail!("no certificates of authorities here; install the package ca-certificates");
}

/// The files of a directory in the order of their names, so that the result depends on nothing else.
fn joined(dir: &Path) -> Result<Vec<u8>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        bundle.extend(text);
        if bundle.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_joined_in_order_each_ending_its_line() {
        let dir =
            std::env::temp_dir().join(format!("wellhead-certificates-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("b.crt"), "B").unwrap();
        fs::write(dir.join("a.crt"), "A\n").unwrap();
        fs::write(dir.join("README"), "no").unwrap();
        assert_eq!(joined(&dir).unwrap(), b"A\nB\n");
        fs::remove_dir_all(dir).unwrap();
    }
}
