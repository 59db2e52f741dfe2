//! The beginning of a classifier run, and what `--resume` needs to go on as if nothing had happened.

use std::path::Path;

use anyhow::ensure;

use super::{Common, Evaluator, Recipe};
use crate::run::Run;
use crate::study::Identity;
use crate::tasks::Judge;
use crate::tasks::search::Begun;

/// Makes the folder of a run of `command` with its recipe, after the data were read: a bad path fails before anything is made.
pub fn create(
    common: &Common,
    command: &str,
    losses: &[String],
    files: Vec<Option<String>>,
    train_size: Option<u32>,
    change: impl FnOnce(&mut Recipe),
) -> anyhow::Result<(Run, Begun, Recipe, Evaluator)> {
    let mut recipe = common.recipe()?;
    change(&mut recipe);
    recipe.check()?;
    let evaluator = Evaluator::new(&recipe, common.data.as_deref())?;
    if let Some(size) = train_size {
        let most = evaluator.training_images();
        ensure!((1..=most).contains(&(size as usize)), "--train-size: expected 1 to {most}, found {size}");
    }
    let (losses, arithmetic) = (losses.to_vec(), evaluator.arithmetic());
    let begun = Begun { losses, files, train_size, arithmetic, ..Begun::now(common.data.as_deref(), None)? };
    let run = begun.start(common.out.as_deref(), &command.replace(' ', "-"), &identity(command, &evaluator)?)?;
    Ok((run, begun, recipe, evaluator))
}

/// Opens a run that was begun before.
pub fn resume(folder: &Path, command: &str) -> anyhow::Result<(Run, Begun, Recipe, Evaluator)> {
    let (run, began) = Run::resume(folder, command)?;
    let begun = Begun::read(&run)?;
    let recipe: Recipe = crate::recipe::parse_text(&began.recipe)?;
    recipe.check()?;
    let evaluator = Evaluator::new(&recipe, begun.data.as_deref())?;
    run.check(&identity(command, &evaluator)?)?;
    Ok((run, begun, recipe, evaluator))
}

fn identity(command: &str, judge: &Evaluator) -> anyhow::Result<Identity> {
    Ok(Identity::new(command, judge.checksum()?, judge.recipe()?, judge.arithmetic()))
}
