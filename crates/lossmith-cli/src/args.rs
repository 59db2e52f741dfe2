//! What can be typed. Each command's own arguments stand in its file under `commands`.

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{
    compare, data, evaluate, export, losses, predict, report, reproduce, search, study, train, worker,
};

/// Finds, fits and judges loss functions for computer vision.
///
/// A LOSS is a name (`baikal`), a name with parameters (`poly-loss(epsilon=2)`), a formula in label x, probability y and number of
/// classes n (`-(log(y) - x/y)/n`), or `@FILE` with any of these. Results go to stdout, talk to stderr.
///
/// From one file at most 2 GiB are taken into memory, and pictures of at most 2^27 pixels: LOSSMITH_LIMITS=bytes=8GiB,pixels=300000000 in the
/// environment sets other limits.
#[derive(Debug, Parser)]
#[command(name = "lossmith", version = env!("LOSSMITH_BUILD"), propagate_version = true, help_expected = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the losses, show one, or evaluate one on your tensors
    Losses(losses::Args),
    /// Discover a loss
    Search(search::Args),
    /// Train a model with a loss
    Train(train::Args),
    /// Use a trained model on your own images
    Predict(predict::Args),
    /// Compare losses: same seeds, paired statistics, verdict
    Compare(compare::Args),
    /// Score predictions by a published protocol
    Evaluate(evaluate::Args),
    /// Make the published tables and figures, ours beside theirs
    Reproduce(reproduce::Args),
    /// Write a loss as source for PyTorch, JAX, Burn or LaTeX
    Export(export::Args),
    /// Generate, download and describe data
    Data(data::Args),
    /// Write a run's page anew
    Report(report::Args),
    /// Show how a study on PostgreSQL is doing
    Study(study::Args),
    /// Work for a study on PostgreSQL that a search elsewhere leads
    Worker(worker::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
