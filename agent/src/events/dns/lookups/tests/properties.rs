//! What holds for any packets.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CAPACITY: usize = 6;
const NAMES: [&str; 4] = ["db", "db.local", "db.svc.local", "www.example.com"];
const SERVERS: [&str; 3] = ["10.96.0.10:53", "10.0.0.5:53", "[2001:db8::53]:53"];

/// One message of few possible, so that many have something to do with each other.
#[derive(Clone, Debug)]
struct Step {
    pause_ms: u64,
    socket: u64,
    is_tcp: bool,
    is_response: bool,
    id: u16,
    name: usize,
    server: usize,
    rcode: u16,
    is_truncated: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let what = (0..3u16, 0..NAMES.len(), 0..SERVERS.len(), 0..4u16);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0..1_500u64, 1..3u64, what, flags).prop_map(
        |(pause_ms, socket, (id, name, server, rcode), (is_tcp, is_response, is_truncated))| Step {
            pause_ms,
            socket,
            is_tcp,
            is_response,
            id,
            name,
            server,
            rcode,
            is_truncated,
        },
    )
}

impl Step {
    fn draft(&self) -> Draft {
        let name = NAMES[self.name];
        if !self.is_response {
            return ask(self.id, name);
        }
        let response = Draft::response(self.id, name, A, self.rcode).address("192.0.2.1", 1);
        if self.is_truncated {
            response.truncated()
        } else {
            response
        }
    }

    fn take_in(&self, watch: &mut Watch, boot_ns: u64) {
        let draft = self.draft();
        let (transport, bytes) = if self.is_tcp {
            (Transport::Tcp, draft.framed())
        } else {
            (Transport::Udp, draft.bytes())
        };
        watch.takes_in(&Packet {
            boot_ns,
            socket: self.socket,
            is_egress: !self.is_response,
            transport,
            remote: address(SERVERS[self.server]),
            ..packet(&bytes)
        });
    }
}

proptest! {
    #[test]
    fn each_query_ends_once_and_each_message_counts(steps in vec(step(), 0..80)) {
        let mut watch = Watch::new(CAPACITY);
        let mut now_ms = 0;
        let mut asked = Vec::new();
        for step in &steps {
            // No two at the same time, so that a look-up is known by it.
            now_ms += 1 + step.pause_ms;
            let before = (watch.ignored.len(), watch.ended.len());
            step.take_in(&mut watch, now_ms * MS);
            let ignored = watch.ignored.len() - before.0;
            prop_assert!(ignored <= 1);
            if step.is_response {
                let ended = watch.ended[before.1..].iter();
                let answered = ended.filter(|lookup| lookup.took_ns.is_some()).count();
                prop_assert_eq!(answered + ignored, 1);
            } else if ignored == 0 {
                asked.push(now_ms * MS);
            }
            prop_assert!(watch.lookups.waiting() <= CAPACITY);
            prop_assert_eq!(asked.len(), watch.ended.len() + watch.lookups.waiting());
        }
        watch.waits_until(now_ms + 5_000);
        let mut ended: Vec<u64> = watch.ended.iter().map(|lookup| lookup.asked_boot_ns).collect();
        ended.sort_unstable();
        prop_assert_eq!(ended, asked);
        for lookup in &watch.ended {
            let is_answered = matches!(lookup.end, LookupEnd::Answered { .. });
            prop_assert_eq!(lookup.took_ns.is_some(), is_answered);
            prop_assert!(lookup.took_ns.is_none_or(|took| took < TIMEOUT_NS));
        }
    }

    /// Any octets, as any packets, at any time.
    #[test]
    fn any_packets(
        packets in vec((any::<u64>(), 0..2u64, any::<[bool; 3]>(), any::<u32>(), vec(any::<u8>(), 0..60)), 0..30),
    ) {
        let mut watch = Watch::new(CAPACITY);
        for (boot_ns, socket, [is_egress, is_tcp, is_long], length, payload) in &packets {
            let short = u32::try_from(payload.len()).unwrap();
            watch.takes_in(&Packet {
                boot_ns: *boot_ns,
                socket: *socket,
                is_egress: *is_egress,
                transport: if *is_tcp { Transport::Tcp } else { Transport::Udp },
                length: if *is_long { *length } else { short },
                ..packet(payload)
            });
            prop_assert!(watch.lookups.waiting() <= CAPACITY);
        }
    }

    /// However a stream is cut into segments, no message is made up, and each is seen or told to be split.
    #[test]
    fn any_segments(cuts in vec(1usize..60, 0..40)) {
        let drafts: Vec<Draft> = (0..8).map(|id| ask(id, NAMES[usize::from(id) % 4])).collect();
        let stream: Vec<u8> = drafts.iter().flat_map(Draft::framed).collect();
        let mut watch = Watch::new(100);
        let mut rest = &*stream;
        for cut in cuts.into_iter().chain([stream.len()]) {
            let (segment, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            watch.takes_in(&Packet { transport: Transport::Tcp, ..packet(segment) });
        }
        prop_assert!(watch.ignored.iter().all(|reason| *reason == Ignored::Split));
        prop_assert_eq!(watch.ignored.len() + watch.lookups.waiting(), drafts.len());
    }
}
