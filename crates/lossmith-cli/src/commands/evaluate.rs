//! `lossmith evaluate PROTOCOL --truth T --predictions P`.

mod coco;

use clap::Subcommand;

use crate::output::Answer;

/// The arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    Coco(coco::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.protocol {
        Protocol::Coco(args) => coco::run(&args),
    }
}
