//! What is exported of the recording of a pod, with a limit and without.

use std::path::Path;

use super::*;
use crate::config::load;
use crate::counters::Discard;
use crate::telemetry::live::Severity;

/// What was exported, and how many events were left out.
#[derive(Debug, PartialEq, Eq)]
struct Exported {
    events: Vec<(u64, &'static str, Severity)>,
    left_out: u64,
}

impl Exported {
    fn with(rate_limit: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pod.wellrec");
        let mut recording = Recording::open(&path).expect("a recording");
        let start = recording.start().clone();
        let sets = [("events.rate_limit".to_owned(), rate_limit.to_owned())];
        let config = load(None, [("", ""); 0], &sets).expect("settings").config;
        let settings = Settings::of_recording(&config, &start).expect("settings");
        let (counters, exports) = (Arc::<Counters>::default(), Arc::<ExportStats>::default());
        let logs = Queue::new(usize::MAX, Arc::clone(&counters), Arc::clone(&exports));
        let finished = (None, Some(logs.clone()));
        let mut replay = Replay::new(&start, &settings, Arc::clone(&counters), finished, exports);
        replay.take_in_all(&mut recording).expect("all of it");
        let mut events = Vec::new();
        loop {
            let some: Vec<OwnedEvent> = logs.take();
            if some.is_empty() {
                break;
            }
            events.extend(some.into_iter().map(|OwnedEvent { event, .. }| {
                (event.time_unix_nano, event.name, event.severity)
            }));
        }
        Self {
            events,
            left_out: counters.discards(Discard::PolicyEventRate),
        }
    }

    fn severe(&self) -> usize {
        let severe = self.events.iter();
        severe
            .filter(|(.., severity)| *severity != Severity::Info)
            .count()
    }
}

#[test]
fn a_limit_leaves_out_the_same_events_every_time() {
    let all = Exported::with("off");
    assert_eq!(all.left_out, 0);
    let limited = Exported::with("1");
    assert_eq!(
        limited.events.len() as u64 + limited.left_out,
        all.events.len() as u64
    );
    assert_eq!(limited, Exported::with("1"));
    // Of the only workload, ten at once and one a second; and apart from these as many that tell of something wrong.
    assert!(all.events.len() > 2_000, "{}", all.events.len());
    let (ordinary, severe) = (limited.events.len() - limited.severe(), limited.severe());
    assert!((10..15).contains(&ordinary), "{ordinary}");
    assert!(all.severe() >= 10 && severe >= 10, "{severe}");
}
