//! The command line: what users can ask for, and how each answer ends.

mod config;
mod doctor;
mod events;
mod exit;
mod files;
mod logging;
mod record;
mod replay;
mod resolver;
mod run;
mod socket;
mod uninstall;

use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::exit::{Exit, Failure};
use crate::config::Loaded;
use crate::export::otlp::OwnTelemetry;

/// Node telemetry from the kernel's own events, for OpenTelemetry and Prometheus.
#[derive(Debug, Parser)]
#[command(name = "wellhead", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Options {
    /// Configuration file (YAML); `WELLHEAD_CONFIG` names one as well
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one configuration key, such as `--set log.level=debug`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture, identify and export until SIGTERM or SIGINT
    Run,
    /// Show what can be captured on this machine and what is in the way
    Doctor(doctor::Doctor),
    /// Print live events, as JSON lines or for people
    Events(events::Events),
    /// Write what the kernel tells into a file, with whatever else a replay needs
    Record(record::Record),
    /// Make of a recording what the agent would have made: metrics, spans, events; takes no privileges
    Replay(replay::Replay),
    /// Check, print or describe the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Watch the cluster once and tell agents what has which address, until SIGTERM or SIGINT
    Resolver,
    /// Remove whatever an agent may have left on this machine
    Uninstall,
}

impl Cli {
    /// Does what was asked for.
    pub fn execute(self) -> ExitCode {
        let Self { options, command } = self;
        let result = match command {
            Command::Run => run::execute(&options),
            Command::Doctor(doctor) => doctor::execute(&options, &doctor),
            Command::Events(events) => events::execute(&options, &events),
            Command::Record(record) => record::execute(&options, &record),
            Command::Replay(replay) => replay::execute(&options, &replay),
            Command::Config(command) => config::execute(&options, &command),
            Command::Resolver => resolver::execute(&options),
            Command::Uninstall => uninstall::execute(&options),
        };
        end(result)
    }
}

fn end(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&format!("wellhead: {}\n", failure.message));
            failure.exit.into()
        }
    }
}

/// Help and version end well; any other complaint about the command line is a usage error.
pub fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if error.use_stderr() {
        // If nobody can read it, the exit code still tells.
        return Exit::Usage.into();
    }
    end(not_printed(printed).map(|()| Exit::Success))
}

impl Options {
    /// Reads the configuration and starts logging as it says.
    fn load(&self) -> Result<Loaded, Failure> {
        let loaded = self.load_quietly()?;
        Self::start_logging(&loaded, &OwnTelemetry::default());
        Ok(loaded)
    }

    /// Starts logging, also to where the agent's own telemetry goes.
    fn start_logging(loaded: &Loaded, own: &OwnTelemetry) {
        logging::start(&loaded.config.log, own);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Reads the configuration for a command that tells about it, and says what was ignored.
    fn load_unlogged(&self) -> Result<Loaded, Failure> {
        let loaded = self.load_quietly()?;
        for warning in &loaded.warnings {
            complain(&format!("warning: {warning}\n"));
        }
        Ok(loaded)
    }

    /// Reads the configuration and nothing more.
    fn load_quietly(&self) -> Result<Loaded, Failure> {
        let loaded = crate::config::load(self.config.as_deref(), std::env::vars_os(), &self.set);
        loaded.map_err(|error| Failure::configuration(&error))
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

/// The threads of a command: how many run tasks, and what all of them are called.
struct Threads {
    name: &'static str,
    workers: usize,
}

impl Threads {
    /// For a daemon or command that captures: the pipeline has threads of its own, and the rest mostly waits.
    const BESIDE_CAPTURE: Self = Self {
        name: "wellhead-export",
        workers: 1,
    };
    /// For everything else.
    const COMMAND: Self = Self {
        name: "wellhead",
        workers: 2,
    };
}

/// Runs a future on a small runtime.
fn block_on<T>(
    threads: &Threads,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.workers)
        .max_blocking_threads(8)
        .thread_name(threads.name)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// Writes to standard output; whoever closed it does not want the rest.
///
/// # Errors
/// What was to be told is not.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    not_printed(written)
}

fn not_printed(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write to standard output: {error}");
            Err(Failure::internal(message))
        }
        _ => Ok(()),
    }
}

fn complain(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_pairs() {
        let check = |text, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(key_and_value(text).ok(), expected, "{text}");
        };
        check("log.level=debug", Some(("log.level", "debug")));
        check("a=b=c", Some(("a", "b=c")));
        check("a=", Some(("a", "")));
        check("=b", None);
        check("a", None);
    }
}
