//! One folder a task: how it is trained, compared and searched.

pub mod classifier;
pub mod cmat;
pub mod embedding;
pub mod inputs;
pub mod polarmask;
pub mod reldn;
pub mod resume;
pub mod search;

use std::path::Path;

use lossmith_search::trial::{Outcome, Trial};

/// Does the trials of a study: data and recipe of one task.
pub trait Judge {
    /// Does some trials; `None` for one that was stopped on request.
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>>;

    /// What the data are, in words.
    fn data(&self) -> &str;

    /// A checksum of the data, as they are used.
    fn checksum(&self) -> String;

    /// The complete recipe as text.
    fn recipe(&self) -> anyhow::Result<String>;
}

/// The judge of a study's task, from its recipe and the data on this machine.
///
/// # Errors
/// A task or a recipe that this program does not know; data that cannot be read.
pub fn judge(task: &str, recipe: &str, data: Option<&Path>) -> anyhow::Result<Box<dyn Judge>> {
    match task {
        "classifier" => Ok(Box::new(classifier::judge(recipe, data)?)),
        "embedding --slot pull" | "embedding --slot push" | "embedding --slot regularise" => {
            Ok(Box::new(embedding::search::judge(recipe, data)?))
        }
        "polarmask --slot rays" => Ok(Box::new(polarmask::search::judge(recipe, data)?)),
        other => anyhow::bail!("this program does not know the study's task '{other}'"),
    }
}
