//! `wellhead config`.

use std::path::PathBuf;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::{Options, complain, files, print};
use crate::config::{ConfigError, Loaded, json_schema};
use crate::daemon::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Validate a file, together with the environment and `--set`
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the effective configuration
    Print,
    /// Print the JSON schema of the file
    Schema,
}

pub(super) fn execute(options: &Options, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check { file } => {
            let checked = Options {
                config: Some(file.clone()),
                set: options.set.clone(),
            };
            let loaded = checked.load_unlogged()?;
            let settings = Settings::new(&loaded.config)
                .map_err(|error| Failure::from(crate::daemon::DaemonError::from(error)))?;
            check_files(&loaded, &settings)?;
            print(&format!("{}: ok\n", file.display()))?;
        }
        ConfigCommand::Print => {
            let loaded = options.load_unlogged()?;
            let yaml = loaded
                .config
                .to_yaml()
                .map_err(|error| Failure::internal(format!("cannot write YAML: {error}")))?;
            print(&yaml)?;
        }
        ConfigCommand::Schema => {
            print(&format!("{:#}\n", json_schema()))?;
        }
    }
    Ok(Exit::Success)
}

/// Whether the files it names can be used, here and now.
fn check_files(loaded: &Loaded, settings: &Settings) -> Result<(), Failure> {
    let (problems, warnings) = files::problems(loaded, settings);
    for warning in warnings {
        complain(&format!("warning: {warning}\n"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::configuration(&ConfigError { problems }))
}
