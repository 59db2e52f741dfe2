//! `lossmith search embedding --slot SLOT`: discover a kernel of the discriminative loss, judged by the mean SBD.

use std::path::Path;

use lossmith::loss::{Loss, Spec};
use lossmith_burn::embedding::{Recipe, train};
use lossmith_data::label_images::Sample;
use lossmith_search::trial::{Part, Trial};

use super::{EmbeddingRecipe, PRESETS, data, digest, mean_sbd};
use crate::interrupt;
use crate::recipe::Presets;
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::search::slot::{self, SlotRecipe, SlotTask};

/// Trains the embedding network with a loss, and scores the instances that it finds.
pub struct Segmenter {
    recipe: SlotRecipe<EmbeddingRecipe>,
    train: Vec<Sample>,
    validation: Vec<Sample>,
    test: Vec<Sample>,
    words: String,
}

impl SlotTask for Segmenter {
    type Recipe = EmbeddingRecipe;
    const TASK: &'static str = "embedding";
    const LOSS: &'static str = "discriminative";
    const PRESETS: Presets = PRESETS;
    const DEFAULTS: &'static [&'static str] = &[];

    fn name_data(recipe: &mut EmbeddingRecipe, data: &str) {
        recipe.data = data.to_owned();
    }

    fn open(recipe: SlotRecipe<EmbeddingRecipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        recipe.task.check("task.")?;
        let here = folder.map_or_else(|| recipe.task.data.clone(), |folder| folder.display().to_string());
        let found = data(&EmbeddingRecipe { data: here, ..recipe.task.clone() })?;
        let (mut train, test) = (found.train, found.test);
        let held_back = recipe.held_back(train.len(), test.len(), &recipe.task.data)?;
        let validation = train.split_off(train.len() - held_back);
        let sizes = [train.len(), validation.len(), test.len()];
        let words = slot::in_words(&recipe.task.data, "images", sizes);
        Ok(Self { recipe, train, validation, test, words })
    }

    fn slot_recipe(&self) -> &SlotRecipe<EmbeddingRecipe> {
        &self.recipe
    }

    fn metric(&self) -> &'static str {
        "SBD"
    }

    fn full_training(&self) -> (usize, f64) {
        (self.recipe.task.model.steps, self.recipe.task.model.learning_rate)
    }

    fn words(&self) -> &str {
        &self.words
    }

    fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()> {
        digest(print, &[&self.train, &self.validation, &self.test]);
        Ok(())
    }

    fn figure(&self, trial: &Trial, done: &mut u32) -> anyhow::Result<f64> {
        let base = &self.recipe.task.model;
        let recipe = Recipe {
            steps: trial.steps as usize,
            learning_rate: trial.rate.unwrap_or(base.learning_rate),
            seed: self.recipe.seed_of(trial),
            ..base.clone()
        };
        let loss: Box<dyn Loss> = Spec::parse(&trial.loss)?.build()?;
        let judged = match trial.part {
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        };
        let model = train(&self.train, &recipe, loss.as_ref(), |step| {
            *done = step.step as u32;
            !interrupt::asked()
        })?;
        mean_sbd(&model, judged)
    }
}

#[cfg(test)]
mod tests {
    use lossmith_search::trial::End;

    use super::*;

    #[test]
    fn a_slot_recipe_is_complete_and_its_published_kernel_trains() {
        let set = ["task.model.steps=2", "task.model.side=32", "task.model.batch=1", "task.model.widths=[4, 4, 4, 4]"];
        let recipe = SlotRecipe::load::<Segmenter>("pull", "laptop", &set.map(str::to_owned)).unwrap();
        let text = crate::recipe::to_text(&recipe).unwrap();
        let segmenter = slot::judge::<Segmenter>(&text, None).unwrap();
        assert_eq!(segmenter.recipe().unwrap(), text);
        let trial = Trial {
            loss: "discriminative(pull=\"square(d)\")".to_owned(),
            steps: 2,
            seed: 0,
            rate: None,
            train_size: None,
            part: Part::Validation,
            floor: None,
        };
        let trials = [trial.clone(), Trial { loss: Segmenter::LOSS.to_owned(), ..trial }];
        let outcomes = segmenter.evaluate(&trials).unwrap();
        assert!(outcomes.iter().flatten().all(|o| o.end == End::Done && (0.0..=1.0).contains(&o.accuracy)));
        assert_eq!(outcomes.len(), 2);
        let error = SlotRecipe::load::<Segmenter>("pull", "laptop", &["task.model.depth=1".to_owned()]);
        assert!(format!("{:#}", error.unwrap_err()).contains("no key 'task.model.depth'"));
    }
}
