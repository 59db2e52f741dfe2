//! The program `lossmith`: discover, train, compare, evaluate and export loss functions.

mod args;
mod commands;
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

use clap::FromArgMatches;

use crate::output::Answer;

fn main() -> ExitCode {
    let cli = args::Cli::from_arg_matches(&args::command().get_matches()).unwrap_or_else(|e| e.exit());
    output::start_logging(cli.verbose, cli.quiet);
    match commands::run(cli) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(e) if output::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {}", output::plain(&format!("{e:#}")));
            ExitCode::from(if interrupt::ended(&e) { interrupt::EXIT_CODE } else { 2 })
        }
    }
}
