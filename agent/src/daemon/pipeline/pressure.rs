//! What the agent gives up, one after the other, when the memory it takes comes near its budget.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// What one series takes in a reading of all, and in the page or request that is made of it, bytes.
const READING: u64 = 1 << 10;

/// How often the process looks at what it takes, at most.
const LOOK: Duration = Duration::from_millis(10);

/// How long a step is kept up at least.
const PATIENCE: Duration = Duration::from_secs(10);

/// By how much of the budget, in per cent, less has to be taken than where a step began before it is taken back.
const SLACK: u64 = 5;

/// What is given up. Later steps are taken in addition to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Memory that was freed goes back to the system every second.
    Trim,
    /// Series that were idle for a minute end.
    Idle,
    /// No events and spans are made.
    Details,
    /// No new series are made.
    Series,
}

impl Step {
    /// In the order they are taken.
    pub(super) const ALL: [Self; 4] = [Self::Trim, Self::Idle, Self::Details, Self::Series];

    /// Its name in the log and in the documentation.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Idle => "idle",
            Self::Details => "details",
            Self::Series => "series",
        }
    }

    /// From how much of the budget on it is taken, in per cent.
    pub(super) const fn begins_at(self) -> u64 {
        match self {
            Self::Trim => 75,
            Self::Idle => 80,
            Self::Details => 85,
            Self::Series => 90,
        }
    }

    /// What it means.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Trim => "memory that was freed goes back to the system every second",
            Self::Idle => "series that were idle for a minute end",
            Self::Details => "no events and spans are made",
            Self::Series => "no new series are made",
        }
    }
}

/// A step that was just taken, or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Taken(Step),
    TakenBack(Step),
}

/// How near the process is to its budget.
#[derive(Debug)]
pub(super) struct Pressure {
    budget: u64,
    statm: Option<File>,
    looked: Instant,
    /// Steps taken.
    steps: usize,
    changed: Instant,
    resident: u64,
}

impl Pressure {
    /// None, of a process that may take so many bytes.
    pub(super) fn new(budget: u64) -> Self {
        let now = Instant::now();
        Self {
            budget,
            statm: File::open("/proc/self/statm").ok(),
            looked: now,
            steps: 0,
            changed: now,
            resident: 0,
        }
    }

    /// Looks at what the process takes, if it is time to, and says what changes. `series` are held.
    pub(super) fn look(&mut self, series: usize) -> Option<Change> {
        // Without a limit nothing can change.
        if self.budget == u64::MAX {
            return None;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.looked) < LOOK {
            return None;
        }
        self.looked = now;
        self.resident = self.measure()?;
        let taken = self.resident.saturating_add(series as u64 * READING);
        self.judge(taken, now)
    }

    /// Bytes of the process in memory, when it looked last.
    pub(super) fn resident(&self) -> u64 {
        self.resident
    }

    /// The same, now; `None` if that cannot be read.
    pub(super) fn measure(&self) -> Option<u64> {
        self.statm.as_ref().and_then(resident)
    }

    /// Whether this is given up now.
    pub(super) fn gives_up(&self, step: Step) -> bool {
        (step as usize) < self.steps
    }

    /// Steps taken.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// One step at a time: the one before may be enough.
    fn judge(&mut self, taken: u64, now: Instant) -> Option<Change> {
        let part = |per_cent: u64| self.budget / 100 * per_cent;
        let next = Step::ALL.get(self.steps).copied();
        if let Some(step) = next.filter(|step| taken >= part(step.begins_at())) {
            self.steps += 1;
            self.changed = now;
            return Some(Change::Taken(step));
        }
        let last = Step::ALL.get(self.steps.checked_sub(1)?).copied()?;
        let enough = taken < part(last.begins_at() - SLACK);
        if !enough || now.saturating_duration_since(self.changed) < PATIENCE {
            return None;
        }
        self.steps -= 1;
        self.changed = now;
        Some(Change::TakenBack(last))
    }
}

/// The process's pages in memory, bytes.
fn resident(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn steps_are_taken_in_order_and_taken_back_in_the_other() {
        let mut pressure = Pressure::new(1_000);
        let start = pressure.changed;
        let mut check = |seconds: u64, taken: u64, expected: Option<Change>| {
            let change = pressure.judge(taken, at(start, seconds));
            assert_eq!(change, expected, "{taken} after {seconds} s");
        };
        check(20, 749, None);
        check(20, 750, Some(Change::Taken(Step::Trim)));
        check(20, 799, None);
        // However fast it grows, each has its chance.
        check(21, 990, Some(Change::Taken(Step::Idle)));
        check(21, 990, Some(Change::Taken(Step::Details)));
        check(21, 990, Some(Change::Taken(Step::Series)));
        check(21, 990, None);
        check(30, 100, None);
        check(31, 850, None);
        check(31, 849, Some(Change::TakenBack(Step::Series)));
        check(40, 100, None);
        check(41, 100, Some(Change::TakenBack(Step::Details)));
        check(42, 850, Some(Change::Taken(Step::Details)));
        check(52, 700, Some(Change::TakenBack(Step::Details)));
        check(62, 700, Some(Change::TakenBack(Step::Idle)));
        check(72, 700, None);
        check(72, 699, Some(Change::TakenBack(Step::Trim)));
        check(99, 0, None);
    }

    #[test]
    fn a_process_knows_what_it_takes() {
        for (budget, looks) in [(u64::MAX - 1, true), (u64::MAX, false)] {
            let mut pressure = Pressure::new(budget);
            pressure.looked = Instant::now().checked_sub(LOOK).unwrap();
            assert_eq!(pressure.look(0), None);
            assert_eq!(pressure.resident() > 1 << 20, looks);
        }
        let mut pressure = Pressure::new(100);
        pressure.looked = Instant::now().checked_sub(LOOK).unwrap();
        assert_eq!(pressure.look(0), Some(Change::Taken(Step::Trim)));
        assert!(pressure.gives_up(Step::Trim) && !pressure.gives_up(Step::Idle));
    }

    #[test]
    fn the_documentation_has_every_step() {
        let documentation = include_str!("../../../../docs/operations.md");
        for step in Step::ALL {
            let row = format!(
                "| `{}` | {} % | {} |",
                step.as_str(),
                step.begins_at(),
                step.says()
            );
            assert!(documentation.contains(&row), "{row}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_up_never_skips_a_step(taken in prop::collection::vec(0_u64..1_200, 0..60)) {
            let mut pressure = Pressure::new(1_000);
            let start = pressure.changed;
            for (second, taken) in (0..).zip(taken) {
                let before = pressure.steps();
                let change = pressure.judge(taken, at(start, 4 * second));
                prop_assert_eq!(change.is_some(), before != pressure.steps());
                prop_assert!(before.abs_diff(pressure.steps()) <= 1);
                let given_up = Step::ALL.map(|step| pressure.gives_up(step));
                prop_assert!(given_up.is_sorted_by(|a, b| a >= b));
            }
        }
    }
}
