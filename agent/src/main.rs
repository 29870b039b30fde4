//! The `wellhead` command. Everything it does is in the library; this only says how it ended.

use std::process::ExitCode;

use clap::Parser as _;
use wellhead::cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wellhead::cli::usage(&error),
    };
    cli.execute()
}
