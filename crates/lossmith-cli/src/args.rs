//! What can be typed. Each command's own arguments stand in its file under `commands`.

use std::any::TypeId;
use std::ops::{Bound, RangeBounds};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

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

/// The command line, on which a number below 0 is a value like any other: its flag says what is wrong with it.
pub fn command() -> clap::Command {
    with_negative_numbers(Cli::command())
}

fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let numbers =
        [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>(), TypeId::of::<f64>()];
    command
        .mut_args(|arg| {
            let is_number = numbers.iter().any(|number| arg.get_value_parser().type_id() == *number);
            if is_number { arg.allow_negative_numbers(true) } else { arg }
        })
        .mut_subcommands(with_negative_numbers)
}

/// Reads a whole number of a range; what else is given is told with the range.
pub fn whole<T: TryFrom<u64>>(range: impl RangeBounds<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    let least = if let Bound::Included(least) = range.start_bound() { *least } else { 0 };
    let largest = u64::MAX >> (64 - 8 * size_of::<T>().min(8));
    let most = if let Bound::Included(most) = range.end_bound() { *most } else { largest };
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    /// Every flag that takes a whole number names itself and its range, whatever is given.
    #[test]
    fn flags_say_which_numbers_they_take() {
        fn check(command: &clap::Command, path: &str, checked: &mut usize) {
            let whole = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()];
            for arg in command.get_arguments() {
                let is_whole = whole.iter().any(|number| arg.get_value_parser().type_id() == *number);
                let Some(flag) = arg.get_long().filter(|_| is_whole) else { continue };
                for value in ["-1", "1e3", "many", "99999999999999999999"] {
                    let line = path
                        .split(' ')
                        .chain([format!("--{flag}"), value.to_owned()].iter().map(String::as_str))
                        .map(str::to_owned)
                        .collect::<Vec<_>>();
                    let error = super::command().try_get_matches_from(line).unwrap_err().to_string();
                    let said = format!("invalid value '{value}' for '--{flag} <");
                    assert!(
                        error.contains(&said) && error.contains("expected a whole number from "),
                        "{path}: {error}"
                    );
                    *checked += 1;
                }
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()), checked);
            }
        }
        let mut checked = 0;
        check(&command(), "lossmith", &mut checked);
        assert!(checked > 100, "{checked}");
        assert_eq!(whole::<u64>(2..=1000)("1").unwrap_err(), "expected a whole number from 2 to 1000");
        assert_eq!(whole::<u32>(..)("-1").unwrap_err(), "expected a whole number from 0 to 4294967295");
        assert_eq!((whole::<u32>(..)("4294967295"), whole::<usize>(1..)("7")), (Ok(u32::MAX), Ok(7)));
    }
}
