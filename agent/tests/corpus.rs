//! The recordings in `corpus/`, replayed: the same telemetry every time, and what was expected of it.
//!
//! `pod.wellrec` is what a container of a pod did in the kernel tests: `WELLHEAD_TEST_CORPUS=FILE` has the one called
//! `recording_replays_to_the_same` keep its own.

use std::path::Path;
use std::sync::Arc;

use wellhead::config::Config;
use wellhead::counters::{Counters, Discard};
use wellhead::daemon::Settings;
use wellhead::daemon::pipeline::Replay;
use wellhead::export::otlp::metric_requests;
use wellhead::export::prometheus::negotiation::Format;
use wellhead::export::prometheus::page::{Page, Scope};
use wellhead::recording::Recording;

/// What one replay came to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// `/metrics`, without what the agent tells of itself.
    page: String,
    /// The same as OTLP requests.
    requests: Vec<Vec<u8>>,
    records: u64,
    lost: u64,
}

fn replay(name: &str) -> Told {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut recording = Recording::open(&directory.join(name)).expect("a recording");
    let start = recording.start().clone();
    let settings = Settings::of_recording(&Config::default(), &start).expect("the defaults");
    let counters = Arc::<Counters>::default();
    let mut replay = Replay::new(
        &start,
        &settings,
        Arc::clone(&counters),
        (None, None),
        Arc::default(),
    );
    replay
        .take_in_all(&mut recording)
        .expect("a whole recording");
    let replayed = replay.replayed();
    assert!(replayed.ended && replayed.damage.is_none(), "{replayed:?}");
    let records = replayed.records;
    let snapshot = Arc::new(replay.read().into_snapshot().of_workloads());
    let mut page = String::new();
    Page::new(
        Format::OpenMetrics,
        Scope::Left,
        Arc::clone(&snapshot),
        Vec::new(),
    )
    .write(&mut page, usize::MAX)
    .expect("memory");
    Told {
        page,
        requests: metric_requests(snapshot)
            .map(|request| request.to_vec())
            .collect(),
        records,
        lost: counters.discards(Discard::RingNetworkFull),
    }
}

#[test]
fn a_pod_is_told_of_as_it_was() {
    let first = replay("pod.wellrec");
    assert_eq!(first, replay("pod.wellrec"));
    // Buckets follow from the same as sums and counts, and would be most of it.
    let lines = first.page.lines().filter(|line| !line.contains("_bucket{"));
    let text = lines
        .map(|line| format!("{line}\n"))
        .collect::<Vec<_>>()
        .concat();
    expect_test::expect_file!["corpus/pod.metrics.txt"].assert_eq(&text);
    expect_test::expect!["3687 2230"].assert_eq(&format!("{} {}", first.records, first.lost));
}
