//! `lossmith search polarmask --slot rays`: discover a kernel of the overlap of rays, judged by the mask AP.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::ensure;
use lossmith_data::instance_set::{InstanceSet, Part};
use lossmith_search::trial::{Part as TrialPart, Trial};

use super::Recipe;
use super::score::score;
use super::train::Session;
use crate::interrupt;
use crate::recipe::Presets;
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::search::slot::{self, SlotRecipe, SlotTask};

/// Trains the network with a loss on the rays, and scores the masks that it finds.
pub struct Detector {
    recipe: SlotRecipe<Recipe>,
    /// To train on, and what is held back from it to judge by.
    learned: InstanceSet,
    /// For the verdict.
    test: Part,
    words: String,
}

impl SlotTask for Detector {
    type Recipe = Recipe;
    const TASK: &'static str = "polarmask";
    const LOSS: &'static str = "polar-iou";
    /// A candidate is trained for seconds, so the short recipe is the one to begin with.
    const PRESETS: Presets =
        Presets { laptop: include_str!("../../../../../recipes/polarmask-ablation.toml"), ..super::PRESETS };
    /// Ray sums in pixels, and as many steps as a detector needs to find anything.
    const DEFAULTS: &'static [&'static str] = &[
        "slot.range=[1.0, 2000.0]",
        "search.population=12",
        "search.generations=4",
        "search.steps=250",
        "search.savings.halving_steps=0",
        "compare.seeds=3",
        "compare.rates=[0.001, 0.002, 0.004]",
    ];

    fn parameter(slot: &str) -> anyhow::Result<&str> {
        ensure!(slot == "rays", "--slot: {} has no slot '{slot}'; it has: rays", Self::LOSS);
        Ok("kernel")
    }

    fn name_data(recipe: &mut Recipe, data: &str) {
        recipe.data = data.to_owned();
    }

    fn open(recipe: SlotRecipe<Recipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        recipe.task.check("task.")?;
        let mut here = recipe.task.clone();
        if let Some(folder) = folder {
            here.data = folder.display().to_string();
        }
        let InstanceSet { train: all, test } = here.data()?;
        here.warn_of_unlabelled()?;
        let held_back = recipe.held_back(all.pictures.len(), test.pictures.len(), &here.data)?;
        let [train, validation] = all.split(all.pictures.len() - held_back);
        let sizes = [&train, &validation, &test].map(|part| part.pictures.len());
        let words = slot::in_words(&here.data, "images", sizes);
        let learned = InstanceSet { train, test: validation };
        // What no candidate can change is found out before the first.
        Session::new(&recipe.task, &learned)?;
        Ok(Self { recipe, learned, test, words })
    }

    fn slot_recipe(&self) -> &SlotRecipe<Recipe> {
        &self.recipe
    }

    fn metric(&self) -> &'static str {
        "mask AP"
    }

    fn full_training(&self) -> (usize, f64) {
        let train = &self.recipe.task.train;
        let in_epoch = self.learned.train.pictures.len().div_ceil(train.batch.max(1));
        (if train.steps > 0 { train.steps } else { train.epochs * in_epoch }, train.rate)
    }

    fn words(&self) -> &str {
        &self.words
    }

    fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()> {
        self.recipe.task.digest(print, [&self.learned.train, &self.learned.test, &self.test])
    }

    fn figure(&self, trial: &Trial, done: &mut u32) -> anyhow::Result<f64> {
        let mut recipe = self.recipe.task.clone();
        recipe.train.loss.clone_from(&trial.loss);
        recipe.train.steps = trial.steps as usize;
        recipe.train.rate = trial.rate.unwrap_or(recipe.train.rate);
        recipe.train.seed = self.recipe.seed_of(trial);
        let judged = match trial.part {
            TrialPart::Validation => &self.learned.test,
            TrialPart::Test => &self.test,
        };
        let model = Session::new(&recipe, &self.learned)?.fit(&recipe, None, |progress, _| {
            *done = progress.step as u32;
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(score(&model, judged)?.coco.AP.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use lossmith_search::trial::End;

    use super::*;

    #[test]
    fn a_slot_recipe_is_complete_and_kernels_train_or_fail_alone() {
        let set = ["task.made.train=12", "task.made.test=4", "task.network.width=64", "task.network.height=64"];
        let recipe = SlotRecipe::load::<Detector>("rays", "laptop", &set.map(str::to_owned)).unwrap();
        let text = crate::recipe::to_text(&recipe).unwrap();
        let detector = slot::judge::<Detector>(&text, None).unwrap();
        assert_eq!(detector.recipe().unwrap(), text);
        let trial = Trial {
            loss: "polar-iou(kernel=\"1 - a/b\")".to_owned(),
            steps: 2,
            seed: 0,
            rate: None,
            train_size: None,
            part: TrialPart::Validation,
            floor: None,
        };
        let published = Trial { loss: Detector::LOSS.to_owned(), ..trial };
        let broken = Trial { loss: "polar-iou(kernel=\"log(a - b)\")".to_owned(), ..trial };
        let outcomes = detector.evaluate(&[trial, published, broken]).unwrap();
        let ends: Vec<End> = outcomes.iter().flatten().map(|o| o.end.clone()).collect();
        assert_eq!(ends, [End::Done, End::Done, End::Diverged]);
    }
}
