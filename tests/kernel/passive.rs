//! The agent only watches: no program of it can change traffic or a process.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
};

use anyhow::{Context as _, Result, ensure};
use wellhead::kernel::{ProbeSettings, embedded_object};
use wellhead_tests::capture::{Tap, settings};

use crate::classic;

/// `BPF_PROG_TYPE_TRACING` of `include/uapi/linux/bpf.h`.
const TRACING: &str = "26";
/// `BPF_PROG_TYPE_TRACEPOINT`.
const TRACEPOINT: &str = "5";
/// `BPF_PROG_TYPE_CGROUP_SKB`: it could drop packets; what it says of them is looked at.
const CGROUP_SKB: &str = "8";
const CGROUP_SECTION: &str = "cgroup/skb";

/// Helpers the programs may call, by number (`include/uapi/linux/bpf.h`): they read, and write to the agent's own maps, and to
/// whoever reads an iterator.
const HELPERS: &[(i32, &str)] = &[
    (1, "map_lookup_elem"),
    (2, "map_update_elem"),
    (3, "map_delete_elem"),
    (14, "get_current_pid_tgid"),
    (15, "get_current_uid_gid"),
    (16, "get_current_comm"),
    (26, "skb_load_bytes"),
    (46, "get_socket_cookie"),
    (79, "skb_cgroup_id"),
    (80, "get_current_cgroup_id"),
    (95, "sk_fullsock"),
    (112, "probe_read_user"),
    (113, "probe_read_kernel"),
    (115, "probe_read_kernel_str"),
    (118, "jiffies64"),
    (125, "ktime_get_boot_ns"),
    (127, "seq_write"),
    (130, "ringbuf_output"),
    (131, "ringbuf_reserve"),
    (132, "ringbuf_submit"),
    (133, "ringbuf_discard"),
    (134, "ringbuf_query"),
    (137, "skc_to_tcp_sock"),
    (158, "get_current_task_btf"),
    (162, "sock_from_file"),
];

/// What the kernel says of every BPF descriptor of this process while the agent is attached.
pub(crate) fn programs_are_attached() -> Result<()> {
    check_attached(&settings(None), TRACING)?;
    check_attached(&classic::without_btf(None), TRACEPOINT)
}

fn check_attached(settings: &ProbeSettings, kind: &str) -> Result<()> {
    let before = descriptors()?;
    let tap = Tap::attach(settings)?;
    let all = descriptors()?;
    let ours: Vec<_> = all.iter().filter(|info| !before.contains(info)).collect();
    let programs = kinds(&ours, "prog_type", "prog_id");
    let features = tap.probes.features.iter();
    let expected: HashSet<_> = features
        .flat_map(|feature| feature.programs.iter().map(|program| program.program))
        .collect();
    let expected = expected.len();
    assert_eq!(programs.len(), expected, "each program once");
    let is_ours = |found: &&str| *found == kind || (kind == TRACING && *found == CGROUP_SKB);
    assert!(programs.iter().all(is_ours), "{programs:?}");
    let links = kinds(&ours, "link_type", "link_id");
    // Before 5.15 a classic tracepoint has none: the program hangs on a perf event.
    let linkless = kind == TRACEPOINT && links.is_empty();
    ensure!(
        linkless || links.len() == expected,
        "one link for each program: {links:?}"
    );
    let harmless = ["raw_tracepoint", "tracing", "perf", "iter", "cgroup"];
    assert!(
        links.iter().all(|kind| harmless.contains(kind)),
        "{links:?}"
    );
    drop(tap);
    let left: Vec<_> = descriptors()?
        .into_iter()
        .filter(|info| !before.contains(info))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The kind of each object, by however many descriptors it is held.
fn kinds<'a>(infos: &[&'a String], kind: &str, id: &str) -> Vec<&'a str> {
    let found = infos
        .iter()
        .filter_map(|info| Some((value(info, id)?, value(info, kind)?)));
    let distinct: BTreeSet<_> = found.collect();
    distinct.into_iter().map(|(_, kind)| kind).collect()
}

/// `/proc/self/fdinfo` of BPF programs and links.
fn descriptors() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // The directory's own descriptor is gone by the time it is read.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if text.contains("prog_type:") || text.contains("link_type:") {
            found.push(text);
        }
    }
    Ok(found)
}

fn value<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| *name == key)?;
    Some(value.trim())
}

/// What the object holds, attached or not.
pub(crate) fn helpers_in_the_object() -> Result<()> {
    let object = embedded_object();
    let mut sections = BTreeSet::new();
    let mut helpers = BTreeSet::new();
    for (name, code) in code_sections(object)? {
        sections.insert(name);
        helpers.extend(calls(code));
        if name == CGROUP_SECTION {
            always_allows(code)?;
        }
    }
    assert!(!sections.is_empty());
    for section in &sections {
        let is_ours = ["tp_btf", "iter", "tracepoint", CGROUP_SECTION]
            .iter()
            .any(|kind| section.starts_with(kind))
            || *section == ".text";
        assert!(is_ours, "a program of another kind: {section}");
    }
    let known: BTreeSet<i32> = HELPERS.iter().map(|(number, _)| *number).collect();
    let unknown: Vec<_> = helpers.difference(&known).collect();
    assert!(unknown.is_empty(), "calls of other helpers: {unknown:?}");
    Ok(())
}

/// Fails if programs ever return anything but 1, by which a packet passes.
fn always_allows(code: &[u8]) -> Result<()> {
    // `exit`, and `r0 = 1` in either width (`BPF_ALU64 | BPF_MOV | BPF_K`, `BPF_ALU`).
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    const ALLOWS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0xb4, 0, 0, 0, 1, 0, 0, 0]];
    let instructions: Vec<&[u8]> = code.chunks_exact(8).collect();
    let exits = instructions.windows(2).filter(|pair| pair[1] == EXIT);
    let results: Vec<_> = exits.map(|pair| pair[0]).collect();
    ensure!(!results.is_empty(), "the programs do not end");
    for result in results {
        let allows = ALLOWS.iter().any(|allows| result == allows);
        ensure!(allows, "before the end: {result:02x?}");
    }
    Ok(())
}

/// Numbers of the helpers that code calls: `BPF_JMP | BPF_CALL` with no pseudo source.
fn calls(code: &[u8]) -> impl Iterator<Item = i32> {
    code.chunks_exact(8).filter_map(|instruction| {
        let [0x85, registers, _, _, number @ ..] = instruction else {
            return None;
        };
        let number: [u8; 4] = number.try_into().ok()?;
        (registers >> 4 == 0).then(|| i32::from_le_bytes(number))
    })
}

/// Names and contents of the sections with instructions (`elf(5)`).
fn code_sections(object: &[u8]) -> Result<Vec<(&str, &[u8])>> {
    const EXECUTABLE: u64 = 4;
    let half = |at: usize| -> Result<usize> {
        let bytes = object.get(at..at + 2).context("a whole file")?;
        Ok(usize::from(u16::from_le_bytes(bytes.try_into()?)))
    };
    let (table, size, count, names) = (
        usize::try_from(long(object, 40)?)?,
        half(58)?,
        half(60)?,
        half(62)?,
    );
    let section = |number: usize| -> Result<(usize, u64, &[u8])> {
        let header = object.get(table + number * size..).context("a header")?;
        let name = header.get(..4).context("a name")?;
        let start = usize::try_from(long(header, 24)?)?;
        let length = usize::try_from(long(header, 32)?)?;
        // A section without bits in the file may claim any place.
        let contents = object.get(start..start + length).unwrap_or_default();
        let name = usize::try_from(u32::from_le_bytes(name.try_into()?))?;
        Ok((name, long(header, 8)?, contents))
    };
    let (_, _, names) = section(names)?;
    let mut found = Vec::new();
    for number in 0..count {
        let (name, flags, contents) = section(number)?;
        if flags & EXECUTABLE != 0 && !contents.is_empty() {
            let name = names.get(name..).context("a name")?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            found.push((str::from_utf8(name)?, contents));
        }
    }
    Ok(found)
}

fn long(bytes: &[u8], at: usize) -> Result<u64> {
    let word = bytes.get(at..at + 8).context("a whole file")?;
    Ok(u64::from_le_bytes(word.try_into()?))
}
