//! `wellhead config`.

use std::path::PathBuf;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::{Options, print};
use crate::config::json_schema;
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
            Settings::new(&loaded.config)
                .map_err(|error| Failure::from(crate::daemon::DaemonError::from(error)))?;
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
