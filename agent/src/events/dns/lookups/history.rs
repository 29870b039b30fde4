//! What was asked and answered a moment ago, which tells why something is asked now.

mod search;

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::super::message::Question;
use super::super::{Packet, Transport};
use super::{Lookup, LookupEnd, SECOND_NS, TIMEOUT_NS, is_over};
use crate::aged_map::AgedMap;

use self::search::Searches;

/// How long an unanswered question is remembered: those who wait five seconds ask again after that.
const MEMORY_NS: u64 = 2 * TIMEOUT_NS;

/// Who asks sooner than this on another socket, or another server, does not ask again but at the same time.
const AT_ONCE_NS: u64 = SECOND_NS / 4;

/// Why something is asked, as far as earlier look-ups tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) retry: u32,
    pub(super) after_truncation: bool,
    pub(super) is_search_retry: bool,
}

/// Who asks what. Texts are represented by their hash, seeded for each process: if two were the same, a query would at worst pass
/// for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject {
    cgroup_id: u64,
    hash: u64,
}

#[derive(Clone, Copy, Debug)]
struct LastAsked {
    /// When the latest round of asking began.
    round_ns: u64,
    retry: u32,
    is_unanswered: bool,
    /// When a truncated answer came.
    truncated_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct History {
    hasher: RandomState,
    questions: AgedMap<Subject, LastAsked>,
    searches: Searches,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            questions: AgedMap::new(capacity),
            searches: Searches::new(capacity),
        }
    }

    pub(super) fn hash(&self, question: Question<&str>) -> u64 {
        self.hasher.hash_one(question)
    }

    /// Something is asked. `repeated` is the retry number of a query that waits for the same answer from the same server on the
    /// same socket.
    pub(super) fn asked(
        &mut self,
        packet: &Packet<'_>,
        question: Question<&str>,
        repeated: Option<u32>,
    ) -> Asked {
        let now_ns = packet.boot_ns;
        let subject = Subject {
            cgroup_id: packet.cgroup_id,
            hash: self.hash(question),
        };
        let before = self.questions.get(&subject).copied();
        let truncated_ns = before
            .and_then(|before| before.truncated_ns)
            .filter(|truncated_ns| !is_over(*truncated_ns, TIMEOUT_NS, now_ns));
        let unanswered = before
            .filter(|before| before.is_unanswered && !is_over(before.round_ns, MEMORY_NS, now_ns));
        let (retry, round_ns) = match (repeated, unanswered) {
            (Some(earlier), _) => (earlier.saturating_add(1), now_ns),
            (None, Some(before)) if !is_over(before.round_ns, AT_ONCE_NS, now_ns) => {
                (before.retry, before.round_ns)
            }
            (None, Some(before)) => (before.retry.saturating_add(1), now_ns),
            (None, None) => (0, now_ns),
        };
        let latest = LastAsked {
            round_ns,
            retry,
            is_unanswered: true,
            truncated_ns,
        };
        let _oldest = self.questions.insert(subject, latest);
        Asked {
            retry,
            after_truncation: packet.transport == Transport::Tcp && truncated_ns.is_some(),
            is_search_retry: self.searches.asked(packet, question, &self.hasher),
        }
    }

    /// A look-up was answered.
    pub(super) fn answered(&mut self, lookup: &Lookup, now_ns: u64) {
        let LookupEnd::Answered {
            rcode,
            is_truncated,
        } = lookup.end
        else {
            return;
        };
        let subject = Subject {
            cgroup_id: lookup.cgroup_id,
            hash: self.hash(lookup.question.borrowed()),
        };
        if let Some(last) = self.questions.get_mut(&subject) {
            last.is_unanswered = false;
            if is_truncated && lookup.transport == Transport::Udp {
                last.truncated_ns = Some(now_ns);
            }
        }
        self.searches.answered(lookup, rcode, now_ns, &self.hasher);
    }

    /// Forgets what is too old to tell anything.
    pub(super) fn expire(&mut self, now_ns: u64) {
        // A truncated answer came at most the timeout after the question was asked.
        let is_old = |last: &LastAsked| is_over(last.round_ns, MEMORY_NS + TIMEOUT_NS, now_ns);
        while self.questions.pop_oldest_if(is_old).is_some() {}
        self.searches.expire(now_ns);
    }

    #[cfg(test)]
    pub(super) fn questions(&self) -> usize {
        self.questions.len()
    }

    #[cfg(test)]
    pub(super) fn searches(&self) -> usize {
        self.searches.len()
    }
}
