//! Restarts and loops, scripted.

use super::*;

const MINUTE: u64 = 60 * SECOND;

fn which(name: &str) -> Which {
    Which::OfPod {
        uid: "uid".into(),
        name: name.into(),
    }
}

struct Fixture(Histories);

impl Fixture {
    fn new() -> Self {
        Self(Histories::new(8, Arc::default()))
    }

    fn ran(&mut self, from: u64, to: u64, status: ExitStatus) -> Option<CrashLoop> {
        self.0.started(&which("app"), from);
        self.0.ended(&which("app"), end(to, to - from, status))
    }

    fn crash(&mut self, at: u64) -> Option<CrashLoop> {
        self.ran(at - SECOND, at, ExitStatus::Code(1))
    }

    fn says(&mut self, is_loop: bool, running_since: Option<u64>, now: u64) -> Option<CrashLoop> {
        self.0.status(&which("app"), (is_loop, running_since), now)
    }
}

fn end(at: u64, ran: u64, status: ExitStatus) -> End {
    End {
        at,
        status: Some(status),
        oom_killed: false,
        ran_ns: Some(ran),
    }
}

#[test]
fn a_start_says_what_came_before() {
    let mut all = Fixture::new();
    let first = all.0.started(&which("app"), 5);
    assert_eq!(first, Before::default());
    let ended = end(10, 5, ExitStatus::Signal(9));
    all.0.ended(&which("app"), ended);
    assert_eq!(all.0.started(&which("other"), 12), Before::default());
    let again = Before {
        end: Some(ended),
        downtime_ns: Some(20),
        restarts: 1,
    };
    assert_eq!(all.0.started(&which("app"), 30), again);
    assert_eq!(all.0.started(&which("app"), 40).restarts, 2);
}

#[test]
fn three_bad_ends_are_a_loop_that_is_told_once() {
    let mut all = Fixture::new();
    assert_eq!(all.crash(MINUTE), None);
    assert_eq!(
        all.ran(MINUTE + 1, 2 * MINUTE, ExitStatus::Signal(11)),
        None
    );
    // Neither ends well nor makes it worse.
    assert_eq!(all.ran(2 * MINUTE, 3 * MINUTE, ExitStatus::Code(0)), None);
    let last = End {
        oom_killed: true,
        ..end(4 * MINUTE, 30 * SECOND, ExitStatus::Code(0))
    };
    let found = all.0.ended(&which("app"), last);
    let expected = CrashLoop {
        source: LoopSource::Observed,
        bad_ends: 3,
        last: Some(last),
    };
    assert_eq!(found, Some(expected));
    for minute in 5..40 {
        assert_eq!(all.crash(minute * MINUTE), None, "{minute}");
    }
    assert_eq!(all.says(true, None, 40 * MINUTE), None);
}

#[test]
fn bad_ends_far_apart_are_no_loop() {
    let mut all = Fixture::new();
    for number in 1..20 {
        assert_eq!(all.crash(number * 5 * MINUTE), None, "{number}");
    }
}

#[test]
fn ends_nobody_knows_of_are_not_bad() {
    let mut all = Fixture::new();
    for at in 1..9 {
        let unknown = End {
            status: None,
            ..end(at * SECOND, 1, ExitStatus::Unknown)
        };
        assert_eq!(all.0.ended(&which("app"), unknown), None);
        assert_eq!(all.ran(at * SECOND, at * SECOND, ExitStatus::Unknown), None);
    }
}

#[test]
fn the_status_tells_of_a_loop_once() {
    let mut all = Fixture::new();
    all.crash(MINUTE);
    let found = all.says(true, None, 2 * MINUTE).expect("a loop");
    let last = end(MINUTE, SECOND, ExitStatus::Code(1));
    let known = (found.source, found.bad_ends, found.last);
    assert_eq!(known, (LoopSource::Status, 1, Some(last)));
    // It waits, runs for a moment, and so on.
    for minute in 3..60 {
        let runs = minute % 6 == 0;
        let since = runs.then_some(minute * MINUTE);
        assert_eq!(all.says(!runs, since, minute * MINUTE), None, "{minute}");
    }
}

#[test]
fn a_loop_is_told_again_after_ten_good_minutes() {
    let mut all = Fixture::new();
    let mut loops = |at: u64, expected: usize| {
        let told: Vec<_> = (0..6)
            .filter_map(|number| all.crash(at + number * 10 * SECOND))
            .collect();
        assert_eq!(told.len(), expected, "{at}");
    };
    loops(MINUTE, 1);
    // Nine minutes later it goes on.
    loops(11 * MINUTE - 10 * SECOND, 0);
    // Nothing told of it for ten.
    loops(25 * MINUTE, 1);
    // It ran for ten.
    assert_eq!(all.ran(27 * MINUTE, 38 * MINUTE, ExitStatus::Code(1)), None);
    assert_eq!(all.crash(39 * MINUTE), None);
    let again = all.crash(40 * MINUTE).expect("a loop");
    // That which ended the long run is the first of them.
    assert_eq!(again.bad_ends, 3);
}

#[test]
fn a_run_of_ten_minutes_ends_a_loop_of_the_status() {
    let mut all = Fixture::new();
    assert!(all.says(true, None, MINUTE).is_some());
    assert_eq!(all.says(false, Some(2 * MINUTE), 2 * MINUTE), None);
    assert_eq!(all.says(true, None, 11 * MINUTE), None);
    assert_eq!(all.says(false, Some(12 * MINUTE), 12 * MINUTE), None);
    assert_eq!(all.says(false, Some(12 * MINUTE), 22 * MINUTE), None);
    assert!(all.says(true, None, 23 * MINUTE).is_some());
    // As long as it says so, it is not over.
    assert_eq!(all.says(true, None, 50 * MINUTE), None);
}

#[test]
fn nothing_is_kept_of_containers_that_do_not_end() {
    let mut all = Fixture::new();
    all.0.started(&which("app"), 1);
    all.says(false, Some(1), 2);
    assert_eq!(all.0.known.len(), 0);
}

#[test]
fn they_are_forgotten() {
    let counters = Arc::new(Counters::default());
    let mut all = Histories::new(2, Arc::clone(&counters));
    let ended = |at| end(at, 1, ExitStatus::Code(0));
    for (name, at) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
        all.ended(&which(name), ended(at));
    }
    // The one of which nothing was heard for longest.
    assert_eq!(counters.discards(Discard::IdentityTableFull), 1);
    assert_eq!(all.started(&which("b"), 5).end, None);
    all.expire(3 + MEMORY_NS);
    assert_eq!(all.started(&which("a"), 6).end, None);
    assert_eq!(all.started(&which("c"), 6).end, Some(ended(4)));

    all.ended(&Which::Alone("uid".into()), ended(7));
    all.pod_gone("uid");
    assert_eq!(all.known.len(), 1);
}
