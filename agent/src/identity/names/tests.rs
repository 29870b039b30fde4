use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::events::dns::Transport;
use crate::events::dns::testing::{A, AAAA, address, question};

const CGROUP: u64 = 1;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn learn(names: &mut Names, name: &str, addresses: &[(&str, u32)], second: u64) {
    let answers: Vec<(IpAddr, u32)> = addresses
        .iter()
        .map(|(address, ttl)| (ip(address), *ttl))
        .collect();
    names.learn(CGROUP, &name.into(), &answers, second * SECOND_NS);
}

fn name(names: &Names, address: &str, second: u64) -> Option<String> {
    let name = names.name(CGROUP, ip(address), second * SECOND_NS);
    name.map(ToString::to_string)
}

#[test]
fn an_address_has_the_name_it_was_given_for() {
    let mut names = Names::new(10);
    let addresses = [
        ("192.0.2.1", 60),
        ("2001:db8::1", 60),
        ("::ffff:192.0.2.9", 60),
    ];
    learn(&mut names, "example.com", &addresses, 0);
    for address in ["192.0.2.1", "2001:db8::1", "192.0.2.9", "::ffff:192.0.2.1"] {
        assert_eq!(name(&names, address, 1).as_deref(), Some("example.com"));
    }
    assert_eq!(name(&names, "192.0.2.2", 1), None);
    assert_eq!(names.name(2, ip("192.0.2.1"), 1), None, "another cgroup");
}

#[test]
fn a_name_holds_as_long_as_its_answer_and_a_handshake() {
    let check = |ttl: u32, seconds: u64| {
        let mut names = Names::new(10);
        learn(&mut names, "example.com", &[("192.0.2.1", ttl)], 100);
        let last = 100 + seconds + 127;
        assert!(name(&names, "192.0.2.1", last - 1).is_some(), "{ttl}");
        assert_eq!(name(&names, "192.0.2.1", last), None, "{ttl}");
    };
    check(0, 30);
    check(29, 30);
    check(300, 300);
    check(3_600, 3_600);
    check(u32::MAX, 3_600);
}

#[test]
fn the_latest_name_wins() {
    let mut names = Names::new(10);
    learn(&mut names, "one.example", &[("192.0.2.1", 3_600)], 0);
    learn(&mut names, "two.example", &[("192.0.2.1", 0)], 1);
    assert_eq!(name(&names, "192.0.2.1", 2).as_deref(), Some("two.example"));
    assert_eq!(name(&names, "192.0.2.1", 200), None);
    assert_eq!((names.len(), names.uses.len()), (1, 1));
}

#[test]
fn the_oldest_makes_room() {
    let mut names = Names::new(2);
    learn(&mut names, "one.example", &[("192.0.2.1", 60)], 0);
    learn(&mut names, "two.example", &[("192.0.2.2", 60)], 1);
    // Being told again makes new.
    learn(&mut names, "one.example", &[("192.0.2.1", 60)], 2);
    assert_eq!(names.take_evicted(), 0);
    learn(&mut names, "three.example", &[("192.0.2.3", 60)], 3);
    assert_eq!((names.take_evicted(), names.take_evicted()), (1, 0));
    assert_eq!(name(&names, "192.0.2.2", 4), None);
    assert_eq!(name(&names, "192.0.2.1", 4).as_deref(), Some("one.example"));
    // Those that no longer hold are not missed.
    learn(&mut names, "four.example", &[("192.0.2.4", 60)], 1_000);
    assert_eq!((names.len(), names.take_evicted()), (1, 0));
    assert_eq!(names.uses.len(), 1);
}

#[test]
fn only_names_that_still_hold_are_missed() {
    let mut names = Names::new(2);
    learn(&mut names, "one.example", &[("192.0.2.1", 3_600)], 0);
    learn(&mut names, "two.example", &[("192.0.2.2", 0)], 1);
    let addresses = [("192.0.2.3", 60), ("192.0.2.4", 60)];
    learn(&mut names, "three.example", &addresses, 200);
    assert_eq!(names.take_evicted(), 1);
}

#[test]
fn a_name_is_kept_once() {
    let mut names = Names::new(10);
    learn(
        &mut names,
        "cdn.example",
        &[("192.0.2.1", 60), ("192.0.2.2", 60)],
        0,
    );
    learn(&mut names, "cdn.example", &[("192.0.2.3", 60)], 1);
    let find = |address: &str| names.name(CGROUP, ip(address), 2).unwrap();
    assert!(Arc::ptr_eq(find("192.0.2.1"), find("192.0.2.2")));
    assert!(Arc::ptr_eq(find("192.0.2.1"), find("192.0.2.3")));
    assert_eq!(names.uses.len(), 1);
}

#[test]
fn addresses_that_say_nothing() {
    let mut names = Names::new(10);
    for address in [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.53",
        "224.0.0.251",
    ] {
        learn(&mut names, "blocked.example", &[(address, 60)], 0);
        assert_eq!(name(&names, address, 1), None, "{address}");
    }
    assert!(names.len() == 0 && names.uses.is_empty());
}

#[test]
fn only_answers_to_questions_for_addresses() {
    let check = |kind: u16, end: LookupEnd, expected: Option<&str>| {
        let lookup = Lookup {
            asked_boot_ns: 5 * SECOND_NS,
            took_ns: Some(SECOND_NS),
            cgroup_id: CGROUP,
            socket: 1,
            server: address("192.0.2.53:53"),
            transport: Transport::Udp,
            question: question("example.com", kind),
            end,
            answers: vec![(ip("192.0.2.1"), 60)],
            retry: 0,
            after_truncation: false,
            is_search_retry: false,
        };
        let mut names = Names::new(10);
        names.learn_from(&lookup);
        // Asked at 5, answered at 6, and 60 + 127 after that it is over.
        assert_eq!(
            name(&names, "192.0.2.1", 192).as_deref(),
            expected,
            "{kind} {end:?}"
        );
        assert_eq!(name(&names, "192.0.2.1", 193), None);
    };
    let answered = |rcode: u16, is_truncated: bool| LookupEnd::Answered {
        rcode,
        is_truncated,
    };
    check(A, answered(0, false), Some("example.com"));
    check(AAAA, answered(0, true), Some("example.com"));
    check(A, answered(3, false), None);
    check(A, LookupEnd::TimedOut, None);
    let (pointer, any, https) = (12, 255, 65);
    for kind in [pointer, any, https] {
        check(kind, answered(0, false), None);
    }
}

proptest! {
    /// There are never more than there is room for, names that nothing uses are gone, and what was told last is known.
    #[test]
    fn any_answers(steps in vec((0..6u8, 0..20u8, 0..4_000u32, 0..200u64), 1..80)) {
        let mut names = Names::new(8);
        let mut now = 0;
        for (host, last, ttl, pause) in steps {
            now += pause;
            let (host, address) = (format!("{host}.example"), format!("192.0.2.{last}"));
            learn(&mut names, &host, &[(&address, ttl)], now);
            prop_assert_eq!(name(&names, &address, now), Some(host));
            prop_assert!(names.len() <= 8 && names.uses.len() <= names.len());
            prop_assert_eq!(names.uses.values().map(|(uses, _)| uses).sum::<usize>(), names.len());
        }
    }
}
