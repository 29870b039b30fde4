//! Retries, truncation and searches.

use super::*;

/// Sends a query for example.com, and looks at it while it waits.
fn retry_of(watch: &mut Watch, ms: u64, id: u16, socket: u64, cgroup_id: u64) -> u32 {
    watch.sees_other(ms, &ask(id, "example.com"), |packet| {
        packet.socket = socket;
        packet.cgroup_id = cgroup_id;
    });
    let packet = Packet {
        socket,
        ..packet(&[])
    };
    let (pending, asked) = (&watch.lookups.pending, question("example.com", A));
    let waiting = pending.same(Exchange::of(&packet, id), packet.remote, asked.borrowed());
    waiting.unwrap().retry
}

/// glibc asks again after five seconds, from the same socket with the same id.
#[test]
fn asked_again_after_the_timeout() {
    let mut watch = Watch::new(10);
    assert_eq!(retry_of(&mut watch, 0, 1, 1, 7), 0);
    assert_eq!(retry_of(&mut watch, 5_005, 1, 1, 7), 1);
    assert_eq!(watch.ends(), [(0, None, LookupEnd::TimedOut)]);
    assert_eq!(retry_of(&mut watch, 10_010, 1, 1, 7), 2);
    watch.sees(10_020, &found(1, "example.com"));
    watch.ended.clear();
    // Whoever had an answer does not try again.
    assert_eq!(retry_of(&mut watch, 10_030, 1, 1, 7), 0);
    // And that was long ago.
    assert_eq!(retry_of(&mut watch, 20_030, 1, 1, 7), 0);
}

#[test]
fn asked_again_from_another_socket() {
    let mut watch = Watch::new(10);
    assert_eq!(retry_of(&mut watch, 0, 1, 1, 7), 0);
    // At the same time it is not again.
    assert_eq!(retry_of(&mut watch, 100, 2, 2, 7), 0);
    assert_eq!(retry_of(&mut watch, 2_000, 3, 3, 7), 1);
    assert_eq!(retry_of(&mut watch, 2_001, 4, 4, 7), 1);
    // Others did not ask before.
    assert_eq!(retry_of(&mut watch, 2_002, 5, 5, 8), 0);
    // An exact repetition is one, however soon.
    assert_eq!(retry_of(&mut watch, 2_003, 5, 5, 8), 1);
}

#[test]
fn after_a_truncated_answer_over_tcp() {
    let check = |tcp_at: u64, differ: fn(&mut Packet<'_>), expected: bool| {
        let mut watch = Watch::new(10);
        watch.sees(0, &ask(1, "example.com"));
        watch.sees(10, &found(1, "example.com").truncated());
        let truncated = LookupEnd::Answered {
            rcode: 0,
            is_truncated: true,
        };
        assert_eq!(watch.ends(), [(0, Some(10), truncated)]);
        let frame = ask(2, "example.com").framed();
        let mut query = Packet {
            boot_ns: tcp_at * MS,
            socket: 2,
            transport: Transport::Tcp,
            ..packet(&frame)
        };
        differ(&mut query);
        watch.takes_in(&query);
        watch.waits_until(60_000);
        let lookup = watch.only_ended();
        assert_eq!(lookup.after_truncation, expected, "{tcp_at}");
        assert_eq!(lookup.retry, 0);
    };
    check(12, |_| (), true);
    check(5_009, |_| (), true);
    check(5_010, |_| (), false);
    check(12, |packet| packet.cgroup_id = 8, false);
}

#[test]
fn over_udp_or_untruncated_it_is_not_after_truncation() {
    let mut watch = Watch::new(10);
    for (at, answer) in [
        (0, found(1, "example.com")),
        (100, found(1, "example.com").truncated()),
        (200, found(1, "example.com")),
    ] {
        watch.sees(at, &ask(1, "example.com"));
        watch.sees(at + 1, &answer);
        assert!(!watch.only_ended().after_truncation);
    }
}

/// There is nothing to be gained by asking over TCP again.
#[test]
fn an_answer_truncated_over_tcp_is_not_followed() {
    let mut watch = Watch::new(10);
    let segments = [
        ask(1, "example.com"),
        found(1, "example.com").truncated(),
        ask(2, "example.com"),
        found(2, "example.com"),
    ];
    for (draft, at) in segments.iter().zip(0..) {
        watch.takes_in(&Packet {
            boot_ns: at,
            is_egress: at % 2 == 0,
            transport: Transport::Tcp,
            ..packet(&draft.framed())
        });
    }
    assert_eq!(watch.ended.len(), 2);
    assert!(watch.ended.iter().all(|lookup| !lookup.after_truncation));
}

/// Each name is asked for and found missing, up to the last. Tells which were asked as a retry.
fn searches(names: &[&str]) -> Vec<bool> {
    let mut watch = Watch::new(100);
    for (name, at) in names.iter().zip(0..) {
        watch.sees(10 * at, &ask(1, name));
        // The other half of a dual-stack look-up goes in parallel.
        watch.sees(10 * at, &Draft::query(2, name, AAAA));
        watch.sees(10 * at + 1, &missing(1, name));
        watch.sees(10 * at + 1, &Draft::response(2, name, AAAA, 3));
    }
    let retries = |kind: u16| {
        let of_kind = watch.ended.iter().filter(|it| it.question.kind == kind);
        of_kind.map(|lookup| lookup.is_search_retry).collect()
    };
    let (ipv4, ipv6): (Vec<bool>, Vec<bool>) = (retries(A), retries(AAAA));
    assert_eq!(ipv4, ipv6);
    ipv4
}

#[test]
fn steps_of_a_search() {
    let cluster = [
        "api.example.com.shop.svc.cluster.local",
        "api.example.com.svc.cluster.local",
        "api.example.com.cluster.local",
        // Domains of the node, which have nothing in common with the others.
        "api.example.com.eu-central-1.compute.internal",
        "api.example.com.google.internal",
        "api.example.com",
    ];
    assert_eq!(searches(&cluster), [false, true, true, true, true, true]);
    // Enough dots: the name as it is goes first.
    let dots = ["a.b.c.d.e.f", "a.b.c.d.e.f.svc.cluster.local"];
    assert_eq!(searches(&dots), [false, true]);
    // Asking again for the same name is no search, nor ends it one.
    let again = [
        "db.shop.svc.cluster.local",
        "db.svc.cluster.local",
        "db.svc.cluster.local",
        "db.example.internal",
    ];
    assert_eq!(searches(&again), [false, true, false, true]);
    // Two searches, of which the first told how much is kept.
    let two = ["a.b.svc.x", "a.b.x", "a.c.test", "a.c.org"];
    assert_eq!(searches(&two), [false, true, false, false]);
    let others = ["one.example", "two.example", "one.test"];
    assert_eq!(searches(&others), [false, false, false]);
}

#[test]
fn what_follows_something_else_is_no_search() {
    let check = |rcode: u16, at: u64, differ: fn(&mut Packet<'_>), expected: bool| {
        let mut watch = Watch::new(10);
        watch.sees(0, &ask(1, "db.svc.local"));
        watch.sees(1, &Draft::response(1, "db.svc.local", A, rcode));
        watch.ended.clear();
        watch.sees_other(at, &ask(2, "db.local"), differ);
        watch.waits_until(at + 5_000);
        assert_eq!(watch.only_ended().is_search_retry, expected);
    };
    check(3, 2, |_| (), true);
    check(3, 2, |packet| packet.socket = 9, true);
    check(3, 5_000, |_| (), true);
    check(3, 5_001, |_| (), false);
    check(0, 2, |_| (), false);
    check(2, 2, |_| (), false);
    check(3, 2, |packet| packet.cgroup_id = 9, false);

    // Addresses of each kind are searched for on their own.
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "db.svc.local"));
    watch.sees(1, &missing(1, "db.svc.local"));
    watch.sees(2, &Draft::query(2, "db.local", AAAA));
    watch.waits_until(6_000);
    assert!(watch.ended.iter().all(|lookup| !lookup.is_search_retry));
}
