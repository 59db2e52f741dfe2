//! `lossmith train TASK`.

use clap::Subcommand;

use crate::output::Answer;

/// The arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {}
}
