//! The beginning of a classifier run, and what `--resume` needs to go on as if nothing had happened.

use std::path::Path;

use super::{Common, Evaluator, Recipe};
use crate::run::Run;
use crate::tasks::Judge;
use crate::tasks::search::Begun;

/// Makes the run's folder with its recipe, after the data were read: a bad path fails before anything is made.
pub fn create(
    common: &Common,
    name: &str,
    losses: &[String],
    files: Vec<Option<String>>,
    train_size: Option<u32>,
    change: impl FnOnce(&mut Recipe),
) -> anyhow::Result<(Run, Begun, Recipe, Evaluator)> {
    let mut recipe = common.recipe()?;
    change(&mut recipe);
    recipe.check()?;
    let evaluator = Evaluator::new(&recipe, common.data.as_deref())?;
    let (losses, arithmetic) = (losses.to_vec(), evaluator.arithmetic());
    let begun = Begun { losses, files, train_size, arithmetic, ..Begun::now(common.data.as_deref(), None)? };
    let run = begun.start(common.out.as_deref(), name, &crate::recipe::to_text(&recipe)?)?;
    Ok((run, begun, recipe, evaluator))
}

/// Opens a run that was begun before.
pub fn resume(folder: &Path, name: &str) -> anyhow::Result<(Run, Begun, Recipe, Evaluator)> {
    let run = Run::resume(folder, name)?;
    let begun = Begun::read(&run)?;
    let recipe: Recipe = crate::recipe::parse_text(&run.read("recipe.toml")?)?;
    recipe.check()?;
    let evaluator = Evaluator::new(&recipe, begun.data.as_deref())?;
    begun.check(&evaluator.arithmetic())?;
    Ok((run, begun, recipe, evaluator))
}
