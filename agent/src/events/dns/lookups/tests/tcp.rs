//! Messages in streams.

use super::*;

/// Segments of one connection: when, whether sent, and what.
fn segment(ms: u64, is_egress: bool, payload: &[u8]) -> Packet<'_> {
    Packet {
        boot_ns: ms * MS,
        is_egress,
        transport: Transport::Tcp,
        ..packet(payload)
    }
}

fn sends(watch: &mut Watch, ms: u64, payload: &[u8]) {
    watch.takes_in(&segment(ms, true, payload));
}

fn receives(watch: &mut Watch, ms: u64, payload: &[u8]) {
    watch.takes_in(&segment(ms, false, payload));
}

#[test]
fn one_message_in_each_segment() {
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &ask(1, "example.com").framed());
    sends(&mut watch, 1, &[]);
    receives(&mut watch, 5, &found(1, "example.com").framed());
    let lookup = watch.only_ended();
    assert_eq!((lookup.transport, lookup.end), (Transport::Tcp, FOUND));
    assert_eq!(lookup.answers.len(), 1);
    assert_eq!(watch.ignores(), []);
}

/// Some write the length by itself.
#[test]
fn a_length_may_come_first() {
    let frame = ask(1, "example.com").framed();
    for cut in [1, 2] {
        let mut watch = Watch::new(10);
        sends(&mut watch, 0, &frame[..cut]);
        sends(&mut watch, 0, &[]);
        sends(&mut watch, 1, &frame[cut..2]);
        sends(&mut watch, 2, &frame[2..]);
        receives(&mut watch, 5, &found(1, "example.com").framed());
        assert_eq!(watch.ends(), [(2, Some(3), FOUND)], "{cut}");
        assert_eq!(watch.ignores(), []);
    }
}

#[test]
fn several_messages_in_a_segment() {
    let (one, two) = (ask(1, "one.example"), ask(2, "two.example"));
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &[one.framed(), two.framed()].concat());
    assert_eq!(watch.lookups.waiting(), 2);
    // The answers come the other way round, and the second in two parts.
    let answers = [
        found(2, "two.example").framed(),
        found(1, "one.example").framed(),
    ]
    .concat();
    let (first, second) = answers.split_at(answers.len() - 8);
    receives(&mut watch, 5, first);
    assert_eq!(watch.ends(), [(0, Some(5), FOUND), (0, Some(5), FOUND)]);
    // What is left of it is passed over, and then comes the next.
    sends(&mut watch, 6, &ask(3, "three.example").framed());
    let next = found(3, "three.example").framed();
    receives(&mut watch, 7, &[second, &next].concat());
    assert_eq!(watch.ends(), [(6, Some(1), FOUND)]);
    assert_eq!(watch.ignores(), []);
}

#[test]
fn a_long_message_is_captured_in_part() {
    let mut long = found(1, "example.com");
    for _ in 0..100 {
        long = long.address("192.0.2.1", 60);
    }
    let frame = long.framed();
    let next = found(2, "example.org").framed();
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &ask(1, "example.com").framed());
    sends(&mut watch, 1, &ask(2, "example.org").framed());
    let in_part = Packet {
        length: 1_000,
        ..segment(2, false, &frame[..512])
    };
    watch.takes_in(&in_part);
    let lookup = watch.only_ended();
    // 510 octets of a message; 12 are the header, 17 the question, and each address takes 16.
    assert_eq!((lookup.end, lookup.answers.len()), (FOUND, 30));
    receives(&mut watch, 3, &[&frame[1_000..], &next].concat());
    assert_eq!(watch.ends(), [(1, Some(2), FOUND)]);
    assert_eq!(watch.ignores(), []);
}

#[test]
fn a_message_split_in_its_question_is_passed_over() {
    let frame = ask(1, "example.com").framed();
    for cut in 3..frame.len() {
        let mut watch = Watch::new(10);
        sends(&mut watch, 0, &frame[..cut]);
        assert_eq!(watch.ignores(), [Ignored::Split], "{cut}");
        let next = ask(2, "example.org").framed();
        sends(&mut watch, 1, &[&frame[cut..], &next].concat());
        assert_eq!(watch.ignores(), [], "{cut}");
        assert_eq!(watch.lookups.waiting(), 1);
    }
}

#[test]
fn messages_that_were_not_captured() {
    let long = Draft {
        edns: Some(0),
        ..ask(1, "example.com")
    };
    let both = [long.framed(), ask(2, "example.org").framed()].concat();
    let mut watch = Watch::new(10);
    let in_part = Packet {
        length: u32::try_from(both.len()).unwrap(),
        ..segment(0, true, &both[..long.framed().len()])
    };
    watch.takes_in(&in_part);
    assert_eq!(watch.ignores(), [Ignored::Split]);
    assert_eq!(watch.lookups.waiting(), 1);
    sends(&mut watch, 1, &ask(3, "example.net").framed());
    assert_eq!(watch.lookups.waiting(), 2);
}

#[test]
fn nonsense_costs_its_segment() {
    let good = ask(1, "example.com").framed();
    let check = |nonsense: &[u8]| {
        let mut watch = Watch::new(10);
        sends(&mut watch, 0, &[nonsense, &good].concat());
        assert_eq!(watch.ignores(), [Ignored::Desynchronised], "{nonsense:?}");
        assert_eq!(watch.lookups.waiting(), 0);
        sends(&mut watch, 1, &good);
        assert_eq!(watch.ignores(), [], "{nonsense:?}");
        assert_eq!(watch.lookups.waiting(), 1);
    };
    check(&[0, 0]);
    check(&[0, 11]);
    check(b"GET / HTTP/1.1\r\n\r\n");
    check(&[0xff; 40]);
    check(&found(1, "example.com").framed());
    // Whole, but its question is not there or no name.
    check(&[&[0, 12], &ask(1, "example.com").bytes()[..12]].concat());
    let mut bad = good.clone();
    bad[14] = 0xc0;
    check(&bad);
}

#[test]
fn a_length_that_no_message_has() {
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &[0, 11]);
    assert_eq!(watch.ignores(), [Ignored::Desynchronised]);
    // The rest of a message that looks like one of that length.
    let frame = ask(1, "example.com").framed();
    sends(&mut watch, 1, &frame[..20]);
    assert_eq!(watch.ignores(), [Ignored::Split]);
    sends(&mut watch, 2, &[0, 9, 0, 0, 1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(watch.ignores(), []);
    sends(&mut watch, 3, &frame);
    assert_eq!(watch.lookups.waiting(), 1);
}

#[test]
fn a_segment_sent_again() {
    let frame = ask(1, "example.com").framed();
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &frame);
    sends(&mut watch, 200, &frame);
    assert_eq!(watch.ignores(), [Ignored::Retransmitted]);
    receives(&mut watch, 210, &found(1, "example.com").framed());
    receives(&mut watch, 220, &found(1, "example.com").framed());
    assert_eq!(watch.ends(), [(0, Some(210), FOUND)]);
    assert_eq!(watch.ignores(), [Ignored::Duplicate]);

    // In the middle of a message it is taken for the rest of it, until a segment is a message by itself.
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &frame[..20]);
    sends(&mut watch, 1, &frame[..20]);
    sends(&mut watch, 2, &frame[20..]);
    let [split, desynchronised] = [Ignored::Split, Ignored::Desynchronised];
    assert_eq!(watch.ignores(), [split, desynchronised, split]);
    for id in 3..6 {
        sends(&mut watch, u64::from(id), &ask(id, "example.org").framed());
    }
    assert_eq!(watch.ignores(), [desynchronised]);
    assert_eq!(watch.lookups.waiting(), 3);
}

#[test]
fn each_direction_and_socket_has_its_own_stream() {
    let frame = ask(1, "example.com").framed();
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &frame[..2]);
    receives(&mut watch, 0, &found(9, "example.org").framed());
    watch.takes_in(&Packet {
        socket: 2,
        ..segment(0, true, &frame)
    });
    sends(&mut watch, 1, &frame[2..]);
    assert_eq!(watch.ignores(), [Ignored::Unmatched]);
    assert_eq!(watch.lookups.waiting(), 2);
}

/// After that time the socket may be closed, or whatever it waits for is of no interest.
#[test]
fn a_stream_that_pauses_is_forgotten() {
    let frame = ask(1, "example.com").framed();
    let mut watch = Watch::new(10);
    sends(&mut watch, 0, &frame[..30]);
    assert_eq!(watch.lookups.waiting(), 0);
    watch.ignores();
    sends(&mut watch, 30_000, &frame);
    assert_eq!(watch.lookups.waiting(), 1);
    assert_eq!(watch.ignores(), []);
}
