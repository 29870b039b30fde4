//! The keys that say which events are exported, and how many.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Rate, Toggle};

/// Which events are exported. `wellhead events` shows all of them, whatever is set here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Export events over OTLP, as log records. A busy node has thousands a second.
    #[schemars(extend("x-default" = "`on` if `otlp.logs.endpoint` is set"))]
    pub export: Option<Toggle>,
    /// Which kinds of events are exported, by their names without `wellhead.` (docs/events.md), such as `process.exit`. An empty list: all of them. Taken up while the agent runs.
    pub kinds: Vec<EventKind>,
    /// Most events per second that one workload exports, on average: ten seconds' worth may come at once. Those that say that something is wrong (WARN, ERROR) are counted apart from the others and may be as many again. What is beyond is counted as a discard (`event_rate`). Taken up while the agent runs.
    pub rate_limit: Rate,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            export: None,
            kinds: Vec::new(),
            rate_limit: Rate::new(100),
        }
    }
}

macro_rules! event_kinds {
    ($(#[doc = $doc:literal] $variant:ident = $name:literal),+ $(,)?) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum EventKind { $(#[doc = $doc] #[serde(rename = $name)] $variant),+ }

        impl EventKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The event's whole name.
            pub const fn event_name(self) -> &'static str {
                match self { $(Self::$variant => concat!("wellhead.", $name)),+ }
            }
        }
    };
}

event_kinds! {
    /// `wellhead.process.exec`
    ProcessExec = "process.exec",
    /// `wellhead.process.fork`
    ProcessFork = "process.fork",
    /// `wellhead.process.exit`
    ProcessExit = "process.exit",
    /// `wellhead.process.oom_kill`
    ProcessOomKill = "process.oom_kill",
    /// `wellhead.container.start`
    ContainerStart = "container.start",
    /// `wellhead.container.exit`
    ContainerExit = "container.exit",
    /// `wellhead.container.crash_loop`
    ContainerCrashLoop = "container.crash_loop",
    /// `wellhead.tcp.connect`
    TcpConnect = "tcp.connect",
    /// `wellhead.tcp.accept`
    TcpAccept = "tcp.accept",
    /// `wellhead.tcp.close`
    TcpClose = "tcp.close",
    /// `wellhead.tcp.connect_failed`
    TcpConnectFailed = "tcp.connect_failed",
    /// `wellhead.dns.lookup`
    DnsLookup = "dns.lookup",
}
