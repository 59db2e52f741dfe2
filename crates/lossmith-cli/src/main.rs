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
mod ranges;
mod recipe;
mod report;
mod reproduce;
mod run;
mod secrets;
mod study;
mod tasks;

use std::process::ExitCode;

use clap::FromArgMatches;
use lossmith_data::limits;

use crate::output::Answer;
use crate::secrets::Secrets;

/// How much is read from one file, if the user says so.
fn set_limits() -> anyhow::Result<()> {
    if let Some(text) = std::env::var_os(limits::VARIABLE) {
        limits::set(text.to_string_lossy().parse()?);
    }
    Ok(())
}

fn main() -> ExitCode {
    let typed = args::command().try_get_matches().and_then(|matches| args::Cli::from_arg_matches(&matches));
    let cli = typed.unwrap_or_else(|e| refuse(&e));
    output::start_logging(cli.verbose, cli.quiet);
    match set_limits().and_then(|()| commands::run(cli)) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(e) if output::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let said = Secrets::of_command_line().hide(&format!("{e:#}"));
            eprintln!("error: {}", output::plain(&said));
            ExitCode::from(if interrupt::ended(&e) { interrupt::EXIT_CODE } else { 2 })
        }
    }
}

/// Says what is wrong with the command line, without the passwords in it.
fn refuse(error: &clap::Error) -> ! {
    let said = error.to_string();
    let hidden = Secrets::of_command_line().hide(&said);
    if hidden == said {
        error.exit();
    }
    eprint!("{hidden}");
    std::process::exit(error.exit_code())
}
