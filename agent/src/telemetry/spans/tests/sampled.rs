//! What is exported where not everything is.

use super::rig::{Rig, id};
use crate::events::ExitStatus;
use crate::identity::OwnerId;
use crate::telemetry::span::Span;

const WELL: ExitStatus = ExitStatus::Code(0);
const ILL: ExitStatus = ExitStatus::Code(3);

/// Ten runs eleven, and so on.
fn chain(rig: &mut Rig, length: u32) {
    for pid in 10..10 + length {
        rig.run(pid, if pid == 10 { 1 } else { pid - 1 });
    }
}

fn weight(span: &Span) -> &str {
    span.trace_state.as_deref().unwrap_or_default()
}

#[test]
fn without_sampling_everything_is_exported() {
    let mut rig = Rig::new(1.0, u64::MAX / 1_000_000);
    chain(&mut rig, 3);
    for pid in [12, 11, 10] {
        rig.end(pid, WELL);
    }
    assert_eq!(rig.names(), ["p12", "p11", "p10"]);
    assert_eq!(rig.span(12).parent_span_id, Some(rig.span(11).span_id));
    assert!(rig.spans.iter().all(|span| weight(span) == "ot=th:0"));
    assert_eq!(rig.sampled_out, 0);
}

#[test]
fn a_failure_takes_its_ancestors_with_it() {
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 4);
    rig.run(20, 10);
    rig.end(20, WELL);
    rig.end(13, ILL);
    for pid in [12, 11, 10] {
        rig.end(pid, WELL);
    }
    assert_eq!(rig.names(), ["p13", "p12", "p11", "p10"]);
    for pid in 11..=13 {
        let (span, parent) = (rig.span(pid), rig.span(pid - 1));
        assert_eq!(span.parent_span_id, Some(parent.span_id));
        assert_eq!(weight(span), "ot=th:0");
    }
    assert_eq!(rig.span(10).parent_span_id, None);
    assert_eq!(rig.sampled_out, 1);
}

#[test]
fn who_has_ended_without_a_span_is_passed_over() {
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 4);
    rig.end(12, WELL);
    rig.end(13, ILL);
    rig.end(11, WELL);
    rig.end(10, WELL);
    assert_eq!(rig.names(), ["p13", "p11", "p10"]);
    assert_eq!(
        rig.span(13).parent_span_id,
        Some(rig.span(11).span_id),
        "the next above"
    );
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 2);
    rig.end(10, WELL);
    rig.end(11, ILL);
    assert_eq!(rig.names(), ["p11"]);
    assert_eq!(rig.span(11).parent_span_id, None);
}

#[test]
fn who_ended_with_a_span_is_remembered() {
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 3);
    rig.end(10, WELL);
    rig.end(11, ILL);
    // Their process ids are taken by others.
    for pid in [10, 11] {
        rig.table.forked(
            crate::events::ProcessId {
                pid,
                start_ns: rig.now,
            },
            id(1),
            OwnerId(2),
        );
    }
    rig.end(12, ILL);
    assert_eq!(rig.names(), ["p11", "p12"]);
    assert_eq!(rig.span(12).parent_span_id, Some(rig.span(11).span_id));
}

#[test]
fn a_parent_that_is_told_of_first_knows_of_the_failure() {
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 2);
    rig.exit(11, ILL);
    rig.exit(10, WELL);
    // The kernel let go of the parent first.
    rig.tell(1);
    rig.tell(0);
    assert_eq!(rig.names(), ["p10", "p11"]);
    assert_eq!(rig.span(11).parent_span_id, Some(rig.span(10).span_id));
}

#[test]
fn slow_processes_and_broken_connections_are_exported() {
    let mut rig = Rig::new(0.0, 100);
    chain(&mut rig, 2);
    rig.now += 99_000_000;
    rig.end(11, WELL);
    assert_eq!(rig.names(), ["p11"], "slow enough");
    let mut rig = Rig::new(0.0, 100_000);
    chain(&mut rig, 2);
    rig.fork(12, 11);
    rig.reset(12);
    for pid in [12, 11, 10] {
        rig.end(pid, WELL);
    }
    assert_eq!(rig.names(), ["tcp connect", "p11", "p10"]);
    assert_eq!(rig.spans[0].parent_span_id, Some(rig.span(11).span_id));
    assert_eq!(weight(&rig.spans[0]), "ot=th:0");
}

#[test]
fn spans_stand_for_what_they_were_chosen_for() {
    // A ratio that this trace is within.
    let mut rig = Rig::new(0.999_999, 100_000);
    chain(&mut rig, 3);
    rig.run(20, 10);
    rig.end(20, WELL);
    rig.end(12, ILL);
    rig.end(11, WELL);
    rig.end(10, WELL);
    assert_eq!(rig.names(), ["p20", "p12", "p11", "p10"]);
    assert!(weight(rig.span(20)).starts_with("ot=th:0000"));
    for pid in [10, 11, 12] {
        assert_eq!(weight(rig.span(pid)), "ot=th:0", "{pid}");
    }
}

#[test]
fn who_goes_elsewhere_is_nobodys_parent_here() {
    let mut rig = Rig::new(1.0, 0);
    chain(&mut rig, 2);
    rig.run(12, 11);
    // Into another container.
    let exec = crate::events::Exec {
        process: id(11),
        ..crate::events::Exec::default()
    };
    let program = crate::identity::Program {
        name: "p11".into(),
        path: "/".into(),
    };
    rig.table
        .executed(&exec, rig.now, OwnerId(2), program, false);
    rig.end(12, WELL);
    rig.end(11, WELL);
    assert_eq!(rig.span(12).parent_span_id, None);
    assert_ne!(rig.span(11).trace_id, rig.span(12).trace_id);
}

#[test]
fn found_again_they_are_in_the_same_trace_below_the_same_parents() {
    let told = |mut rig: Rig| {
        for pid in [13, 12, 11, 10] {
            rig.end(pid, WELL);
        }
        let ids = rig
            .spans
            .iter()
            .map(|span| (span.trace_id, span.span_id, span.parent_span_id));
        ids.collect::<Vec<_>>()
    };
    let mut watched = Rig::new(1.0, 0);
    chain(&mut watched, 2);
    watched.fork(12, 11);
    watched.run(13, 12);
    let mut found = Rig::new(1.0, 0);
    found.found(10, 1, false);
    found.found(11, 10, false);
    found.found(12, 11, true);
    found.found(13, 12, false);
    let told = [told(watched), told(found)];
    assert_eq!(told[0].len(), 3);
    assert_eq!(told[0], told[1]);
}
