//! How the running kernel was configured, where it tells.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use flate2::read::GzDecoder;

/// Options that decide what can be captured.
pub(crate) const OPTIONS: [&str; 7] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_EVENTS",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_BPF",
    "CONFIG_FTRACE",
];

/// Far more than any kernel's configuration: what is not one is not read to its end.
const LONGEST: u64 = 4 << 20;

/// The options that are set, with their values.
pub(crate) type KernelConfig = BTreeMap<String, String>;

/// Reads the configuration of the kernel of this release; `None` where nobody tells it.
pub(crate) fn read(release: &str) -> Option<KernelConfig> {
    let gzipped = File::open("/proc/config.gz").map(GzDecoder::new);
    let text = gzipped.and_then(read_text).or_else(|_| {
        let boot = Path::new("/boot").join(format!("config-{release}"));
        File::open(boot).and_then(read_text)
    });
    let config = parse(&text.ok()?);
    // Whatever it was, it was not a configuration.
    (!config.is_empty()).then_some(config)
}

fn read_text(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Lines such as `CONFIG_CGROUPS=y`; an option that is not set stands in a comment.
fn parse(text: &str) -> KernelConfig {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(name, _)| name.starts_with("CONFIG_"))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const TEXT: &str = "# Automatically generated file\nCONFIG_CGROUPS=y\n# CONFIG_BPF_JIT is not set\nCONFIG_LSM=\"a,b\"\nX=y\n";

    #[test]
    fn reads_what_is_set() {
        let expected = [("CONFIG_CGROUPS", "y"), ("CONFIG_LSM", "a,b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(TEXT), KernelConfig::from(expected));
        assert_eq!(parse("garbage\n\u{0}=\n="), KernelConfig::new());
    }

    #[test]
    fn reads_compressed_text_and_no_more_than_is_sensible() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(TEXT.as_bytes()).expect("compressed");
        let compressed = encoder.finish().expect("compressed");
        let text = read_text(GzDecoder::new(&*compressed)).expect("read");
        assert_eq!(text, TEXT);
        assert!(read_text(GzDecoder::new(&b"not compressed"[..])).is_err());
        let endless = read_text(io::repeat(b'x')).expect("cut");
        assert_eq!(endless.len() as u64, LONGEST);
    }
}
