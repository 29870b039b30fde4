//! Offsets of the kernel structure fields the programs read, resolved in the running kernel's BTF.

use wellhead_common::{fields::ABSENT, kernel_fields};

use super::btf::Btf;

/// One row of the field table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Name of the `.rodata` global.
    pub(crate) global: &'static str,
    /// Width the programs load.
    width: u32,
    structure: &'static str,
    paths: &'static [&'static str],
}

macro_rules! declare_table {
    ($($name:ident: $width:literal, $structure:literal, [$($path:literal),+];)+) => {
        const FIELDS: &[Field] = &[
            $(Field { global: stringify!($name), width: $width, structure: $structure, paths: &[$($path),+] }),+
        ];
    };
}
kernel_fields!(declare_table);

/// The fields of the running kernel.
#[derive(Clone, Debug)]
pub(crate) struct Offsets {
    /// `.rodata` global and its value.
    pub(crate) globals: Vec<(&'static str, u32)>,
    /// Fields the kernel does not have, as `structure.path`.
    pub(crate) absent: Vec<String>,
}

impl Offsets {
    /// The names of all fields.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|field| field.global)
    }

    /// Looks every field up.
    pub(crate) fn resolve(btf: &Btf) -> Self {
        let mut absent = Vec::new();
        let globals = FIELDS
            .iter()
            .map(|field| {
                let found = field.paths.iter().find_map(|path| {
                    // A field of another width is another field: reading it would read beyond it or half of it.
                    btf.member(field.structure, path)
                        .filter(|member| field.width == 0 || member.width == field.width)
                });
                if found.is_none() {
                    absent.push(format!("{}.{}", field.structure, field.paths.join("|")));
                }
                (field.global, found.map_or(ABSENT, |member| member.offset))
            })
            .collect();
        Self { globals, absent }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::kernel::btf::VMLINUX;

    /// Needs no privilege, only a kernel with BTF.
    #[test]
    fn resolves_every_field_on_a_kernel_with_btf() {
        let Ok(btf) = Btf::parse(Path::new(VMLINUX)) else {
            eprintln!("SKIPPED: this kernel shows no BTF at {VMLINUX}");
            return;
        };
        let offsets = Offsets::resolve(&btf);
        // Of the two forms of a socket's cgroup, and of a process's pages, every kernel has one.
        let [pages, cgroup] = &*offsets.absent else {
            panic!("{:?}", offsets.absent);
        };
        assert!(cgroup.starts_with("sock.sk_cgrp_data."), "{cgroup}");
        assert!(pages.starts_with("mm_struct.rss_stat"), "{pages}");
        let of = |name| {
            offsets
                .globals
                .iter()
                .find(|(global, _)| *global == name)
                .expect("a row")
                .1
        };
        // The kernel's ABI of `struct sock_common`: the first words are hashed and never move.
        assert_eq!(of("SOCK_DADDR"), 0);
        assert_eq!(of("SOCK_RCV_SADDR"), 4);
        assert_eq!(of("SOCK_DPORT"), 12);
        assert_eq!(of("SOCK_NUM"), 14);
        assert_eq!(of("SOCK_FAMILY"), 16);
        assert_eq!(of("TASK_TGID"), of("TASK_PID") + 4);
    }

    #[test]
    fn finds_tracepoint_prototypes() {
        let Ok(btf) = Btf::parse(Path::new(VMLINUX)) else {
            eprintln!("SKIPPED: this kernel shows no BTF at {VMLINUX}");
            return;
        };
        assert_eq!(btf.tracepoint_arguments("inet_sock_set_state"), Some(3));
        assert_eq!(
            btf.argument_is_pointer("inet_sock_set_state", 0),
            Some(true)
        );
        assert_eq!(
            btf.argument_is_pointer("inet_sock_set_state", 1),
            Some(false)
        );
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
        assert_eq!(btf.member("task_struct", "no_such_field"), None);
        assert_eq!(btf.member("no_such_struct", "field"), None);
    }
}
