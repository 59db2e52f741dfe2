//! `lossmith compare TASK`.

use clap::Subcommand;

use crate::output::Answer;
use crate::tasks::{classifier, cmat, embedding, polarmask, reldn};

/// The arguments of `compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Losses on an image classifier (IDX or CIFAR-10 data; generated digits without --data)
    Classifier(classifier::compare::Args),
    /// Losses of the agents of scene graphs
    Cmat(cmat::compare::Args),
    /// Losses for instance segmentation by embedding
    Embedding(embedding::compare::Args),
    /// Losses for instance segmentation by rays
    Polarmask(polarmask::compare::Args),
    /// Graphical contrastive losses on scene graphs
    Reldn(reldn::compare::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {
        Task::Classifier(args) => classifier::compare::run(&args),
        Task::Cmat(args) => cmat::compare::run(args),
        Task::Embedding(args) => embedding::compare::run(&args),
        Task::Polarmask(args) => polarmask::compare::run(&args),
        Task::Reldn(args) => reldn::compare::run(args),
    }
}
