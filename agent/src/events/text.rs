//! Names out of raw bytes.

use std::borrow::Cow;

/// The name a program was called by: the last component of the path given to `execve(2)`, or the process's `comm` where
/// that is not to be had. Bytes that are not UTF-8 are replaced; a name is never empty.
pub fn executable_name<'a>(file_name: &'a [u8], truncated: bool, comm: &'a [u8]) -> Cow<'a, str> {
    let base = file_name
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    // The end of a cut path is the start of some directory's name.
    let name = if truncated || base.is_empty() {
        until_nul(comm)
    } else {
        base
    };
    if name.is_empty() {
        Cow::Borrowed("unknown")
    } else {
        String::from_utf8_lossy(name)
    }
}

/// The part of a NUL-padded name before the padding.
pub(super) fn until_nul(padded: &[u8]) -> &[u8] {
    padded.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_program_was_called_by() {
        let check = |path: &str, truncated, expected| {
            assert_eq!(
                executable_name(path.as_bytes(), truncated, b"comm\0\0"),
                expected,
                "{path}"
            );
        };
        check("/bin/sh", false, "sh");
        check("ls", false, "ls");
        check("./a b", false, "a b");
        check("/dev/fd/7", false, "7");
        check("", false, "comm");
        check("/odd/", false, "comm");
        check("/cut/off/in/the/mid", true, "comm");
        assert_eq!(executable_name(b"", false, b"\0\0"), "unknown");
        assert_eq!(executable_name(b"/x/\xff", false, b""), "\u{fffd}");
    }
}
