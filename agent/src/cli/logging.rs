//! The agent's own log, on standard error.

mod limit;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt, registry, reload};

use self::limit::Limit;
use crate::config::{Log, LogFormat, LogLevel};
use crate::daemon::OwnLog;
use crate::export::otlp::OwnTelemetry;
use crate::own_span;

/// Changes what is logged, once logging has started.
static SET_LEVEL: OnceLock<Box<dyn Fn(LogLevel) + Send + Sync>> = OnceLock::new();

/// What bounds the log, once logging has started.
static LIMIT: OnceLock<Limit> = OnceLock::new();

/// Starts logging. Other crates speak up only when something is wrong.
pub(super) fn start(log: &Log, own: &OwnTelemetry) {
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = match log.format {
        LogFormat::Text => layer
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let layer = layer.and_then(own.loggers().map(OpenTelemetryTracingBridge::new));
    let limit = Limit::default();
    // A second start in one process (a test) keeps the first.
    if registry()
        .with(layer.with_filter(filter.and(limit.clone())))
        .with(own.tracers().map(spans))
        .try_init()
        .is_ok()
    {
        let set = move |level| drop(handle.reload(targets(level)));
        drop(SET_LEVEL.set(Box::new(set)));
        drop(LIMIT.set(limit));
    }
}

/// Logs at another level from now on.
fn set_level(level: LogLevel) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

/// What whoever runs can do about the log. Until it tells of lines that were left out for the first time, none are.
pub(super) fn own_log() -> OwnLog {
    OwnLog {
        set_level: Box::new(set_level),
        tell_left_out: Box::new(|| LIMIT.get().map_or(0, Limit::tell)),
    }
}

/// Makes the agent's own spans, and nothing else that is traced.
fn spans<S>(tracers: &SdkTracerProvider) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let scope = InstrumentationScope::builder("wellhead")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    tracing_opentelemetry::layer()
        .with_tracer(tracers.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(own_span::TARGET, LevelFilter::INFO))
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The Kubernetes client logs each request that fails as an error, and says less about it than whoever asked then does.
    let kube = if level > LevelFilter::INFO {
        LevelFilter::WARN
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_target("wellhead", level)
        .with_target("kube_client", kube)
        .with_target(own_span::TARGET, LevelFilter::OFF)
        .with_default(level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_speak_up_when_something_is_wrong_and_the_kubernetes_client_when_asked() {
        let check = |level, target, of: Level, expected: bool| {
            let enabled = targets(level).would_enable(target, &of);
            assert_eq!(enabled, expected, "{level:?} {target} {of}");
        };
        let client = "kube_client::client::builder";
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info] {
            check(level, client, Level::ERROR, false);
        }
        for level in [LogLevel::Debug, LogLevel::Trace] {
            check(level, client, Level::ERROR, true);
            check(level, client, Level::INFO, false);
        }
        check(LogLevel::Error, "hyper", Level::WARN, false);
        check(LogLevel::Info, "hyper", Level::WARN, true);
        check(LogLevel::Trace, "hyper", Level::INFO, false);
        check(LogLevel::Info, "wellhead::daemon", Level::INFO, true);
        check(LogLevel::Info, "wellhead::daemon", Level::DEBUG, false);
        check(LogLevel::Trace, "wellhead::daemon", Level::TRACE, true);
    }
}
