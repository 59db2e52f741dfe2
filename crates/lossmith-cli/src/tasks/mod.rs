//! One folder a task: how it is trained, compared and searched.

pub mod again;
pub mod classifier;
pub mod cmat;
pub mod compared;
pub mod embedding;
pub mod fingerprint;
pub mod inputs;
pub mod polarmask;
pub mod reldn;
pub mod resume;
pub mod search;
pub mod trainings;

use std::path::Path;

use lossmith_nets::Precision;
use lossmith_search::trial::{Outcome, Trial};
use serde::Serialize;

use crate::recipe;
use crate::study::Identity;
use fingerprint::Fingerprint;
use search::slot::{self, SlotTask};

/// Does the trials of a study: data and recipe of one task.
pub trait Judge {
    /// Does some trials; `None` for one that was stopped on request.
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>>;

    /// What the data are, in words.
    fn data(&self) -> &str;

    /// A checksum of the data, as they are used.
    ///
    /// # Errors
    /// Data that cannot be read any more.
    fn checksum(&self) -> anyhow::Result<String>;

    /// The complete recipe as text.
    fn recipe(&self) -> anyhow::Result<String>;

    /// What multiplies. Outcomes of different arithmetic agree in the first digits only, and may not be mixed.
    fn arithmetic(&self) -> String {
        Precision::F32.arithmetic()
    }
}

/// The identity of a training or a comparison, from which its run can go on: `command` is what was typed, as `train embedding`.
pub fn identity(command: &str, data: Fingerprint, recipe: &impl Serialize) -> anyhow::Result<Identity> {
    Ok(Identity::new(command, data.text(), recipe::to_text(recipe)?, Precision::F32.arithmetic()))
}

/// The judge of a study's task, from its recipe and the data on this machine.
///
/// # Errors
/// A task or a recipe that this program does not know; data that cannot be read.
pub fn judge(task: &str, recipe: &str, data: Option<&Path>) -> anyhow::Result<Box<dyn Judge>> {
    let (name, slot) = task.split_once(" --slot ").map_or((task, None), |(name, slot)| (name, Some(slot)));
    match (name, slot) {
        ("classifier", None) => Ok(Box::new(classifier::judge(recipe, data)?)),
        (embedding::search::Segmenter::TASK, Some(_)) => slot::judge::<embedding::search::Segmenter>(recipe, data),
        (polarmask::search::Detector::TASK, Some(_)) => slot::judge::<polarmask::search::Detector>(recipe, data),
        (cmat::search::Parser::TASK, Some(_)) => slot::judge::<cmat::search::Parser>(recipe, data),
        (reldn::search::Ranker::TASK, Some(_)) => slot::judge::<reldn::search::Ranker>(recipe, data),
        _ => anyhow::bail!("this program does not know the study's task '{task}'"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_task_that_is_searched_is_known_to_workers() {
        for (task, known) in [
            ("classifier", true),
            ("embedding --slot pull", true),
            ("cmat --slot surrogate", true),
            ("reldn --slot margin", true),
            ("embedding", false),
            ("classifier --slot pull", false),
            ("sorting", false),
        ] {
            let error = super::judge(task, "no recipe", None).err().map(|e| format!("{e:#}")).unwrap_or_default();
            assert_eq!(!error.contains("does not know"), known, "{task}: {error}");
        }
    }
}
