//! What the kernel calls the reasons for which it drops packets.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use super::btf::Btf;

/// The enumeration that has them, and how each begins (`include/net/dropreason-core.h`).
const REASONS: &str = "skb_drop_reason";
const PREFIX: &str = "SKB_DROP_REASON_";

/// Those of a subsystem have its number in their upper half (`SKB_DROP_REASON_SUBSYS_SHIFT`).
const OF_SUBSYSTEM: u32 = 16;

const UNKNOWN: &str = "_OTHER";

/// Names of reasons, and of places in the kernel where it tells no reasons.
#[derive(Clone, Debug, Default)]
pub(super) struct DropReasons {
    names: HashMap<u32, Arc<str>>,
    /// Functions by the addresses in them that were asked for.
    places: HashMap<u64, Arc<str>>,
}

impl DropReasons {
    pub(super) fn of(btf: &Btf) -> Self {
        let values = btf.enumeration(REASONS).into_iter();
        let names = values.map(|(name, value)| {
            let name = name.strip_prefix(PREFIX).unwrap_or(&name);
            (value, Arc::from(name))
        });
        Self {
            names: names.collect(),
            places: HashMap::new(),
        }
    }

    /// The number of the reason of this name, if the kernel has it.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let mut all = self.names.iter();
        all.find(|(_, known)| &***known == name)
            .map(|(number, _)| *number)
    }

    /// Why a packet was dropped: for a reason, or where the kernel tells none (before 5.17), at a place in it.
    pub(super) fn name(&mut self, location: u64, reason: u32) -> Arc<str> {
        if location != 0 {
            let place = self.places.entry(location);
            return Arc::clone(place.or_insert_with(|| function_at(location)));
        }
        match self.names.get(&reason) {
            Some(name) => Arc::clone(name),
            None if reason >> OF_SUBSYSTEM != 0 => {
                format!("SUBSYS_{}", reason >> OF_SUBSYSTEM).into()
            }
            None => UNKNOWN.into(),
        }
    }
}

/// The kernel's function an address is in. They are hidden from whoever may not know them (`kernel.kptr_restrict`).
fn function_at(address: u64) -> Arc<str> {
    let Ok(file) = File::open("/proc/kallsyms") else {
        return UNKNOWN.into();
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    nearest(lines, address).map_or_else(|| UNKNOWN.into(), Arc::from)
}

/// Lines such as `ffffffff81000000 T _text`, in any order.
fn nearest(lines: impl Iterator<Item = String>, address: u64) -> Option<String> {
    let mut best: Option<(u64, String)> = None;
    for line in lines {
        let mut fields = line.split_whitespace();
        let (Some(start), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Ok(start) = u64::from_str_radix(start, 16) else {
            continue;
        };
        let is_code = kind.eq_ignore_ascii_case("t") && start != 0 && start <= address;
        if is_code && best.as_ref().is_none_or(|(nearest, _)| start > *nearest) {
            best = Some((start, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let text = "0000000000001000 T first\n0000000000002000 t second\n0000000000001800 d data\ngarbage\n";
        let of = |address| nearest(text.lines().map(str::to_owned), address);
        assert_eq!(of(0x1fff).as_deref(), Some("first"));
        assert_eq!(of(0x2000).as_deref(), Some("second"));
        assert_eq!(of(0xfff), None);
        let hidden = "0000000000000000 T first\n".lines().map(str::to_owned);
        assert_eq!(nearest(hidden, 0x2000), None);
    }

    #[test]
    fn reasons_have_their_names_and_others_are_told_apart() {
        let mut reasons = DropReasons {
            names: HashMap::from([(2, Arc::from("NOT_SPECIFIED"))]),
            places: HashMap::new(),
        };
        let mut of = |reason| reasons.name(0, reason).to_string();
        assert_eq!(of(2), "NOT_SPECIFIED");
        assert_eq!(of(3), "_OTHER");
        assert_eq!(of(0x1_0002), "SUBSYS_1");
    }
}
