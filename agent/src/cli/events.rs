//! `wellhead events`.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use futures::{FutureExt as _, StreamExt as _};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::exit::{Exit, Failure};
use super::socket::{self, SocketError};
use super::{Options, Threads, block_on, complain, not_printed};
use crate::admin::EventQuery;
use crate::causes::chain;
use crate::config::Config;
use crate::counters::{Counters, ExportStats};
use crate::daemon::pipeline::Inputs;
use crate::daemon::{Capture, DaemonError, Settings, connect_to_cluster, socket_path, watch_pods};
use crate::export::console::EventLines;
use crate::export::live::{EventFilter, Subscription};
use crate::supervised::Tasks;
use crate::telemetry::handle::SnapshotHandle;

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only events of this kind, such as `exec`, `tcp.close` or `wellhead.tcp.close`; may be repeated. An unknown one shows which there are
    #[arg(long, value_name = "KIND", value_parser = NonEmptyStringValueParser::new())]
    kind: Vec<String>,
    /// Only events of pods in this namespace, or in namespaces of this pattern, such as `team-*`
    #[arg(long, value_name = "NS", value_parser = NonEmptyStringValueParser::new())]
    namespace: Option<String>,
    /// Only events of this pod
    #[arg(long, value_name = "NS/NAME", value_parser = NonEmptyStringValueParser::new())]
    pod: Option<String>,
    /// Only events of programs of this name (`process.executable.name`), or of names of this pattern, such as `python*`
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    executable: Option<String>,
    /// Only exits of this kind: `failed` (a code other than 0, or a signal), a code such as `137`, or a signal such as `SIGKILL` or `KILL`
    #[arg(long, value_name = "STATUS", value_parser = NonEmptyStringValueParser::new())]
    exit: Option<String>,
    /// How to print them
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Output::Json)]
    output: Output,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after this time, such as `10s`
    #[arg(long, value_name = "DURATION")]
    duration: Option<crate::config::Duration>,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object a line
    Json,
    /// Lines for people, with times of the local time zone
    Columns,
}

impl Events {
    fn query(&self) -> EventQuery {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        EventQuery {
            kind: self.kind.join(","),
            namespace: text(&self.namespace),
            pod: text(&self.pod),
            executable: text(&self.executable),
            exit: text(&self.exit),
        }
    }
}

pub(super) fn execute(options: &Options, events: &Events) -> Result<Exit, Failure> {
    let loaded = options.load()?;
    let query = events.query();
    let filter = query.filter().map_err(|error| Failure {
        exit: Exit::Usage,
        message: error.to_string(),
    })?;
    block_on(&Threads::BESIDE_CAPTURE, async {
        let printer = Printer::new(events.output, events.count);
        let print = print_events(&loaded.config, &query, filter, printer);
        let deadline = async {
            match events.duration {
                Some(duration) => tokio::time::sleep(duration.get()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = print => result,
            () = deadline => Ok(Exit::Success),
            _ = tokio::signal::ctrl_c() => Ok(Exit::Success),
        }
    })
}

async fn print_events(
    config: &Config,
    query: &EventQuery,
    filter: EventFilter,
    mut printer: Printer,
) -> Result<Exit, Failure> {
    let path = socket_path(&config.runtime_directory);
    match from_daemon(&path, query, &mut printer).await {
        Err(SocketError::Absent(_)) => {
            let path = path.display();
            complain(&format!(
                "no agent answers at {path}: captures with programs of its own\n"
            ));
            from_own_probes(config, filter, &mut printer).await?;
        }
        Ok(()) => {}
        Err(error) => {
            let exit = match error {
                SocketError::Denied(_) => Exit::NotPermitted,
                _ => Exit::Unavailable,
            };
            return Err(Failure {
                exit,
                message: chain(&error),
            });
        }
    }
    not_printed(printer.written).map(|()| Exit::Success)
}

/// Lines as the running daemon sends them.
async fn from_daemon(
    path: &Path,
    query: &EventQuery,
    printer: &mut Printer,
) -> Result<(), SocketError> {
    let answer = socket::get(path, &query.path_and_query()).await?;
    let mut chunks = socket::chunks(answer);
    let mut rest = VecDeque::new();
    while let Some(chunk) = chunks.next().await {
        rest.extend(chunk?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if printer.print(&line).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Lines from programs attached for this command alone.
async fn from_own_probes(
    config: &Config,
    filter: EventFilter,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut settings = Settings::new(config).map_err(DaemonError::from)?;
    // What a daemon left in the kernel is the next daemon's.
    settings.probes.pin_directory = None;
    let tasks = Tasks::default();
    let client = connect_to_cluster(&settings).await?;
    let pods = watch_pods(client.as_ref(), config, &settings, &tasks);
    let (_snapshots, requests) = SnapshotHandle::channel(1);
    let (subscriptions, subscribers) = mpsc::channel(1);
    let (subscription, mut lines) = Subscription::new(filter);
    let inputs = Inputs {
        snapshots: requests,
        facts: None,
        changes: None,
        subscriptions: subscribers,
        pods,
        cluster: None,
        cluster_watches: None,
        spans: None,
        logs: None,
        exports: Arc::new(ExportStats::default()),
        recorder: None,
    };
    // There is room for one, and this is the first.
    drop(subscriptions.try_send(subscription));
    let capture = Capture::start(&settings, Arc::new(Counters::default()), inputs, &tasks)?;
    capture.log_problems();
    while let Some(line) = lines.recv().await {
        if printer.print(format!("{line}\n").as_bytes()).is_break() {
            break;
        }
    }
    capture.stop().await;
    let died = tasks.death().now_or_never();
    died.map_or(Ok(()), |died| Err(DaemonError::from(died).into()))
}

/// Prints until enough was printed, or nobody reads.
struct Printer {
    left: Option<u64>,
    columns: Option<EventLines>,
    written: io::Result<()>,
}

impl Printer {
    fn new(output: Output, count: Option<u64>) -> Self {
        Self {
            left: count,
            columns: match output {
                Output::Json => None,
                Output::Columns => Some(EventLines::new(TimeZone::system())),
            },
            written: Ok(()),
        }
    }

    fn print(&mut self, line: &[u8]) -> std::ops::ControlFlow<()> {
        if self.left == Some(0) {
            return std::ops::ControlFlow::Break(());
        }
        let columns = self.columns.as_mut().map(|columns| columns.line(line));
        let line = columns.as_ref().map_or(line, String::as_bytes);
        self.written = io::stdout().lock().write_all(line);
        if self.written.is_err() {
            return std::ops::ControlFlow::Break(());
        }
        match &mut self.left {
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    std::ops::ControlFlow::Break(())
                } else {
                    std::ops::ControlFlow::Continue(())
                }
            }
            None => std::ops::ControlFlow::Continue(()),
        }
    }
}
