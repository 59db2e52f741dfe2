//! `lossmith predict TASK --model RUN INPUT...`.

use clap::Subcommand;

use crate::output::Answer;
use crate::tasks::{cmat, embedding, polarmask, reldn};

/// The arguments of `predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Scene graphs of your own scenes, and what they would score had a node been something else
    Cmat(cmat::predict::Args),
    /// Count and outline the instances in your images
    Embedding(embedding::predict::Args),
    /// Outline the objects in your images
    Polarmask(polarmask::predict::Args),
    /// Scene graphs of your images: triplets, JSON, pictures
    Reldn(reldn::predict::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {
        Task::Cmat(args) => cmat::predict::run(args),
        Task::Embedding(args) => embedding::predict::run(&args),
        Task::Polarmask(args) => polarmask::predict::run(&args),
        Task::Reldn(args) => reldn::predict::run(args),
    }
}
