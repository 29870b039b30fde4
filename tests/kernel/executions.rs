//! What an exec record says: the program as it was called, and its arguments.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::AsRawFd as _,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::fs::MemfdFlags;
use serde_json::{Value, json};
use wellhead::events::{Body, Exec};
use wellhead_common::limits;
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    execute, workload,
};

const LONG: usize = 5_000;

pub(crate) fn all(directory: &[String]) -> Result<Value> {
    let directory = Path::new(directory.first().context("where?")?);
    let script = directory.join("script");
    fs::write(&script, "#!/bin/sh\nexit 6\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let deep = deep_link(directory)?;
    let long = "a".repeat(LONG);
    let fits = "b".repeat(limits::ARGUMENTS - "true\0\0".len());
    let calls = [
        (
            "plain",
            PathBuf::from("/bin/true"),
            vec!["true", "--x", "two words", "", "\u{e9}"],
            0,
        ),
        ("none", "/bin/true".into(), vec![""], 0),
        ("long", "/bin/true".into(), vec!["true", &long], 0),
        ("fits", "/bin/true".into(), vec!["true", &fits], 0),
        ("script", script, vec!["anything", "x"], 6 << 8),
        ("deep", deep, vec!["deep"], 0),
    ];
    let mut pids = serde_json::Map::new();
    for (name, path, arguments, expected) in calls {
        let arguments: Vec<CString> = arguments
            .iter()
            .map(execute::c_string)
            .collect::<Result<_>>()?;
        let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
        let (pid, status) = execute::spawn_and_wait(&execute::c_string(path)?, &arguments)?;
        anyhow::ensure!(status == expected, "{name} ended with {status}");
        pids.insert(name.to_owned(), pid.into());
    }
    pids.insert("memory".to_owned(), execute_from_memory()?.into());
    Ok(json!({ "pids": pids, "directory": directory }))
}

/// A link to `true` at a path longer than a record holds.
fn deep_link(directory: &Path) -> Result<PathBuf> {
    let deep = directory.join("d".repeat(150)).join("e".repeat(150));
    fs::create_dir_all(&deep)?;
    let link = deep.join("linked");
    symlink("/bin/true", &link)?;
    Ok(link)
}

fn execute_from_memory() -> Result<u32> {
    let path = Path::new("/bin/true");
    let file = rustix::fs::memfd_create("in-memory", MemfdFlags::empty())?;
    rustix::io::write(&file, &fs::read(path)?)?;
    let (arguments, environment) = ([c"memory".as_ptr(), std::ptr::null()], [std::ptr::null()]);
    let child = execute::fork(|| {
        // SAFETY: arguments and environment end with a null.
        unsafe { libc::fexecve(file.as_raw_fd(), arguments.as_ptr(), environment.as_ptr()) }
    })?;
    let (pid, status) = execute::wait(child)?;
    anyhow::ensure!(status == 0, "ended with {status}");
    Ok(pid)
}

pub(crate) fn are_told_as_called() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let place = directory.path().to_str().context("UTF-8")?;
    let mut tap = Tap::attach(&settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "executions", &[place])?;
    tap.drain();
    let events = tap.events()?;
    let pids = said["pids"].as_object().context("pids")?;
    for (name, pid) in pids {
        let pid = pid.as_u64().context("a pid")?;
        let execs: Vec<&Exec<'_>> = events
            .iter()
            .filter_map(|(event, _)| match &event.body {
                Body::Exec(exec) if u64::from(exec.process.pid) == pid => Some(exec),
                _ => None,
            })
            .collect();
        let [exec] = execs[..] else {
            anyhow::bail!("{} execs of {name}", execs.len());
        };
        assert_eq!(exec.uid, 0, "{name}");
        check(name, exec, place)?;
    }
    assert_eq!(pids.len(), 7);
    Ok(())
}

fn check(name: &str, exec: &Exec<'_>, place: &str) -> Result<()> {
    let file_name = String::from_utf8_lossy(exec.file_name).into_owned();
    let arguments = String::from_utf8_lossy(exec.arguments).into_owned();
    let cut = (exec.file_name_truncated, exec.arguments_truncated);
    let expect = |path: &str, comm: &str, expected: &str, expected_cut| {
        assert_eq!(file_name, path, "{name}");
        assert_eq!(String::from_utf8_lossy(exec.comm), comm, "{name}");
        assert_eq!(arguments, expected, "{name}");
        assert_eq!(cut, expected_cut, "{name}");
    };
    let whole = (false, false);
    match name {
        "plain" => expect(
            "/bin/true",
            "true",
            "true\0--x\0two words\0\0\u{e9}\0",
            whole,
        ),
        "none" => expect("/bin/true", "true", "\0", whole),
        "long" => {
            let kept = format!("true\0{}", "a".repeat(limits::ARGUMENTS - 5));
            expect("/bin/true", "true", &kept, (false, true));
        }
        "fits" => {
            let all = format!("true\0{}\0", "b".repeat(limits::ARGUMENTS - 6));
            expect("/bin/true", "true", &all, whole);
        }
        "script" => {
            let path = format!("{place}/script");
            expect(&path, "script", &format!("/bin/sh\0{path}\0x\0"), whole);
        }
        "deep" => {
            assert_eq!(exec.file_name.len(), limits::FILE_NAME - 1);
            assert!(
                file_name.starts_with(&format!("{place}/ddd")),
                "{file_name}"
            );
            expect(&file_name, "linked", "deep\0", (true, false));
        }
        "memory" => {
            assert!(file_name.starts_with("/dev/fd/"), "{file_name}");
            assert_eq!(arguments, "memory\0");
        }
        other => anyhow::bail!("no expectation for {other}"),
    }
    Ok(())
}
