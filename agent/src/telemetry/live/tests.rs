//! What events and spans carry is what the catalogue says: with everything known all of it, with nothing known just
//! what is always there.

use std::collections::BTreeSet;

use wellhead_common::maps::{SignalSeen, Signals};
use wellhead_common::record::Usage;

use super::*;
use crate::config::EventKind;
use crate::counters::Counters;
use crate::events::dns::message::Question;
use crate::events::{
    Event, Exec, Exit, ExitStatus, Fork, HitLimit, OomKill, PathNames, ProcessId, SocketOwner,
    Totals, VictimMemory,
};
use crate::identity::containers::{Before, CrashLoop, End, Ended, LoopSource, Started};
use crate::identity::{OwnerId, Process, ProcessTable, Program};
use crate::telemetry::catalogue::SPAN_EVENTS;
use crate::telemetry::catalogue::{EVENT_ATTRIBUTES, EVENTS, SPANS, Telling};
use crate::telemetry::span::Span;
use crate::telemetry::spans::{
    Place, SpanBuilder,
    startup::{Startups, Step},
};

const ID: ProcessId = ProcessId {
    pid: 7,
    start_ns: 1_000,
};

/// Whether the events made are to have all they can have, or only what they must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Everything,
    Nothing,
}
use Known::{Everything, Nothing};

fn executed(known: Known, is_in_memory: bool) -> Body<'static> {
    let all = known == Everything;
    let text = |text: &'static [u8]| if all { text } else { b"" };
    Body::Exec(Exec {
        process: ID,
        parent: ProcessId {
            pid: 1,
            start_ns: 0,
        },
        own_pid: all.then_some(3),
        comm: b"sh",
        file_name: text(b"/bin/x.sh"),
        interpreter: text(b"/bin/sh"),
        directory: PathNames {
            names: b"",
            is_cut: !all,
        },
        is_in_memory,
        in_user_namespace: all,
        is_unlinked: all,
        arguments: text(b"sh\0-c\0"),
        arguments_truncated: all,
        arguments_unreadable: all,
        ..Exec::default()
    })
}

fn exited(status: ExitStatus, signals: Signals) -> Body<'static> {
    Body::Exit(Exit {
        process: ID,
        parent_pid: 1,
        uid: 0,
        comm: [0; 16],
        status,
        dumped_core: signals != Signals::default(),
        usage: Usage::default(),
        signals,
    })
}

fn sent(signal: u32) -> SignalSeen {
    SignalSeen {
        sent_ns: 2_000,
        signal,
        ..SignalSeen::default()
    }
}

fn connection(known: Known, role: Role) -> Connection {
    let time = (known == Everything).then_some(2_000);
    Connection {
        socket_id: 1,
        netns: 1,
        local: ([127, 0, 0, 1], 40_000).into(),
        remote: ([127, 0, 0, 1], 80).into(),
        role: Some(role),
        owner: (known == Everything).then_some(SocketOwner {
            pid: 7,
            comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
        }),
        started_ns: time,
        established_ns: time,
        older_than_agent: false,
        unmet: false,
        open_lost: false,
        shut_down: false,
    }
}

fn end(known: Known, role: Role) -> ConnectionEnd {
    let all = known == Everything;
    ConnectionEnd {
        connection: connection(known, role),
        totals: Totals {
            srtt_us: all.then_some(10),
            min_rtt_us: all.then_some(9),
            ..Totals::default()
        },
        reported: wellhead_common::maps::Traffic::default(),
        errno: if all { libc::ECONNRESET } else { 0 },
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
    }
}

/// Every kind of event there is.
fn bodies(known: Known) -> Vec<Body<'static>> {
    vec![
        executed(known, false),
        executed(known, known == Everything),
        Body::Fork(Fork {
            child: ID,
            parent: ID,
        }),
        exited(ExitStatus::Code(0), Signals::default()),
        exited(
            ExitStatus::Signal(9),
            match known {
                Everything => Signals {
                    asked: sent(15),
                    forced: sent(9),
                },
                Nothing => Signals::default(),
            },
        ),
        Body::OomKill(OomKill {
            pid: 7,
            memory: (known == Everything).then(VictimMemory::default),
            limit: (known == Everything).then(HitLimit::default),
            ..OomKill::default()
        }),
        Body::TcpOpen(connection(known, Role::Source)),
        Body::TcpOpen(connection(known, Role::Destination)),
        Body::TcpClose(end(known, Role::Source)),
        Body::TcpConnectFailed(end(known, Role::Source)),
    ]
}

fn lookup(known: Known) -> Lookup {
    let all = known == Everything;
    Lookup {
        asked_boot_ns: 1_000,
        took_ns: all.then_some(10),
        cgroup_id: 1,
        socket: 1,
        server: ([127, 0, 0, 53], 53).into(),
        transport: Transport::Udp,
        question: Question {
            name: "example.com".into(),
            kind: 28,
            class: 1,
        },
        end: LookupEnd::Answered {
            rcode: if all { 3 } else { 0 },
            is_truncated: all,
        },
        answers: if all {
            vec![([192, 0, 2, 1].into(), 60)]
        } else {
            Vec::new()
        },
        retry: u32::from(all),
        after_truncation: all,
        is_search_retry: all,
    }
}

/// A name, and keys that were made under it.
type Sample = (String, Vec<&'static str>);

/// Every event of containers, with all there can be known and with the least.
fn of_containers() -> Vec<Sample> {
    let last = |status| End {
        at: 1_000,
        status: Some(status),
        oom_killed: true,
        ran_ns: Some(10),
    };
    let (code, signal) = (ExitStatus::Code(1), ExitStatus::Signal(9));
    let started = Started {
        at: 2_000,
        process: ID,
        executable: "sh".into(),
        made_ns: 1_500,
    };
    let after = |status| Before {
        end: Some(last(status)),
        downtime_ns: Some(10),
        restarts: 1,
    };
    let ended = |known: Known, status| Ended {
        at: 2_000,
        status,
        process: (known == Everything).then_some(ID),
        executable: (known == Everything).then(|| "sh".into()),
        ran_ns: (known == Everything).then_some(10),
        oom_kills: u32::from(known == Everything),
    };
    let found = CrashLoop {
        source: LoopSource::Observed,
        bad_ends: 3,
        last: None,
    };
    let start = |before, count| LiveEvent::of_container_start(&started, &before, count, 0);
    let exit = |known, status| LiveEvent::of_container_exit(&ended(known, status), 0);
    let looping = |last: Option<End>| {
        let count = last.map(|_| 1);
        LiveEvent::of_crash_loop(&found, last.as_ref(), count, 0)
    };
    let events = [
        start(after(code), Some(1)),
        start(after(signal), Some(1)),
        start(Before::default(), None),
        exit(Everything, Some(code)),
        exit(Everything, Some(signal)),
        exit(Nothing, None),
        looping(Some(last(code))),
        looping(Some(last(signal))),
        looping(None),
    ];
    let sample = |event: LiveEvent| {
        let keys = event.attributes.into_iter().map(|(key, _)| key);
        (event.name.to_owned(), keys.collect())
    };
    events.map(sample).into()
}

fn event(body: Body<'_>, process: Option<&Process>, show: fn(&mut LiveEvent)) -> Sample {
    let event = Event {
        boot_ns: 3_000,
        cgroup_id: 1,
        body,
    };
    let reason = Arc::from("NETFILTER_DROP");
    let occurrence = Occurrence {
        event: &event,
        unix_nano: 3_000,
        owner: OwnerId::NODE,
        process,
        backend: None,
        drop_reason: process.map(|_| &reason),
    };
    let mut live = LiveEvent::new(&occurrence, Arguments::Full).expect("an event for users");
    show(&mut live);
    assert!(live.arguments.is_none());
    let keys = live.attributes.into_iter().map(|(key, _)| key);
    (live.name.to_owned(), keys.collect())
}

/// With every span wanted, however short.
fn span(body: Body<'_>, process: &Process) -> Sample {
    let event = Event {
        boot_ns: 3_000,
        cgroup_id: 1,
        body,
    };
    let reason = Arc::from("NETFILTER_DROP");
    let has_failed = matches!(event.body, Body::TcpConnectFailed(_));
    let occurrence = Occurrence {
        event: &event,
        unix_nano: 3_000,
        owner: OwnerId::NODE,
        process: Some(process),
        backend: None,
        drop_reason: has_failed.then_some(&reason),
    };
    let builder = SpanBuilder::new("boot", true, Some(0));
    let place = Place {
        parent: None,
        trace_state: "ot=th:0".into(),
        session: process.path.is_some().then_some("host"),
    };
    let span = builder.span(&occurrence, Some((ID, process)), place);
    sample(span.expect("a span"))
}

fn sample(span: Span) -> Sample {
    // The exporter adds it where nothing else says so.
    let error = span.error.map(|_| "error.type");
    let keys = span.attributes.into_iter().map(|(key, _)| key).chain(error);
    (span.name.to_string(), keys.collect())
}

fn process(path: Option<&str>) -> Process {
    let mut table = ProcessTable::new(4, 0, Arc::new(Counters::default()));
    let parent = ProcessId { pid: 6, ..ID };
    for process in [parent, ID] {
        let exec = Exec {
            process,
            parent,
            permitted: u64::from(process.pid),
            ..Exec::default()
        };
        let program = Program {
            name: "sh".into(),
            path: "/bin/sh".into(),
        };
        table.executed(&exec, 1_500, OwnerId::NODE, program, false);
    }
    let mut process = table.get(ID).expect("alive").clone();
    process.path = path.map(Into::into);
    process.oom_killed = path.is_some();
    process
}

/// The samples of each name have, taken together, all the keys it can have, and have in common those it always has.
fn check(tellings: &[Telling], samples: &[Sample]) {
    let explained: BTreeSet<_> = EVENT_ATTRIBUTES
        .iter()
        .map(|attribute| attribute.key)
        .collect();
    let names: BTreeSet<_> = tellings.iter().map(|telling| telling.name).collect();
    let made: BTreeSet<_> = samples.iter().map(|(name, _)| &**name).collect();
    assert_eq!(made, names);
    for telling in tellings {
        let name = telling.name;
        let mut all = BTreeSet::new();
        let mut common: Option<BTreeSet<&str>> = None;
        for (_, keys) in samples.iter().filter(|(made, _)| made == name) {
            let unique: BTreeSet<_> = keys.iter().copied().collect();
            assert_eq!(unique.len(), keys.len(), "{name}: {keys:?}");
            common = Some(common.map_or_else(|| unique.clone(), |common| &common & &unique));
            all.extend(unique);
        }
        let always: BTreeSet<_> = telling.always.iter().copied().collect();
        let sometimes = telling.sometimes.iter().copied();
        assert_eq!(common.as_ref(), Some(&always), "always in {name}");
        assert_eq!(all, sometimes.chain(always).collect(), "keys of {name}");
        assert!(all.is_subset(&explained), "{name}: {all:?}");
    }
}

#[test]
fn events_are_as_catalogued() {
    let known = process(Some("/bin/sh"));
    let of = |known, process, show| {
        let bodies = bodies(known).into_iter();
        bodies.map(move |body| event(body, process, show))
    };
    let all = of(Everything, Some(&known), LiveEvent::show_arguments);
    let withheld = of(Everything, Some(&known), LiveEvent::withhold_arguments);
    let least = of(Nothing, None, LiveEvent::show_arguments);
    let lookups = [lookup(Everything), lookup(Nothing)].map(|lookup| {
        let event = LiveEvent::of_lookup(&lookup, 0);
        let keys = event.attributes.into_iter().map(|(key, _)| key);
        (event.name.to_owned(), keys.collect())
    });
    let others = lookups.into_iter().chain(of_containers());
    check(
        EVENTS,
        &all.chain(withheld)
            .chain(least)
            .chain(others)
            .collect::<Vec<_>>(),
    );
}

/// Starts of containers: one that came to everything, one that came to nothing and failed.
fn starts() -> Vec<Sample> {
    let builder = SpanBuilder::new("boot", true, None);
    let mut startups = Startups::default();
    let mut samples = Vec::new();
    startups.made(OwnerId(1), 1, Some("uid".into()), 1_000);
    startups.made(OwnerId(2), 2, None, 1_000);
    startups.stepped(OwnerId(2), Step::Exec, Some(ID), 1_000);
    for step in [Step::Exec, Step::Listen, Step::Accept] {
        startups.stepped(OwnerId(1), step, None, 1_000);
    }
    let failed = startups.exited(OwnerId(2), ID, ExitStatus::Code(1), 2_000);
    startups.made(OwnerId(2), 3, None, 1_000);
    let removed = startups.removed(3, 2_000);
    startups.pod_became_ready("uid", 2_000, 2_000);
    let ready = startups.next_ready(u64::MAX);
    for ended in failed.into_iter().chain(removed).chain(ready) {
        let spans = ended.spans(&builder, |boot_ns| boot_ns);
        let named =
            |span: &Span| ["container start-up", "cgroup to first exec"].contains(&&*span.name);
        samples.extend(spans.into_iter().filter(named).map(sample));
    }
    samples
}

#[test]
fn spans_are_as_catalogued() {
    let begun = |known, role| {
        let mut end = end(known, role);
        end.connection.started_ns = Some(2_000);
        end
    };
    let failed = Body::TcpConnectFailed(begun(Nothing, Role::Source));
    let half_known = ConnectionEnd {
        reported: wellhead_common::maps::Traffic::default(),
        // Nobody knows where to look.
        errno: libc::EPROTO,
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
        ..begun(Nothing, Role::Destination)
    };
    let slow = ConnectionEnd {
        reported: wellhead_common::maps::Traffic::default(),
        errno: 0,
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
        ..begun(Everything, Role::Source)
    };
    let mut samples = vec![
        span(
            exited(ExitStatus::Code(0), Signals::default()),
            &process(None),
        ),
        span(
            exited(ExitStatus::Code(1), Signals::default()),
            &process(Some("/bin/sh")),
        ),
        span(
            exited(
                ExitStatus::Signal(9),
                Signals {
                    asked: sent(15),
                    forced: sent(9),
                },
            ),
            &process(Some("/bin/sh")),
        ),
        span(
            Body::TcpClose(end(Everything, Role::Destination)),
            &process(None),
        ),
        span(Body::TcpClose(half_known), &process(None)),
        span(Body::TcpClose(slow), &process(None)),
        span(failed, &process(None)),
    ];
    samples.extend(starts());
    // In the catalogue, the spans of processes go by the attribute they are named after.
    for (name, _) in &mut samples {
        if name == "sh" {
            *name = "process.executable.name".to_owned();
        }
    }
    check(SPANS, &samples);
}

#[test]
fn attributes_are_explained_once_and_in_key_order() {
    assert!(EVENT_ATTRIBUTES.is_sorted_by(|a, b| a.key < b.key));
    let used: BTreeSet<_> = EVENTS
        .iter()
        .chain(SPANS)
        .chain(SPAN_EVENTS)
        .flat_map(|telling| telling.always.iter().chain(telling.sometimes))
        .collect();
    let explained: BTreeSet<_> = EVENT_ATTRIBUTES
        .iter()
        .map(|attribute| &attribute.key)
        .collect();
    assert_eq!(used, explained);
}

#[test]
fn every_event_can_be_asked_for() {
    let known: Vec<_> = EVENTS.iter().map(|event| event.name).collect();
    let asked: Vec<_> = EventKind::ALL
        .iter()
        .map(|kind| kind.event_name())
        .collect();
    assert_eq!(known, asked);
    for kind in EventKind::ALL {
        let name = serde_json::to_value(kind).unwrap();
        assert_eq!(
            format!("wellhead.{}", name.as_str().unwrap()),
            kind.event_name()
        );
    }
}
