//! What a process used, as far as it was told: the kernel tells totals, over and over.

use wellhead_common::record::Usage;

/// What came on top of what was told before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// Time on a processor in user mode, nanoseconds.
    pub user_ns: u64,
    /// Likewise in the kernel.
    pub system_ns: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub write_bytes: u64,
    /// Memory it has, bytes: more or less.
    pub resident_bytes: i64,
    /// Whether it has any, or had when that was told before.
    pub has_memory: bool,
}

/// What was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Whether it is known what it used before it was told of.
    is_known: bool,
    user_ns: u64,
    system_ns: u64,
    read_bytes: u64,
    write_bytes: u64,
    resident_bytes: u64,
}

impl Used {
    /// Of a process that is just made.
    pub(super) fn nothing() -> Self {
        Self {
            is_known: true,
            ..Self::default()
        }
    }

    /// Of a process that was there already: what it used until it is told of first is nobody's.
    pub(super) fn unknown() -> Self {
        Self::default()
    }

    /// What is new of these totals.
    pub(super) fn grow(&mut self, usage: &Usage, resident_bytes: u64) -> Grown {
        let before = std::mem::replace(self, self.with(usage, resident_bytes));
        let memory = i64::try_from(resident_bytes).unwrap_or(i64::MAX)
            - i64::try_from(before.resident_bytes).unwrap_or(i64::MAX);
        let has_memory = resident_bytes > 0 || before.resident_bytes > 0;
        if !before.is_known {
            return Grown {
                resident_bytes: memory,
                has_memory,
                ..Grown::default()
            };
        }
        Grown {
            user_ns: self.user_ns - before.user_ns,
            system_ns: self.system_ns - before.system_ns,
            read_bytes: self.read_bytes - before.read_bytes,
            write_bytes: self.write_bytes - before.write_bytes,
            resident_bytes: memory,
            has_memory,
        }
    }

    /// What it has now is told anew. Returns what was told.
    pub(super) fn forget_memory(&mut self) -> u64 {
        std::mem::take(&mut self.resident_bytes)
    }

    fn with(&self, usage: &Usage, resident_bytes: u64) -> Self {
        let (user_ns, system_ns) = self.split(usage);
        Self {
            is_known: true,
            user_ns,
            system_ns,
            // What is told late may be of an earlier time.
            read_bytes: usage.read_bytes.max(self.read_bytes),
            write_bytes: usage.write_bytes.max(self.write_bytes),
            resident_bytes,
        }
    }

    /// Time in user mode and in the kernel: their sum as the scheduler has it, in the proportion that ticks have, and neither
    /// ever less than before. As the kernel tells it itself (`cputime_adjust`, kernel/sched/cputime.c).
    fn split(&self, usage: &Usage) -> (u64, u64) {
        let sum = usage.runtime_ns.max(self.user_ns + self.system_ns);
        let ticks = u128::from(usage.user_ns) + u128::from(usage.system_ns);
        let system = (u128::from(sum) * u128::from(usage.system_ns)).checked_div(ticks);
        let system = u64::try_from(system.unwrap_or(0)).unwrap_or(sum);
        let system = system.clamp(self.system_ns, sum - self.user_ns);
        (sum - system, system)
    }
}

/// What a process used in all, with its time split as metrics have it.
pub fn processor_time(usage: &Usage) -> (u64, u64) {
    Used::nothing().split(usage)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(runtime_ns: u64, user_ns: u64, system_ns: u64) -> Usage {
        Usage {
            runtime_ns,
            user_ns,
            system_ns,
            ..Usage::default()
        }
    }

    #[test]
    fn time_is_split_as_ticks_say() {
        let check = |runtime, user, system, expected| {
            assert_eq!(processor_time(&usage(runtime, user, system)), expected);
        };
        check(100, 0, 0, (100, 0));
        check(100, 8, 0, (100, 0));
        check(100, 0, 8, (0, 100));
        check(100, 12, 4, (75, 25));
        check(0, 4, 4, (0, 0));
        check(
            u64::MAX,
            u64::MAX,
            u64::MAX,
            (u64::MAX / 2 + 1, u64::MAX / 2),
        );
    }

    #[test]
    fn what_was_used_before_is_nobodys() {
        let mut used = Used::unknown();
        let first = used.grow(&usage(1_000, 1, 0), 4_096);
        assert_eq!((first.user_ns, first.resident_bytes), (0, 4_096));
        let second = used.grow(&usage(1_500, 2, 0), 0);
        assert_eq!((second.user_ns, second.resident_bytes), (500, -4_096));
    }

    proptest! {
        #[test]
        fn sums_are_right_whatever_is_told(told in proptest::collection::vec((0_u64..1 << 40, any::<u32>(), any::<u32>()), 1..20)) {
            let mut used = Used::nothing();
            let (mut sum, mut most) = (0, 0);
            for (runtime, user, system) in told {
                let grown = used.grow(&usage(runtime, user.into(), system.into()), 0);
                sum += grown.user_ns + grown.system_ns;
                most = most.max(runtime);
                prop_assert_eq!(sum, most);
            }
        }
    }
}
