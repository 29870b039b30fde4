mod properties;

use std::net::IpAddr;

use super::super::testing::{A, AAAA, Draft, wire_labels, wire_name};
use super::*;

fn parse<T>(bytes: &[u8], look: impl FnOnce(Message<'_>) -> T) -> Result<T, MessageError> {
    Message::parse(bytes, &mut String::from("left over")).map(look)
}

fn addresses(bytes: &[u8]) -> Vec<(IpAddr, u32)> {
    parse(bytes, |message| message.answers.collect()).unwrap()
}

fn name_of(draft: &Draft) -> Result<String, MessageError> {
    parse(&draft.bytes(), |message| {
        message.question.unwrap().name.to_owned()
    })
}

fn with_name(name: Vec<u8>) -> Draft {
    Draft {
        questions: vec![(name, A, 1)],
        ..Draft::query(1, "unused", A)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_query() {
    let bytes = Draft::query(0xbeef, "Example.COM", AAAA).bytes();
    parse(&bytes, |message| {
        let question = message.question.unwrap();
        let asked = (question.name, question.kind, question.class);
        assert_eq!(asked, ("example.com", 28, 1));
        let Message { id, opcode, .. } = message;
        assert_eq!((id, opcode, message.question_count), (0xbeef, 0, 1));
        assert!(!message.is_response && !message.is_truncated);
        assert_eq!(message.answers.count(), 0);
    })
    .unwrap();
}

#[test]
fn a_response_with_an_alias() {
    let draft = Draft::response(1, "www.example.com", A, 0)
        .alias("edge.example.net")
        .address("192.0.2.1", 60)
        .address("2001:db8::1", 5);
    let expected = [(ip("192.0.2.1"), 60), (ip("2001:db8::1"), 5)];
    assert_eq!(addresses(&draft.bytes()), expected);
}

#[test]
fn what_is_no_address_is_left_out() {
    let check = |kind: u16, class: u16, data: &[u8]| {
        let mut draft = Draft::response(1, "example.com", A, 0);
        draft.answers.push((kind, class, 60, data.to_vec()));
        let draft = draft.address("192.0.2.1", 60);
        let found = addresses(&draft.bytes());
        assert_eq!(found, [(ip("192.0.2.1"), 60)], "{kind} {class} {data:?}");
    };
    check(A, 3, &[1, 2, 3, 4]);
    check(A, 1, &[1, 2, 3]);
    check(A, 1, &[]);
    check(AAAA, 1, &[1, 2, 3, 4]);
    check(16, 1, b"\x04text");
    // Service bindings and others whose data are not what they should be.
    check(65, 1, &[0xff; 9]);
    check(6, 1, &[0xc0]);
}

#[test]
fn a_time_to_live_is_not_negative() {
    let check = |sent: u32, expected: u32| {
        let draft = Draft::response(1, "example.com", A, 0).address("192.0.2.1", sent);
        assert_eq!(addresses(&draft.bytes()), [(ip("192.0.2.1"), expected)]);
    };
    check(0, 0);
    check(0x7fff_ffff, 0x7fff_ffff);
    check(0x8000_0000, 0);
    check(u32::MAX, 0);
}

#[test]
fn edns_extends_the_response_code() {
    let check = |rcode: u16, edns: Option<u8>, expected: u16| {
        let draft = Draft {
            edns,
            ..Draft::response(1, "example.com", A, rcode).address("192.0.2.1", 1)
        };
        let bytes = draft.bytes();
        let found = parse(&bytes, |message| message.rcode);
        assert_eq!(found, Ok(expected), "{rcode} {edns:?}");
        // Cut off before it.
        let found = parse(&bytes[..40], |message| message.rcode);
        assert_eq!(found, Ok(rcode));
    };
    check(3, None, 3);
    check(3, Some(0), 3);
    check(0, Some(1), 16);
    check(7, Some(1), 23);
    check(15, Some(255), 4095);
    let query = Draft {
        edns: Some(1),
        ..Draft::query(1, "example.com", A)
    };
    let found = parse(&query.bytes(), |message| message.rcode);
    assert_eq!(found, Ok(0), "of a query it is something else");
}

#[test]
fn flags() {
    let draft = Draft::response(1, "example.com", A, 0).truncated();
    assert_eq!(
        parse(&draft.bytes(), |message| message.is_truncated),
        Ok(true)
    );
    let notify = Draft {
        flags: 4 << 11,
        ..Draft::query(1, "example.com", 6)
    };
    assert_eq!(parse(&notify.bytes(), |message| message.opcode), Ok(4));
}

#[test]
fn names_are_written_so_that_each_dot_separates() {
    let check = |labels: &[&[u8]], expected: &str| {
        let found = name_of(&with_name(wire_labels(labels)));
        assert_eq!(found.as_deref(), Ok(expected), "{labels:?}");
    };
    check(&[], ".");
    check(&[b"com"], "com");
    check(&[b"_http", b"_tcp", b"Local"], "_http._tcp.local");
    check(&[b"a.b", b"c"], r"a\046b.c");
    check(&[br#"quo"te"#, br"back\slash"], r#"quo\"te.back\\slash"#);
    check(&[b"My Printer"], r"my\032printer");
    check(
        &[b"\0\n\x1b\x7f", "\u{e9}".as_bytes()],
        r"\000\010\027\127.\195\169",
    );
    check(&[b"xn--bcher-kva", b"example"], "xn--bcher-kva.example");
}

#[test]
fn the_longest_names() {
    let label = |octet: u8, length: usize| vec![octet; length];
    let longest = |octet: u8, last: usize| {
        let labels = [
            label(octet, 63),
            label(octet, 63),
            label(octet, 63),
            label(octet, last),
        ];
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        with_name(wire_labels(&labels))
    };
    assert_eq!(name_of(&longest(b'a', 61)).map(|name| name.len()), Ok(253));
    let found = name_of(&longest(0, 61)).map(|name| name.len());
    assert_eq!(found, Ok(LONGEST_NAME));
    assert_eq!(name_of(&longest(b'a', 62)), Err(MessageError::BadName));
    // 64 kB of labels.
    let endless = with_name(vec![63; 65_536]);
    assert_eq!(name_of(&endless), Err(MessageError::BadName));
}

#[test]
fn names_that_are_none() {
    let check = |name: &[u8]| {
        let found = name_of(&with_name(name.to_vec()));
        assert_eq!(found, Err(MessageError::BadName), "{name:?}");
    };
    // A pointer to itself, to behind itself, into its own name, and to a pointer to it.
    check(&[0xc0, 12]);
    check(&[0xc0, 20]);
    check(&[1, b'a', 0xc0, 12]);
    check(&[0xff, 0xff]);
    // Kinds of labels that are not in use.
    check(&[0x40, b'a', 0]);
    check(&[0x80, b'a', 0]);
}

#[test]
fn a_name_cut_off_is_an_error_and_records_cut_off_are_not() {
    let draft = Draft::response(1, "example.com", A, 0)
        .address("192.0.2.1", 60)
        .address("192.0.2.2", 60);
    let bytes = draft.bytes();
    let question_end = HEADER_LENGTH + wire_name("example.com").len() + 4;
    for cut in 0..bytes.len() {
        let found = parse(&bytes[..cut], |message| message.answers.count());
        let expected = match cut {
            _ if cut < HEADER_LENGTH => Err(MessageError::TooShort(cut)),
            _ if cut < question_end => Err(MessageError::CutOff),
            _ => Ok((cut - question_end) / 16),
        };
        assert_eq!(found, expected, "{cut}");
    }
}

#[test]
fn counts_need_not_be_true() {
    let mut bytes = Draft::response(1, "example.com", A, 0)
        .address("192.0.2.1", 60)
        .bytes();
    bytes[4..12].fill(0xff);
    // The question is read, and what follows is not taken for 65534 others.
    let found = parse(&bytes, |message| {
        (message.question_count, message.answers.count())
    });
    assert_eq!(found, Ok((65_535, 0)));
    bytes[4..6].copy_from_slice(&[0, 1]);
    assert_eq!(addresses(&bytes), [(ip("192.0.2.1"), 60)]);
    // Fewer than there are.
    bytes[6..8].fill(0);
    assert_eq!(addresses(&bytes), []);
}

#[test]
fn several_questions_and_none() {
    let mut draft = Draft::response(1, "one.example", A, 0).address("192.0.2.1", 60);
    draft.questions.push((wire_name("two.example"), AAAA, 1));
    assert_eq!(name_of(&draft).as_deref(), Ok("one.example"));
    assert_eq!(addresses(&draft.bytes()), [(ip("192.0.2.1"), 60)]);
    draft.questions.clear();
    let found = parse(&draft.bytes(), |message| message.question.is_none());
    assert_eq!(found, Ok(true));
}

#[test]
fn beginnings_of_messages() {
    let check = |draft: &Draft, is_response: bool, expected: bool| {
        let found = may_begin_message(&draft.bytes(), is_response);
        assert_eq!(found, expected, "{draft:?} {is_response}");
    };
    let query = Draft::query(1, "example.com", A);
    check(&query, false, true);
    check(&query, true, false);
    check(&Draft::response(1, "example.com", A, 3), true, true);
    let with_flags = |flags: u16| Draft {
        flags,
        ..query.clone()
    };
    check(&with_flags(0x2800), false, true);
    check(&with_flags(0x3800), false, false);
    check(&with_flags(0x0140), false, false);
    let mut two = query.clone();
    two.questions.extend(query.questions.clone());
    check(&two, false, false);
    assert!(!may_begin_message(&query.bytes()[..5], false));
}

#[test]
fn codes_have_names() {
    let check = |rcode: u16, expected: Option<&str>| {
        assert_eq!(rcode_error_type(rcode), expected, "{rcode}");
    };
    check(0, None);
    check(1, Some("formerr"));
    check(2, Some("servfail"));
    check(3, Some("nxdomain"));
    check(4, Some("notimp"));
    check(5, Some("refused"));
    check(6, Some("_OTHER"));
    check(4095, Some("_OTHER"));
}

#[test]
fn types_have_names() {
    let check = |kind: u16, expected: &str| assert_eq!(type_name(kind), expected);
    for (kind, expected) in [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (12, "PTR"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (35, "NAPTR"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (252, "AXFR"),
        (255, "ANY"),
        (256, "URI"),
        (257, "CAA"),
    ] {
        check(kind, expected);
    }
    check(0, "TYPE0");
    check(123, "TYPE123");
    check(65_305, "TYPE65305");
    check(65_535, "TYPE65535");
}
