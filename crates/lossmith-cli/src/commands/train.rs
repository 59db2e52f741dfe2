//! `lossmith train TASK`.

use clap::Subcommand;

use crate::output::Answer;
use crate::tasks::{classifier, cmat, embedding, polarmask, reldn};

/// The arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// An image classifier (IDX or CIFAR-10 data; generated digits without --data)
    Classifier(classifier::train::Args),
    /// Agents that label scene graphs, by a counterfactual critic
    Cmat(cmat::train::Args),
    /// A network for instance segmentation by embedding
    Embedding(embedding::train::Args),
    /// A network for instance segmentation by rays
    Polarmask(polarmask::train::Args),
    /// A model of scene graphs from pairs of boxes, by graphical contrastive losses
    Reldn(reldn::train::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {
        Task::Classifier(args) => classifier::train::run(&args),
        Task::Cmat(args) => cmat::train::run(args),
        Task::Embedding(args) => embedding::train::run(&args),
        Task::Polarmask(args) => polarmask::train::run(&args),
        Task::Reldn(args) => reldn::train::run(args),
    }
}
