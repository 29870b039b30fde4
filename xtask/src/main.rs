//! Wellhead's development tasks: `cargo xtask --help`.

mod agent;
mod bench;
mod chart;
mod ci;
mod cli;
mod cmd;
mod cost;
mod debian;
mod dist;
mod docs;
mod ebpf;
mod kube;
mod only_one;
mod paths;
mod receivers;
mod setup;
mod test;
mod test_again;
mod test_tools;
mod tidy;
mod toolchain;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cmd::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
