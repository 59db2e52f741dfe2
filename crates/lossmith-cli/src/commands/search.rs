//! `lossmith search TASK`.

use clap::Subcommand;

use crate::output::Answer;
use crate::tasks::search::slot;
use crate::tasks::{classifier, cmat, embedding, reldn};

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
    #[command(after_help = "Slots: pull, push, regularise.\n\
        The recipe is that of a search (recipes/slot-laptop.toml) with that of the task under `task`.\n\
        Example: lossmith search embedding --slot pull --data sticks --set task.model.steps=200 --set search.population=12")]
    Embedding(slot::Args),
    /// A kernel of the counterfactual critic, for scene graphs by agents (CMAT)
    #[command(
        after_help = "Slot: surrogate, in the place of -a*l, of the scaled advantage a and the log-probability l of the sampled class.\n\
        It is judged by the recall that the recipe rewards, on scenes held back from training; all candidates share stage 1.\n\
        The recipe is that of a search (recipes/slot-laptop.toml) with that of the task under `task`.\n\
        Example: lossmith search cmat --slot surrogate --set search.generations=3"
    )]
    Cmat(slot::Args),
    /// A kernel of the graphical contrastive losses, for scene graphs of pairs of boxes (RelDN)
    #[command(
        after_help = "Slot: margin, in the place of max(0.2 - (p - n), 0), of the lowest affinity p of a group's related pairs and the highest n of its\n\
        unrelated ones. It is judged on images held back from training: made scenes by the recall at as many triplets as relations,\n\
        the user's by VRD's predicate detection, k = 1, R@50.\n\
        The recipe is that of a search (recipes/slot-laptop.toml) with that of the task under `task`.\n\
        Example: lossmith search reldn --slot margin --set task.data.train=100 --set task.train.table=1"
    )]
    Reldn(slot::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.task {
        Task::Classifier(args) => classifier::search::run(&args),
        Task::Embedding(args) => slot::run::<embedding::search::Segmenter>(&args),
        Task::Cmat(args) => slot::run::<cmat::search::Parser>(&args),
        Task::Reldn(args) => slot::run::<reldn::search::Ranker>(&args),
    }
}
