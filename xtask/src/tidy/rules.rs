//! The rules, as functions of names and texts. Each problem reads `file:line: what is wrong`.

use std::collections::BTreeSet;
use std::path::Path;

/// A file about one subject seldom needs more.
const MAX_RUST_LINES: usize = 500;
/// `main.rs` wires the parts together and has no logic of its own.
const MAX_MAIN_LINES: usize = 150;

/// Kinds of files that people write by hand.
const WRITTEN: [&str; 7] = ["rs", "md", "toml", "yml", "yaml", "sh", "py"];

// In two pieces each, so that this file passes.
const DEBUG_MACRO: &str = concat!("dbg", "!(");
/// Directories of the machine that something was written on. They mean nothing on another.
const MACHINE_DIRECTORIES: [&str; 5] = [
    concat!("/wo", "rk"),
    concat!("/fa", "rm"),
    concat!("/root/", ".cargo"),
    concat!("/root/", ".cache"),
    concat!("/root/", ".rustup"),
];
/// Package clients know their registry. A host named here would be somebody's own mirror.
const REGISTRY_HOSTS: [&str; 5] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("art", "ifactory"),
];

/// Checks the text of one file.
pub(super) fn check_file(name: &str, text: &str) -> Vec<String> {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let whats = every_line(line)
            .chain(written_line(line).filter(|_| extension.is_some_and(|e| WRITTEN.contains(&e))))
            .chain(rust_line(line).filter(|_| extension == Some("rs")));
        problems.extend(whats.map(|what| format!("{name}:{number}: {what}")));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{name}: no newline at the end"));
    }
    if extension == Some("rs") {
        problems.extend(too_long(name, text.lines().count()));
    }
    problems
}

/// The map of the code has to name every part of the agent. What a part is made of is its own matter.
pub(super) fn check_architecture(files: &BTreeSet<String>, architecture: &str) -> Vec<String> {
    let parts: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| Some(file.strip_prefix("agent/src/")?.split_once('/')?.0))
        .collect();
    parts
        .into_iter()
        .filter(|part| !names_directory(architecture, part))
        .map(|part| format!("ARCHITECTURE.md: agent/src/{part}/ is not named"))
        .collect()
}

/// A page that names the tests which show something must name such as there are: a file, or `file::test`, each in backquotes.
pub(super) fn check_tests_named(
    page: &str,
    content: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        // Every other piece stands between two backquotes.
        for named in line.split('`').skip(1).step_by(2) {
            let (file, test) = named.split_once("::").unwrap_or((named, ""));
            if Path::new(file)
                .extension()
                .is_none_or(|ending| ending != "rs")
            {
                continue;
            }
            let has_it = |code: String| test.is_empty() || code.contains(&format!("fn {test}("));
            if !read(file).is_some_and(has_it) {
                problems.push(format!("{page}:{number}: there is no {named}"));
            }
        }
    }
    problems
}

fn every_line(line: &str) -> impl Iterator<Item = String> {
    let directories = MACHINE_DIRECTORIES
        .into_iter()
        .filter(|directory| has_absolute_path(line, directory))
        .map(|directory| format!("a path of one machine: {directory}"));
    let hosts = REGISTRY_HOSTS
        .into_iter()
        .filter(|host| line.contains(host))
        .map(|host| format!("a registry host: {host}"));
    directories.chain(hosts)
}

fn written_line(line: &str) -> impl Iterator<Item = String> {
    let blank = line
        .ends_with([' ', '\t'])
        .then(|| "trailing white space".to_owned());
    let tab = line.contains('\t').then(|| "a tab".to_owned());
    blank.into_iter().chain(tab)
}

fn rust_line(line: &str) -> impl Iterator<Item = String> {
    line.contains(DEBUG_MACRO)
        .then(|| "a debugging macro left in".to_owned())
        .into_iter()
}

fn too_long(name: &str, lines: usize) -> Option<String> {
    let is_main = Path::new(name)
        .file_name()
        .is_some_and(|file| file == "main.rs");
    let limit = if is_main {
        MAX_MAIN_LINES
    } else {
        MAX_RUST_LINES
    };
    (lines > limit).then(|| format!("{name}: {lines} lines, at most {limit}"))
}

/// Whether `directory` (`/a`) starts a path in `line`: not `b/a` nor `/ab`.
fn has_absolute_path(line: &str, directory: &str) -> bool {
    line.match_indices(directory).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        !before.is_some_and(is_path_char) && !after.is_some_and(|c| c != '/' && is_path_char(c))
    })
}

/// Whether `text` has the directory with a slash behind it, alone or in a longer path.
fn names_directory(text: &str, directory: &str) -> bool {
    text.match_indices(&format!("{directory}/")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c != '/' && is_path_char(c))
    })
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || "/_.-}>*".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expected: &[&str]) {
        assert_eq!(check_file(name, text), expected, "{name}: {text:?}");
    }

    #[test]
    fn white_space() {
        check("a.rs", "fn main() {}\n", &[]);
        check("a.md", "one\ntwo \n", &["a.md:2: trailing white space"]);
        check("a.toml", "\tx = 1\n", &["a.toml:1: a tab"]);
        check("a.rs", "x", &["a.rs: no newline at the end"]);
        check("empty.rs", "", &[]);
        check("Makefile", "all:\n\techo \n", &[]);
    }

    #[test]
    fn debugging_macros() {
        let line = format!("let x = {DEBUG_MACRO}1);\n");
        check("a.rs", &line, &["a.rs:1: a debugging macro left in"]);
        check("a.md", &line, &[]);
    }

    #[test]
    fn machine_paths() {
        let [work, _, cargo, ..] = MACHINE_DIRECTORIES;
        for line in [format!("cd {work}/x"), work.to_owned(), format!("`{work}`")] {
            let expected = format!("LICENSE:1: a path of one machine: {work}");
            check("LICENSE", &format!("{line}\n"), &[&expected]);
        }
        for line in [
            format!("/proc/1{work}/x"),
            format!("/proc/<pid>{work}"),
            format!("{work}space/x"),
            format!("/home/me{cargo}/bin"),
            "/root/.kube/config".to_owned(),
        ] {
            check("a.md", &format!("{line}\n"), &[]);
        }
    }

    #[test]
    fn registry_hosts() {
        let [host, ..] = REGISTRY_HOSTS;
        let expected = format!("a.toml:1: a registry host: {host}");
        check(
            "a.toml",
            &format!("url = \"https://{host}/x\"\n"),
            &[&expected],
        );
        check(
            "Cargo.lock",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n",
            &[],
        );
    }

    #[test]
    fn lengths() {
        check("a/main.rs", &"\n".repeat(MAX_MAIN_LINES), &[]);
        check(
            "a/main.rs",
            &"\n".repeat(MAX_MAIN_LINES + 1),
            &["a/main.rs: 151 lines, at most 150"],
        );
        check("a/b.rs", &"\n".repeat(MAX_RUST_LINES), &[]);
        check(
            "a/b.rs",
            &"\n".repeat(MAX_RUST_LINES + 1),
            &["a/b.rs: 501 lines, at most 500"],
        );
        check("a.md", &"\n".repeat(MAX_RUST_LINES + 1), &[]);
    }

    #[test]
    fn the_map_names_every_part() {
        let files = [
            "agent/src/lib.rs",
            "agent/src/export/otlp/mod.rs",
            "agent/src/kernel/mod.rs",
            "xtask/src/tidy/rules.rs",
        ];
        let files: BTreeSet<String> = files.map(str::to_owned).into();
        let check = |text: &str, missing: &[&str]| {
            let expected: Vec<String> = missing
                .iter()
                .map(|part| format!("ARCHITECTURE.md: agent/src/{part}/ is not named"))
                .collect();
            assert_eq!(check_architecture(&files, text), expected, "{text:?}");
        };
        check("`kernel/` and `export/`", &[]);
        check("agent/src/kernel/, then agent/src/export/otlp/", &[]);
        check("kernel/ and export", &["export"]);
        check("mykernel/, export/", &["kernel"]);
    }

    #[test]
    fn tests_that_are_named_exist() {
        let read = |file: &str| (file == "a.rs").then(|| "fn works() {}".to_owned());
        let check = |text: &str| check_tests_named("p.md", text, read).len();
        assert_eq!(check("| `a.rs::works`, `a.rs` | `b::c`, `OTEL_X` |"), 0);
        assert_eq!(check("`a.rs::work`, `b.rs` and `b.rs::works`"), 3);
    }
}
