//! Lists of domains to search (resolv.conf(5), `search`): who asks for `db` in a Kubernetes pod asks for `db.default.svc.cluster.local`,
//! `db.svc.cluster.local`, `db.cluster.local` and `db`, one after the other, until one exists.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::super::super::Packet;
use super::super::super::message::Question;
use super::super::{Lookup, TIMEOUT_NS, is_over};
use super::Subject;
use crate::aged_map::AgedMap;

/// Response code of a name that does not exist (RFC 1035, 4.1.1).
const NXDOMAIN: u16 = 3;

#[derive(Debug)]
struct Missing {
    name: Arc<str>,
    boot_ns: u64,
    /// Octets at the beginning of the name that the search keeps, once two of its names are known.
    kept: Option<usize>,
}

/// The last name that was found not to exist, by its first label and who asked: that much all names of a search have in common.
#[derive(Debug)]
pub(super) struct Searches {
    missing: AgedMap<Subject, Missing>,
}

impl Searches {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            missing: AgedMap::new(capacity),
        }
    }

    /// Something is asked. Whether it is so as the next step of a search.
    pub(super) fn asked(
        &mut self,
        packet: &Packet<'_>,
        question: Question<&str>,
        hasher: &RandomState,
    ) -> bool {
        let subject = subject(packet.cgroup_id, question, hasher);
        let Some(missing) = self.missing.get_mut(&subject) else {
            return false;
        };
        if is_over(missing.boot_ns, TIMEOUT_NS, packet.boot_ns) {
            return false;
        }
        let is_kept = |kept: &usize| {
            *missing.name != *question.name && common_labels(&missing.name, question.name) >= *kept
        };
        let known = missing.kept.filter(is_kept);
        let kept = kept_by_search(&missing.name, question.name).or(known);
        missing.kept = kept.or(missing.kept);
        kept.is_some()
    }

    /// A look-up was answered.
    pub(super) fn answered(
        &mut self,
        lookup: &Lookup,
        rcode: u16,
        now_ns: u64,
        hasher: &RandomState,
    ) {
        if rcode != NXDOMAIN {
            return;
        }
        let question = lookup.question.borrowed();
        let subject = subject(lookup.cgroup_id, question, hasher);
        let before = self.missing.remove(&subject);
        let kept = before.and_then(|before| {
            let common = common_labels(&before.name, question.name);
            before.kept.filter(|kept| common >= *kept)
        });
        let missing = Missing {
            name: Arc::clone(&lookup.question.name),
            boot_ns: now_ns,
            kept,
        };
        let _oldest = self.missing.insert(subject, missing);
    }

    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_old = |missing: &Missing| is_over(missing.boot_ns, TIMEOUT_NS, now_ns);
        while self.missing.pop_oldest_if(is_old).is_some() {}
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.missing.len()
    }
}

fn subject(cgroup_id: u64, question: Question<&str>, hasher: &RandomState) -> Subject {
    let first_label = question.name.split('.').next();
    Subject {
        cgroup_id,
        hash: hasher.hash_one((first_label, question.kind, question.class)),
    }
}

/// How much of the beginning of a name is kept, if a search that did not find it may go on with this other one.
///
/// That is so if the other is the name without a domain behind it, or with one where it had none; or if labels in the middle were
/// left out, since each domain of Kubernetes' list is the end of the one before. Domains that have nothing in common, as those
/// of a cloud's network at the end of the list, are recognised by what the steps before kept.
fn kept_by_search(missing: &str, next: &str) -> Option<usize> {
    if missing == next {
        return None;
    }
    let kept = common_labels(missing, next);
    let (domain, next_domain) = (missing.get(kept..)?, next.get(kept..)?);
    // Each is empty or begins with a dot, so that one ends with the other in whole labels.
    (kept > 0 && (domain.is_empty() || domain.ends_with(next_domain))).then_some(kept)
}

/// Octets that two names have in common at the beginning, in whole labels.
fn common_labels(one: &str, other: &str) -> usize {
    let labels = one.split('.').zip(other.split('.'));
    let common = labels.take_while(|(one, other)| one == other);
    let octets: usize = common.map(|(label, _)| label.len() + 1).sum();
    octets.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_keeps_the_beginning() {
        let check = |missing: &str, next: &str, kept: Option<&str>| {
            let found = kept_by_search(missing, next);
            assert_eq!(found.map(|kept| &next[..kept]), kept, "{missing} -> {next}");
        };
        check(
            "db.default.svc.cluster.local",
            "db.svc.cluster.local",
            Some("db"),
        );
        check("db.svc.cluster.local", "db.cluster.local", Some("db"));
        check("db.cluster.local", "db", Some("db"));
        check("db", "db.cluster.local", Some("db"));
        check("a.b.c.x.y", "a.b.c.y", Some("a.b.c"));
        check("a.b.b.c", "a.b.c", Some("a.b"));
        check(
            "api.example.org.svc.local",
            "api.example.org",
            Some("api.example.org"),
        );
        // Not a search, or not recognised as one.
        check("db", "db", None);
        check("db", "dbs", None);
        check("dbs", "db", None);
        check("db.local", "pg.local", None);
        check("api.example.com", "api.example.org", None);
        check("api.example", "api.ample", None);
        check(
            "1.2.0.192.zen.example.org",
            "1.2.0.192.list.example.net",
            None,
        );
        check(".", "com", None);
    }
}
