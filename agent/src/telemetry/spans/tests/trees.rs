//! Whatever processes do: every span's parent is exported too, or it has none.

use std::collections::{HashMap, HashSet};

use proptest::{collection::vec, prelude::*};

use super::rig::Rig;
use crate::events::ExitStatus;

#[derive(Clone, Debug)]
enum Step {
    /// A new process of one of those that are alive.
    Fork(usize),
    Exec(usize),
    Exit(usize, bool),
    /// The kernel lets go of one that ended.
    Tell(usize),
    Reset(usize),
    /// The wall clock is set.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let one = || any::<usize>();
    prop_oneof![
        4 => one().prop_map(Step::Fork),
        3 => one().prop_map(Step::Exec),
        2 => (one(), prop::bool::weighted(0.3)).prop_map(|(one, fails)| Step::Exit(one, fails)),
        2 => one().prop_map(Step::Tell),
        1 => one().prop_map(Step::Reset),
        1 => (-2_000_000_000_000..2_000_000_000_000_i64).prop_map(Step::Clock),
    ]
}

/// Does all that, and then everybody ends in some order.
fn run(rig: &mut Rig, steps: &[Step]) {
    let mut alive = vec![10_u32];
    let mut next = 11;
    rig.run(10, 1);
    let pick = |alive: &[u32], one: usize| (!alive.is_empty()).then(|| one % alive.len());
    for step in steps {
        match *step {
            Step::Fork(one) => {
                let parent = pick(&alive, one).map_or(1, |one| alive[one]);
                rig.fork(next, parent);
                alive.push(next);
                next += 1;
            }
            Step::Exec(one) => {
                if let Some(one) = pick(&alive, one) {
                    rig.exec(alive[one]);
                }
            }
            Step::Exit(one, fails) => {
                if let Some(one) = pick(&alive, one) {
                    rig.exit(alive.remove(one), ExitStatus::Code(u8::from(fails)));
                }
            }
            Step::Tell(one) => {
                if rig.departing() > 0 {
                    rig.tell(one % rig.departing());
                }
            }
            Step::Reset(one) => {
                if let Some(one) = pick(&alive, one) {
                    rig.reset(alive[one]);
                }
            }
            Step::Clock(by) => rig.offset = rig.offset.saturating_add_signed(by),
        }
    }
    // The youngest first or last, as it comes.
    while let Some(one) = pick(&alive, steps.len()) {
        rig.exit(alive.remove(one), ExitStatus::Code(0));
    }
    rig.tell_all();
}

/// What holds for all spans together.
fn check(rig: &Rig) -> Result<(), TestCaseError> {
    let by_id: HashMap<_, _> = rig.spans.iter().map(|span| (span.span_id, span)).collect();
    prop_assert_eq!(by_id.len(), rig.spans.len(), "ids are unique");
    for span in &rig.spans {
        prop_assert!(span.start_unix_nano <= span.end_unix_nano, "{:?}", span);
        let Some(parent) = span.parent_span_id else {
            continue;
        };
        let parent = by_id.get(&parent);
        prop_assert!(parent.is_some(), "{:?} has no parent", span);
        let same = parent.is_some_and(|parent| parent.trace_id == span.trace_id);
        prop_assert!(same, "{:?} is in another trace", span);
    }
    // No span is above itself.
    for span in &rig.spans {
        let mut seen = HashSet::new();
        let mut next = Some(span.span_id);
        while let Some(id) = next {
            prop_assert!(seen.insert(id), "a circle");
            next = by_id.get(&id).and_then(|span| span.parent_span_id);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn trees_are_complete(
        steps in vec(step(), 0..120),
        ratio in prop_oneof![Just(0.0), Just(0.5), Just(1.0)],
    ) {
        let mut rig = Rig::new(ratio, 60);
        run(&mut rig, &steps);
        check(&rig)?;
        prop_assert!(ratio < 1.0 || rig.sampled_out == 0);
    }

    /// Whatever fails is told of, and nothing is told of twice.
    #[test]
    fn failures_are_never_left_out(steps in vec(step(), 0..120)) {
        let [mut all, mut none] = [1.0, 0.0].map(|ratio| Rig::new(ratio, 60));
        run(&mut all, &steps);
        run(&mut none, &steps);
        let failed = |rig: &Rig| -> HashSet<_> {
            let failed = rig.spans.iter().filter(|span| span.error.is_some());
            failed.map(|span| span.span_id).collect()
        };
        prop_assert_eq!(failed(&all), failed(&none));
        prop_assert_eq!(none.spans.len() + none.sampled_out, all.spans.len());
    }
}
