//! One file a command.

pub mod compare;
pub mod data;
pub mod evaluate;
pub mod export;
pub mod losses;
pub mod predict;
pub mod report;
pub mod reproduce;
pub mod search;
pub mod study;
pub mod train;
pub mod worker;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::output::Answer;

/// Runs what was typed.
pub fn run(cli: Cli) -> anyhow::Result<Answer> {
    match cli.command {
        Command::Losses(args) => losses::run(args),
        Command::Search(args) => search::run(args),
        Command::Train(args) => train::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Reproduce(args) => reproduce::run(args),
        Command::Export(args) => export::run(args),
        Command::Data(args) => data::run(args),
        Command::Report(args) => report::run(args),
        Command::Study(args) => study::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lossmith", &mut script);
            crate::output::print(&String::from_utf8_lossy(&script))?;
            Ok(Answer::Yes)
        }
    }
}

/// Reads what a user wrote for a loss: a name, a formula, or `@FILE` with either.
pub fn read_loss(text: &str) -> anyhow::Result<lossmith::loss::Spec> {
    use anyhow::Context;
    let Some(file) = text.strip_prefix('@') else { return Ok(lossmith::loss::Spec::parse(text)?) };
    let text = lossmith_data::whole_text(file.as_ref()).map_err(|e| anyhow::anyhow!("@{e}"))?;
    lossmith::loss::Spec::parse(&text).with_context(|| format!("@{file}"))
}

/// The text of a loss, in the place of `@FILE` that of the file: what a run or a study keeps names no file, which may change or belong
/// to somebody else.
pub fn loss_text(text: &str) -> anyhow::Result<String> {
    if text.starts_with('@') { Ok(read_loss(text)?.to_string()) } else { Ok(text.to_owned()) }
}

/// Reads a list of losses; the commas between brackets and quotes belong to the losses.
pub fn read_losses(text: &str) -> anyhow::Result<Vec<lossmith::loss::Spec>> {
    lossmith::loss::split_list(text).into_iter().map(|piece| read_loss(piece.trim())).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commas_in_brackets_belong_to_the_loss() {
        let found = super::read_losses("discriminative, discriminative(alpha=2, pull=\"max(d, 1)\"), -log(y)").unwrap();
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["discriminative", "discriminative(alpha=2, pull=\"max(d, 1)\")", "-log(y)"]);
    }
}
