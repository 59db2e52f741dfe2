//! `lossmith data fetch`: downloads with checksum, which go on where they were cut.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use lossmith_data::fetch::DataSet;

use crate::output::{self, Answer};

/// The arguments of `data fetch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// mnist, fashion-mnist or cifar10
    name: String,
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Another place to download from (may be repeated; tried in this order)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let set = DataSet::find(&args.name)?;
    let style =
        ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes}, {eta} left").expect("a fixed template");
    let bar = ProgressBar::new(0).with_style(style);
    set.fetch(&args.mirror, &args.out, &mut |progress| {
        if bar.message() != progress.file {
            bar.set_message(progress.file.to_owned());
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    output::print(&format!("{} is in {}\n", set.name, args.out.display()))?;
    Ok(Answer::Yes)
}
