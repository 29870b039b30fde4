//! Buckets over time, and whose they are.

use proptest::prelude::*;

use super::super::bucket::BURST;
use super::*;

/// Some time of the Unix epoch.
const NOW: u64 = 1_795_379_326 * SECOND;

fn rates() -> (EventRates, Arc<Counters>) {
    let counters = Arc::<Counters>::default();
    (EventRates::new(Arc::clone(&counters)), counters)
}

fn event(at: u64, severity: Severity) -> LiveEvent {
    LiveEvent {
        time_unix_nano: at,
        name: "wellhead.process.exit",
        severity,
        attributes: Vec::new(),
        arguments: None,
    }
}

fn service(name: &'static str, instance: &'static str) -> Resource {
    Resource {
        attributes: vec![
            ("service.name".into(), Value::Static(name)),
            ("service.instance.id".into(), Value::Static(instance)),
        ],
        labels: Vec::new(),
    }
}

fn pod(name: &str, workload: &str) -> Resource {
    Resource {
        attributes: vec![("service.name".into(), Value::Static("same"))],
        labels: vec![
            ("k8s_namespace_name", "shop".into()),
            ("k8s_pod_name", name.into()),
            ("k8s_workload_name", workload.into()),
            ("k8s_workload_kind", "Deployment".into()),
        ],
    }
}

/// How many of so many events, all at once, are let through.
fn admitted(
    rates: &mut EventRates,
    limit: u32,
    (events, at): (u32, u64),
    resource: &Resource,
) -> u32 {
    let limit = NonZeroU32::new(limit);
    let all = (0..events).filter(|_| rates.admit(limit, &event(at, Severity::Info), resource));
    u32::try_from(all.count()).expect("few")
}

#[test]
fn ten_seconds_worth_at_once_and_then_as_time_passes() {
    let (mut rates, counters) = rates();
    let web = service("web", "a");
    let mut at = |events, at| admitted(&mut rates, 100, (events, at), &web);
    assert_eq!(at(1_500, NOW), 1_000);
    assert_eq!(at(10, NOW), 0);
    assert_eq!(at(200, NOW + SECOND), 100);
    assert_eq!(at(10, NOW + SECOND + SECOND / 100), 1);
    // No more is saved than that.
    assert_eq!(at(5_000, NOW + 3_600 * SECOND), 1_000);
    let left_out = 500 + 10 + 100 + 9 + 4_000;
    assert_eq!(counters.discards(Discard::PolicyEventRate), left_out);
}

#[test]
fn events_that_come_late_are_no_reason_to_save_more() {
    let (mut rates, _) = rates();
    let web = service("web", "a");
    let mut at = |events, at| admitted(&mut rates, 100, (events, at), &web);
    assert_eq!(at(1_000, NOW), 1_000);
    // Those waited for their pod.
    assert_eq!(at(10, NOW - 30 * SECOND), 0);
    assert_eq!(at(10, NOW), 0);
    assert_eq!(at(1_000, NOW + SECOND), 100);
}

#[test]
fn a_clock_that_is_set_back_stops_nobody() {
    let (mut rates, _) = rates();
    let web = service("web", "a");
    let mut at = |events, at| admitted(&mut rates, 100, (events, at), &web);
    assert_eq!(at(400, NOW), 400);
    // An hour back: what was saved is still there, and no more.
    let then = NOW - 3_600 * SECOND;
    assert_eq!(at(1_000, then), 600);
    assert_eq!(at(1_000, then + SECOND), 100);
    assert_eq!(at(5_000, then + 3_600 * SECOND), 1_000);
    assert_eq!(at(10, 0), 0);
    assert_eq!(at(200, SECOND), 100);
    assert_eq!(at(5_000, u64::MAX), 1_000);
}

#[test]
fn what_is_wrong_is_not_crowded_out() {
    let (mut rates, counters) = rates();
    let web = service("web", "a");
    let limit = NonZeroU32::new(1);
    assert_eq!(admitted(&mut rates, 1, (1_000, NOW), &web), 10);
    let mut severe = |severity| rates.admit(limit, &event(NOW, severity), &web);
    let admitted = (0..30).filter(|number| {
        severe(if number % 2 == 0 {
            Severity::Warn
        } else {
            Severity::Error
        })
    });
    assert_eq!(admitted.count(), 10);
    assert_eq!(counters.discards(Discard::PolicyEventRate), 990 + 20);
}

#[test]
fn each_workload_has_its_own() {
    let (mut rates, _) = rates();
    let mut of = |resource: &Resource| admitted(&mut rates, 1, (6, NOW), resource);
    // Pods of a workload share what it has, whatever their services are called.
    assert_eq!(of(&pod("web-a", "web")), 6);
    assert_eq!(of(&pod("web-b", "web")), 4);
    assert_eq!(of(&pod("db-a", "db")), 6);
    assert_eq!(of(&service("same", "a")), 6);
    assert_eq!(of(&service("same", "b")), 4);
    assert_eq!(of(&service(UNKNOWN_SERVICE, "a")), 6);
    assert_eq!(of(&service(UNKNOWN_SERVICE, "b")), 6);
    assert_eq!(of(&Resource::default()), 6);
    assert_eq!(of(&Resource::default()), 4);
}

#[test]
fn the_limit_may_change_meanwhile() {
    let (mut rates, counters) = rates();
    let web = service("web", "a");
    assert_eq!(admitted(&mut rates, 100, (500, NOW), &web), 500);
    // Half of what it may save is left.
    assert_eq!(admitted(&mut rates, 10, (500, NOW), &web), 50);
    let all = (0..5_000).filter(|_| rates.admit(None, &event(NOW, Severity::Info), &web));
    assert_eq!(all.count(), 5_000);
    assert_eq!(counters.discards(Discard::PolicyEventRate), 450);
}

#[test]
fn there_is_an_end_to_workloads() {
    let (mut rates, _) = rates();
    for number in 0..3_000 {
        assert_eq!(
            admitted(&mut rates, 1, (1, NOW), &pod("a", &number.to_string())),
            1
        );
    }
    assert_eq!(rates.workloads.len(), WORKLOADS);
}

#[test]
fn a_workload_is_told_of_when_it_begins_to_be_limited() {
    let mut allowance = Allowance::new(NOW);
    assert!(allowance.is_limited_anew(NOW));
    for second in 1..200 {
        assert!(
            !allowance.is_limited_anew(NOW + second * SECOND),
            "{second}"
        );
    }
    assert!(allowance.is_limited_anew(NOW + 260 * SECOND));
    assert!(!allowance.is_limited_anew(NOW + 259 * SECOND));
    assert!(allowance.is_limited_anew(NOW));
}

proptest! {
    /// Whatever time does, in any while no more is let through than what was saved and what came meanwhile.
    #[test]
    fn never_more_than_allowed(
        limit in 1_u32..1_000,
        steps in prop::collection::vec((0_u64..3 * SECOND, 0_u64..2 * SECOND, 0_u32..300), 1..60),
    ) {
        let (mut rates, _) = rates();
        let web = service("web", "a");
        let (mut now, mut through) = (NOW, 0);
        for (on, late, events) in steps {
            now += on;
            through += u64::from(admitted(&mut rates, limit, (events, now - late), &web));
            let cost = SECOND / u64::from(limit);
            // The first may have been late.
            let allowed = (BURST + (now - NOW) + 2 * SECOND) / cost;
            prop_assert!(through <= allowed, "{} {}", through, allowed);
        }
    }
}
