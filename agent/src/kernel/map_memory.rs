//! What the kernel says its maps take of memory.

use std::collections::BTreeMap;
use std::fs;

use aya::maps::MapType;

use super::bpf::field;

/// Bytes the kernel holds for the maps of this process, rings left out, whose pages are the process's as well. `None` where the
/// kernel does not say it of all of them.
pub fn map_memory() -> Option<u64> {
    let descriptors = fs::read_dir("/proc/self/fdinfo").ok()?;
    let texts = descriptors
        .flatten()
        // One may be closed meanwhile.
        .filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok());
    sum(texts)
}

fn sum(texts: impl Iterator<Item = String>) -> Option<u64> {
    // Several descriptors may be of one map.
    let maps: BTreeMap<u64, MapInfo> = texts.filter_map(|text| MapInfo::parse(&text)).collect();
    let others = maps
        .values()
        .filter(|map| map.kind != MapType::RingBuf as u64);
    let mut all = 0_u64;
    for map in others {
        all = all.saturating_add(map.bytes?);
    }
    (all > 0).then_some(all)
}

/// A map, as the `fdinfo` of its descriptors has it.
#[derive(Debug, PartialEq, Eq)]
struct MapInfo {
    kind: u64,
    /// `None` if the kernel does not say.
    bytes: Option<u64>,
}

impl MapInfo {
    /// Its id and the rest; `None` for whatever is no map.
    fn parse(text: &str) -> Option<(u64, Self)> {
        let number = |name: &str| field(text, name)?.parse::<u64>().ok();
        let kind = number("map_type")?;
        let bytes = number("memlock").filter(|bytes| *bytes > 0);
        Some((number("map_id")?, Self { kind, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(id: u64, kind: u64, memlock: &str) -> String {
        format!(
            "pos:\t0\nflags:\t02000002\nmap_type:\t{kind}\nkey_size:\t8\nmax_entries:\t4\n{memlock}map_id:\t{id}\nfrozen:\t0\n"
        )
    }

    #[test]
    fn each_map_once_and_no_rings() {
        let check = |texts: &[String], expected: Option<u64>| {
            assert_eq!(sum(texts.iter().cloned()), expected, "{texts:?}");
        };
        let hash = map(7, 1, "memlock:\t4096\n");
        let array = map(8, 2, "memlock:\t320\n");
        let ring = map(9, 27, "memlock:\t2117960\n");
        let file = "pos:\t0\nflags:\t0100002\nmnt_id:\t21\nino:\t5\n".to_owned();
        let silent = map(10, 1, "");
        let nothing = map(10, 1, "memlock:\t0\n");
        check(
            &[
                hash.clone(),
                ring.clone(),
                array.clone(),
                hash.clone(),
                file.clone(),
            ],
            Some(4_416),
        );
        check(&[ring.clone(), file], None);
        // Half of it would be worse than what is computed.
        check(&[hash.clone(), silent], None);
        check(&[hash, nothing], None);
    }

    proptest! {
        #[test]
        fn any_text_is_no_map_or_one(text in "((map_type|map_id|memlock|x):?[ \t]?[0-9]{0,21}\n){0,6}|\\PC*") {
            let is_map = MapInfo::parse(&text).is_some();
            prop_assert!(!is_map || (text.contains("map_type") && text.contains("map_id")));
        }
    }
}
