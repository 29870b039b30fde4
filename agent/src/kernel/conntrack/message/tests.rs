use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::conntrack::Status;
use proptest::prelude::*;

use super::*;

const NUMBER: u32 = 7;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;

fn direction(transport: Transport, source: &str, destination: &str) -> Direction {
    let end = |text: &str| text.parse().expect("an address and a port");
    Direction::new(transport, end(source), end(destination)).expect("of one family")
}

fn tuples(direction: Direction) -> Vec<Tuple> {
    let [source, destination] = [direction.source, direction.destination];
    vec![
        Tuple::Ip(vec![
            IPTuple::SourceAddress(source.ip()),
            IPTuple::DestinationAddress(destination.ip()),
        ]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(direction.transport.protocol()),
            ProtoTuple::SourcePort(source.port()),
            ProtoTuple::DestinationPort(destination.port()),
        ]),
    ]
}

/// What the kernel sends of an entry: more than is read.
fn told(entry: Entry) -> Vec<u8> {
    let attributes = vec![
        ConntrackAttribute::CtaTupleOrig(tuples(entry.original)),
        ConntrackAttribute::CtaTupleReply(tuples(entry.reply)),
        ConntrackAttribute::CtaStatus(Status::Confirmed | Status::DstNat),
        ConntrackAttribute::CtaTimeout(431_999),
        // CTA_ID
        ConntrackAttribute::Other(DefaultNla::new(12, vec![1, 2, 3, 4])),
    ];
    message(ConntrackMessage::New(attributes))
}

fn message(message: ConntrackMessage) -> Vec<u8> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let payload = NetlinkPayload::from(NetfilterMessage::new(header, message));
    let mut header = NetlinkHeader::default();
    header.sequence_number = NUMBER;
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// A message of a type every netlink family has.
fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut bytes = vec![0; length];
    let mut message = NetlinkBuffer::new(&mut bytes);
    message.set_length(u32::try_from(length).expect("short"));
    message.set_message_type(kind);
    message.set_sequence_number(NUMBER);
    message.payload_mut().copy_from_slice(payload);
    bytes
}

fn error(code: i32) -> Vec<u8> {
    // Its number and the header of the question.
    control(NLMSG_ERROR, &[&code.to_ne_bytes()[..], &[0; 16]].concat())
}

fn service() -> Entry {
    Entry {
        original: direction(Transport::Tcp, "10.2.0.2:40000", "10.96.0.10:80"),
        reply: direction(Transport::Tcp, "10.1.0.1:8080", "10.2.0.2:40000"),
    }
}

#[test]
fn a_question_is_as_the_kernel_reads_it() {
    let asked = direction(Transport::Tcp, "10.2.0.2:40000", "[::ffff:10.96.0.10]:80");
    #[rustfmt::skip]
    let expected = [
        // Length, IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST, number, port
        72, 0, 0, 0, 1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        // AF_INET, version, resource
        2, 0, 0, 0,
        // CTA_TUPLE_ORIG, nested
        52, 0, 1, 128,
            // CTA_TUPLE_IP: CTA_IP_V4_SRC, CTA_IP_V4_DST
            20, 0, 1, 128,
                8, 0, 1, 0, 10, 2, 0, 2,
                8, 0, 2, 0, 10, 96, 0, 10,
            // CTA_TUPLE_PROTO: CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
            28, 0, 2, 128,
                5, 0, 1, 0, 6, 0, 0, 0,
                6, 0, 2, 0, 0x9c, 0x40, 0, 0,
                6, 0, 3, 0, 0, 80, 0, 0,
    ];
    assert_eq!(question(NUMBER, asked), expected);
}

#[test]
fn only_what_packets_can_have_is_asked() {
    let check = |local: &str, remote: &str, expected: Option<[&str; 2]>| {
        let end = |text: &str| text.parse().expect("an address and a port");
        let direction = Direction::new(Transport::Udp, end(local), end(remote));
        let ends = direction.map(|direction| [direction.source, direction.destination]);
        assert_eq!(ends, expected.map(|ends| ends.map(end)), "{local} {remote}");
    };
    check(
        "10.0.0.1:1",
        "10.0.0.2:2",
        Some(["10.0.0.1:1", "10.0.0.2:2"]),
    );
    check(
        "[::ffff:10.0.0.1]:1",
        "[::ffff:10.0.0.2]:2",
        Some(["10.0.0.1:1", "10.0.0.2:2"]),
    );
    check(
        "[fe80::1%3]:1",
        "[fe80::2]:2",
        Some(["[fe80::1]:1", "[fe80::2]:2"]),
    );
    check("10.0.0.1:1", "[fd00::2]:2", None);
    check("[::1]:1", "[::ffff:10.0.0.2]:2", None);
}

#[test]
fn an_entry_is_read() {
    let check = |entry: Entry| {
        let read = answer(&told(entry), NUMBER).expect("whole");
        assert_eq!(read, Answer::Entry(entry));
        let other = answer(&told(entry), NUMBER + 1).expect("whole");
        assert_eq!(other, Answer::Other);
    };
    check(service());
    check(Entry {
        original: direction(Transport::Udp, "[fd00::2]:40000", "[fd00:96::a]:53"),
        reply: direction(Transport::Udp, "[fd00::1]:5353", "[fd00::2]:40000"),
    });
}

#[test]
fn errors_are_told_apart() {
    let check = |bytes: &[u8], expected: &str| {
        let said = match answer(bytes, NUMBER) {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{said:?}: {expected:?}");
    };
    check(&error(-libc::ENOENT), "None");
    check(&error(0), "Other");
    check(&error(-libc::EPERM), "CAP_NET_ADMIN");
    check(&error(-libc::EINVAL), "nf_conntrack_netlink");
    check(&error(-libc::ENOMEM), "os error 12");
    check(&error(i32::MIN), "os error");
    check(&control(NLMSG_ERROR, &[0; 3]), "makes no sense");
    check(&control(NLMSG_NOOP, &[]), "neither");
    check(&control(3, &[0; 4]), "neither");
    check(
        &message(ConntrackMessage::New(vec![])),
        "without its addresses",
    );
    check(&message(ConntrackMessage::Delete(vec![])), "neither");
    let half = ConntrackAttribute::CtaTupleOrig(tuples(service().original));
    check(
        &message(ConntrackMessage::New(vec![half])),
        "without its addresses",
    );
    let mut icmp = told(service());
    // The protocol of the first tuple.
    let at = 16 + 4 + 4 + 4 + 16 + 4 + 4;
    assert_eq!(icmp[at], 6);
    icmp[at] = 1;
    check(&icmp, "without its addresses");
    check(&[], "makes no sense");
    check(&told(service())[..60], "makes no sense");
}

prop_compose! {
    fn any_direction()(
        is_tcp in any::<bool>(),
        is_ipv4 in any::<bool>(),
        ends in any::<([u16; 8], u16, [u16; 8], u16)>(),
    ) -> Direction {
        let address = |parts: [u16; 8]| {
            if is_ipv4 {
                let bytes = parts.map(|part| part.to_be_bytes()[0]);
                IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])
            } else {
                IpAddr::from(parts)
            }
        };
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        let source = SocketAddr::new(address(ends.0), ends.1);
        let destination = SocketAddr::new(address(ends.2), ends.3);
        // A random address that is an IPv4 address in disguise is too rare to be met.
        Direction::new(transport, source, destination).expect("of one family")
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        _ = answer(&bytes, NUMBER);
    }

    #[test]
    fn any_payload_is_read(
        kind in prop_oneof![Just(0x100_u16), Just(0x101), Just(2), any::<u16>()],
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        _ = answer(&control(kind, &payload), NUMBER);
    }

    #[test]
    fn every_entry_is_read_back(original in any_direction(), reply in any_direction()) {
        let entry = Entry { original, reply };
        prop_assert_eq!(answer(&told(entry), NUMBER).expect("whole"), Answer::Entry(entry));
    }

    #[test]
    fn every_question_is_read_back(asked in any_direction()) {
        let bytes = question(NUMBER, asked);
        let read = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes).expect("whole");
        let NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(ConntrackMessage::Get(attributes)),
            ..
        }) = read.payload else {
            panic!("{read:?}");
        };
        let [ConntrackAttribute::CtaTupleOrig(tuples)] = &attributes[..] else {
            panic!("{attributes:?}");
        };
        prop_assert_eq!(Direction::of(tuples), Some(asked));
    }

    #[test]
    fn a_damaged_entry_is_an_error_or_another_entry(
        cut in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let whole = told(service());
        let mut bytes = whole.clone();
        bytes.truncate(cut.index(whole.len()));
        prop_assert!(answer(&bytes, NUMBER).is_err(), "cut");
        let mut bytes = whole;
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        _ = answer(&bytes, NUMBER);
    }
}
