//! `lossmith evaluate PROTOCOL --truth T --predictions P`.

use clap::Subcommand;

use crate::output::Answer;

/// The arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.protocol {}
}
