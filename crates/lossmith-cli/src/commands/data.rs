//! `lossmith data make|info|fetch`.

use clap::Subcommand;

use crate::output::Answer;

mod fetch;
mod info;
mod make;

/// The arguments of `data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Generate data
    Make(make::Args),
    /// Describe a folder of data
    Info(info::Args),
    /// Download data, with checksum; goes on where it was cut
    Fetch(fetch::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.action {
        Action::Make(args) => make::run(args),
        Action::Info(args) => info::run(args),
        Action::Fetch(args) => fetch::run(args),
    }
}
