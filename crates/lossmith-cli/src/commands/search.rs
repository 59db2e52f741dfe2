//! `lossmith search TASK`.

use clap::Subcommand;

use crate::output::Answer;
use crate::tasks::{classifier, embedding, polarmask};

/// The arguments of `search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A loss for an image classifier (IDX or CIFAR-10 data; generated digits without --data)
    Classifier(classifier::search::Args),
    /// A kernel of the discriminative loss, for instance segmentation by embedding
    Embedding(embedding::search::Args),
    /// The kernel of Polar IoU, for instance segmentation by rays
    Polarmask(polarmask::search::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {
        Task::Classifier(args) => classifier::search::run(&args),
        Task::Embedding(args) => embedding::search::run(&args),
        Task::Polarmask(args) => polarmask::search::run(&args),
    }
}
