//! The program `lossmith`: discover, train, compare, evaluate and export loss functions.

mod args;
mod commands;
#[cfg(test)]
mod fuzz_replay;
mod interrupt;
mod output;
// Strips of pictures and dashed lines wait for the figures of the other tasks.
#[allow(dead_code, unused_imports)]
mod plot;
mod progress;
mod recipe;
mod report;
mod reproduce;
mod run;
mod study;
mod tasks;

use std::process::ExitCode;

use clap::Parser;
use lossmith_data::limits;

use crate::output::Answer;

/// How much is read from one file, if the user says so.
fn set_limits() -> anyhow::Result<()> {
    if let Some(text) = std::env::var_os(limits::VARIABLE) {
        limits::set(text.to_string_lossy().parse()?);
    }
    Ok(())
}

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    output::start_logging(cli.verbose, cli.quiet);
    match set_limits().and_then(|()| commands::run(cli)) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(e) if output::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}
