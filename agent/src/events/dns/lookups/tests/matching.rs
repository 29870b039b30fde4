//! Which answer ends which look-up.

use super::*;
use crate::events::dns::message::MessageError;

#[test]
fn an_answer_ends_a_look_up() {
    let mut watch = Watch::new(10);
    watch.sees(10, &ask(1, "Example.com"));
    assert_eq!(watch.lookups.waiting(), 1);
    assert_eq!(watch.ends(), []);
    watch.sees(35, &found(1, "eXample.com").address("192.0.2.2", 30));
    let expected = Lookup {
        asked_boot_ns: 10 * MS,
        took_ns: Some(25 * MS),
        cgroup_id: 7,
        socket: 1,
        server: address("10.96.0.10:53"),
        transport: Transport::Udp,
        question: question("example.com", A),
        end: FOUND,
        answers: vec![
            (address("192.0.2.1:0").ip(), 60),
            (address("192.0.2.2:0").ip(), 30),
        ],
        retry: 0,
        after_truncation: false,
        is_search_retry: false,
    };
    assert_eq!(watch.only_ended(), expected);
    assert_eq!((watch.lookups.waiting(), watch.ignores()), (0, vec![]));
}

#[test]
fn several_look_ups_of_one_socket() {
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "one.example"));
    watch.sees(1, &Draft::query(2, "one.example", AAAA));
    // An id may be in use twice, for different questions.
    watch.sees(2, &ask(1, "two.example"));
    watch.sees(3, &missing(1, "one.example"));
    watch.sees(4, &Draft::response(2, "one.example", AAAA, 2));
    watch.sees(5, &found(1, "two.example"));
    assert_eq!(
        watch.ends(),
        [
            (0, Some(3), answered(3)),
            (1, Some(3), answered(2)),
            (2, Some(3), FOUND)
        ]
    );
}

#[test]
fn an_id_is_used_again() {
    let mut watch = Watch::new(10);
    for at in [0, 100, 200] {
        watch.sees(at, &ask(1, "example.com"));
        watch.sees(at + 1, &found(1, "example.com"));
        assert_eq!(watch.ends(), [(at, Some(1), FOUND)]);
    }
}

#[test]
fn without_an_answer_it_times_out() {
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "example.com"));
    watch.waits_until(4_999);
    assert_eq!(watch.ends(), []);
    watch.waits_until(5_000);
    assert_eq!(watch.ends(), [(0, None, LookupEnd::TimedOut)]);
    watch.sees(5_001, &found(1, "example.com"));
    assert_eq!(watch.ends(), []);
    assert_eq!(watch.ignores(), [Ignored::Unmatched]);
    // The same if nobody looked in between.
    watch.sees(6_000, &ask(1, "example.com"));
    watch.sees(11_000, &found(1, "example.com"));
    assert_eq!(watch.ends(), [(6_000, None, LookupEnd::TimedOut)]);
    assert_eq!(watch.ignores(), [Ignored::Unmatched]);
}

#[test]
fn a_query_sent_again() {
    // The first was lost: the answer is to the second.
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "example.com"));
    watch.sees(2_500, &ask(1, "example.com"));
    watch.sees(2_510, &found(1, "example.com"));
    assert_eq!(watch.only_ended().retry, 1);
    watch.waits_until(9_000);
    assert_eq!(watch.ends(), [(0, None, LookupEnd::TimedOut)]);

    // Both were answered, late.
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "example.com"));
    watch.sees(2_500, &ask(1, "example.com"));
    watch.sees(3_000, &found(1, "example.com"));
    watch.sees(4_500, &found(1, "example.com"));
    assert_eq!(
        watch.ends(),
        [(2_500, Some(500), FOUND), (0, Some(4_500), FOUND)]
    );
    watch.sees(4_501, &found(1, "example.com"));
    assert_eq!(watch.ignores(), [Ignored::Duplicate]);
}

/// musl asks all servers at once, and closes the socket after the first answer.
#[test]
fn several_servers_at_once() {
    let servers = ["192.0.2.53:53", "198.51.100.53:53", "203.0.113.53:53"].map(address);
    let ask_all = |watch: &mut Watch, ms: u64| {
        for (server, later) in servers.into_iter().zip(0..) {
            watch.sees_other(ms + later, &ask(1, "example.com"), |packet| {
                packet.remote = server;
            });
        }
    };
    let mut watch = Watch::new(10);
    ask_all(&mut watch, 0);
    watch.sees_other(10, &missing(1, "example.com"), |packet| {
        packet.remote = servers[1];
    });
    let first = watch.only_ended();
    assert_eq!((first.server, first.end), (servers[1], answered(3)));
    // Another answers too, the third does not.
    watch.sees_other(11, &found(1, "example.com"), |packet| {
        packet.remote = servers[0];
    });
    assert_eq!(watch.ends(), [(0, Some(11), FOUND)]);
    watch.waits_until(6_000);
    assert_eq!(watch.ends(), [(2, None, LookupEnd::Overtaken)]);

    // If nobody answers, all time out; and both rounds have one number.
    ask_all(&mut watch, 10_000);
    ask_all(&mut watch, 12_500);
    watch.waits_until(20_000);
    let retries: Vec<u32> = watch.ended.iter().map(|lookup| lookup.retry).collect();
    assert_eq!(retries, [0, 0, 0, 1, 1, 1]);
    assert!(
        watch
            .ends()
            .iter()
            .all(|(_, _, end)| *end == LookupEnd::TimedOut)
    );
}

#[test]
fn another_question_is_not_overtaken() {
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "one.example"));
    watch.sees_other(1, &ask(1, "two.example"), |packet| {
        packet.remote = address("192.0.2.53:53");
    });
    watch.sees(2, &found(1, "one.example"));
    watch.waits_until(6_000);
    assert_eq!(
        watch.ends(),
        [(0, Some(2), FOUND), (1, None, LookupEnd::TimedOut)]
    );
}

#[test]
fn an_answer_from_an_address_before_translation() {
    let from = |watch: &mut Watch, ms: u64, draft: &Draft, server: &str| {
        watch.sees_other(ms, draft, |packet| packet.remote = address(server));
    };
    let mut watch = Watch::new(10);
    from(&mut watch, 0, &ask(1, "example.com"), "10.0.0.5:53");
    from(&mut watch, 4, &found(1, "example.com"), "10.96.0.10:53");
    let lookup = watch.only_ended();
    assert_eq!((lookup.server, lookup.end), (address("10.0.0.5:53"), FOUND));

    // Who was asked under the address goes first, though another was asked later.
    from(&mut watch, 10, &ask(2, "example.com"), "10.96.0.10:53");
    from(&mut watch, 11, &ask(2, "example.com"), "10.0.0.5:53");
    from(&mut watch, 12, &found(2, "example.com"), "10.96.0.10:53");
    assert_eq!(watch.ends(), [(10, Some(2), FOUND)]);
}

#[test]
fn answers_that_are_ignored() {
    let check = |draft: &Draft, differ: fn(&mut Packet<'_>), reason: Ignored| {
        let mut watch = Watch::new(10);
        watch.sees(0, &ask(1, "old.example"));
        watch.sees(1, &found(1, "old.example"));
        watch.sees(2, &ask(2, "example.com"));
        watch.ended.clear();
        watch.sees_other(3, draft, differ);
        assert_eq!(watch.ends(), [], "{draft:?}");
        assert_eq!(watch.ignores(), [reason], "{draft:?}");
        assert_eq!(watch.lookups.waiting(), 1);
    };
    let answer = found(2, "example.com");
    check(&found(3, "example.com"), |_| (), Ignored::Unmatched);
    check(&answer, |packet| packet.socket = 2, Ignored::Unmatched);
    check(&found(2, "example.org"), |_| (), Ignored::OtherQuestion);
    let other_type = Draft::response(2, "example.com", AAAA, 0);
    check(&other_type, |_| (), Ignored::OtherQuestion);
    let mut other_class = answer.clone();
    other_class.questions[0].2 = 3;
    check(&other_class, |_| (), Ignored::OtherQuestion);
    check(&found(1, "old.example"), |_| (), Ignored::Duplicate);
    check(&found(1, "example.com"), |_| (), Ignored::Unmatched);
    check(&answer, |packet| packet.is_egress = true, Ignored::WrongWay);
    let notify = Draft {
        flags: answer.flags | 4 << 11,
        ..answer.clone()
    };
    check(&notify, |_| (), Ignored::OtherOpcode);
    let cut = |packet: &mut Packet<'_>| packet.payload = &packet.payload[..20];
    check(&answer, cut, Ignored::Malformed(MessageError::CutOff));
}

#[test]
fn queries_that_are_ignored() {
    let check = |draft: &Draft, differ: fn(&mut Packet<'_>), reason: Option<Ignored>| {
        let mut watch = Watch::new(10);
        watch.sees_other(0, draft, differ);
        assert_eq!(watch.ignores(), Vec::from_iter(reason), "{draft:?}");
        assert_eq!(watch.lookups.waiting(), 0);
    };
    let query = ask(1, "example.com");
    let incoming = |packet: &mut Packet<'_>| packet.is_egress = false;
    check(&query, incoming, Some(Ignored::WrongWay));
    let empty = Draft {
        questions: Vec::new(),
        ..query.clone()
    };
    check(&empty, |_| (), Some(Ignored::NoQuestion));
    let short = Ignored::Malformed(MessageError::TooShort(3));
    check(&query, |packet| packet.length = 3, Some(short));
}

#[test]
fn an_error_without_a_question() {
    let empty = |rcode: u16| Draft {
        questions: Vec::new(),
        ..Draft::response(1, "unused", A, rcode)
    };
    let mut watch = Watch::new(10);
    watch.sees(0, &ask(1, "example.com"));
    watch.sees(1, &empty(0));
    assert_eq!(watch.ignores(), [Ignored::OtherQuestion]);
    watch.sees(2, &empty(1));
    assert_eq!(watch.ends(), [(0, Some(2), answered(1))]);
    watch.sees(3, &empty(1));
    assert_eq!(watch.ignores(), [Ignored::Duplicate]);
}

#[test]
fn times_that_go_back_do_no_harm() {
    let mut watch = Watch::new(10);
    watch.sees(10, &ask(1, "example.com"));
    watch.sees(9, &found(1, "example.com"));
    assert_eq!(watch.ends(), [(10, Some(0), FOUND)]);
}
