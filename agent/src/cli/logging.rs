//! The agent's own log, on standard error.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// Changes what is logged, once logging has started.
static SET_LEVEL: OnceLock<Box<dyn Fn(LogLevel) + Send + Sync>> = OnceLock::new();

/// Starts logging. Other crates speak up only when something is wrong.
pub(super) fn start(log: &Log) {
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = match log.format {
        LogFormat::Text => layer
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    // A second start in one process (a test) keeps the first.
    if registry()
        .with(layer.with_filter(filter))
        .try_init()
        .is_ok()
    {
        let set = move |level| drop(handle.reload(targets(level)));
        drop(SET_LEVEL.set(Box::new(set)));
    }
}

/// Logs at another level from now on.
pub(super) fn set_level(level: LogLevel) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_target("wellhead", level)
        .with_default(level.min(LevelFilter::WARN))
}
