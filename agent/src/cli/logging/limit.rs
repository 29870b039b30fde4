//! A limit on the log: what goes wrong in a loop, with a broken receiver say, does not fill the node's disk.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Lines from one place in the code that are written within the window: one for each feature, and some to spare.
const BURST: u32 = 20;

const WINDOW: Duration = Duration::from_secs(10);

/// Where lines come from that sum up others; these are never left out.
const SUMMARY: &str = "wellhead::left_out";

/// Characters of a message that stand for all that were left out.
const EXAMPLE: usize = 120;

/// Counts lines by the place in the code they come from. Not those of the levels `debug` and `trace`: who asks for them wants
/// them all.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_on: AtomicBool,
    left_out: AtomicU64,
    /// As many as there are places in the code.
    sites: Mutex<HashMap<Identifier, Site>>,
}

/// A place in the code that logs.
#[derive(Debug)]
struct Site {
    level: Level,
    window_began: Instant,
    written: u32,
    /// Of this window.
    left_out: u64,
    /// Of windows before.
    due: u64,
    /// The first message that was left out.
    example: String,
}

/// Lines of one place that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    level: Level,
    lines: u64,
    like: String,
}

impl Limit {
    /// Tells of what was left out and is due, and of everything in future.
    pub(super) fn tell(&self) -> u64 {
        self.0.is_on.store(true, Ordering::Relaxed);
        for left_out in self.due(Instant::now()) {
            left_out.tell();
        }
        self.0.left_out.load(Ordering::Relaxed)
    }

    fn admits(
        &self,
        metadata: &Metadata<'_>,
        message: impl FnOnce() -> String,
        now: Instant,
    ) -> bool {
        let is_free = *metadata.level() > Level::INFO || metadata.target() == SUMMARY;
        if is_free || !self.0.is_on.load(Ordering::Relaxed) {
            return true;
        }
        let mut sites = self.0.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites
            .entry(metadata.callsite())
            .or_insert_with(|| Site::new(*metadata.level(), now));
        site.turn(now);
        if site.written < BURST {
            site.written += 1;
            return true;
        }
        if site.left_out + site.due == 0 {
            site.example = message();
        }
        site.left_out += 1;
        self.0.left_out.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// What was left out in windows that are over.
    fn due(&self, now: Instant) -> Vec<LeftOut> {
        let mut sites = self.0.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let told = sites.values_mut().filter_map(|site| {
            site.turn(now);
            let lines = std::mem::take(&mut site.due);
            (lines > 0).then(|| LeftOut {
                level: site.level,
                lines,
                like: site.example.clone(),
            })
        });
        told.collect()
    }
}

impl Site {
    fn new(level: Level, now: Instant) -> Self {
        Self {
            level,
            window_began: now,
            written: 0,
            left_out: 0,
            due: 0,
            example: String::new(),
        }
    }

    /// Begins a new window if this one is over.
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window_began) >= WINDOW {
            self.due += std::mem::take(&mut self.left_out);
            self.written = 0;
            self.window_began = now;
        }
    }
}

impl LeftOut {
    fn tell(&self) {
        let Self { level, lines, like } = self;
        if *level <= Level::WARN {
            tracing::warn!(target: SUMMARY, lines, like, "more of these were left out of the log");
        } else {
            tracing::info!(target: SUMMARY, lines, like, "more of these were left out of the log");
        }
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let message = || Message::of(event);
        self.admits(event.metadata(), message, Instant::now())
    }
}

/// The beginning of an event's message.
#[derive(Default)]
struct Message(String);

impl Message {
    fn of(event: &Event<'_>) -> String {
        let mut message = Self::default();
        event.record(&mut message);
        message.0.chars().take(EXAMPLE).collect()
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{fmt, registry};

    use super::*;

    /// What is written to memory.
    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn count(&self, text: &str) -> usize {
            let all = self.0.lock().unwrap();
            String::from_utf8_lossy(&all).matches(text).count()
        }
    }

    fn logging(limit: &Limit, act: impl FnOnce()) -> Written {
        let written = Written::default();
        let layer = fmt::layer().with_ansi(false).with_writer({
            let written = written.clone();
            move || written.clone()
        });
        with_default(registry().with(layer.with_filter(limit.clone())), act);
        written
    }

    #[test]
    fn each_place_has_its_own_limit_once_there_is_one() {
        let limit = Limit::default();
        let written = logging(&limit, || {
            let log = |times| {
                for number in 0..times {
                    tracing::warn!(number, "the receiver is away");
                }
            };
            log(30);
            assert_eq!(limit.tell(), 0);
            log(25);
            for _ in 0..25 {
                tracing::debug!("everybody wants to know");
            }
            tracing::error!("something else");
            assert_eq!(limit.tell(), 5);
            // Nothing is told of a window that goes on.
            assert_eq!(limit.due(Instant::now()), []);
        });
        assert_eq!(written.count("the receiver is away"), 50);
        assert_eq!(written.count("everybody wants to know"), 25);
        assert_eq!(written.count("something else"), 1);
        assert_eq!(written.count("left out of the log"), 0);
    }

    #[test]
    fn what_was_left_out_is_summed_up_once_its_window_is_over() {
        let limit = Limit::default();
        limit.tell();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let written = logging(&limit, || {
            let log = || tracing::info!(port = 7, "it is {}", "broken");
            (0..BURST + 2).for_each(|_| log());
            let left_out = |lines| LeftOut {
                level: Level::INFO,
                lines,
                like: "it is broken".to_owned(),
            };
            assert_eq!(limit.due(at(5)), []);
            assert_eq!(limit.due(at(11)), [left_out(2)]);
            assert_eq!(limit.due(at(12)), []);
            left_out(2).tell();
            for _ in 0..20 {
                left_out(3).tell();
            }
        });
        assert_eq!(written.count("more of these were left out of the log"), 21);
        assert_eq!(written.count("lines=2 like=\"it is broken\""), 1);
    }

    #[test]
    fn a_flood_that_goes_on_is_told_of_all_the_same() {
        let limit = Limit::default();
        limit.tell();
        let mut site = Site::new(Level::WARN, Instant::now());
        let start = site.window_began;
        for second in 0..25 {
            site.turn(start + Duration::from_secs(second));
            site.left_out += 1;
        }
        assert_eq!((site.due, site.left_out), (20, 5));
    }
}
