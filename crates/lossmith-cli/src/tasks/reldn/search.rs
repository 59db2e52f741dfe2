//! `lossmith search reldn --slot margin`: discover a kernel of the contrastive losses, judged on images held back from training.

use std::path::Path;

use lossmith::loss::Spec;
use lossmith::loss::graphical_contrastive::MARGIN_VARIABLES;
use lossmith_burn::reldn::ReldnError;
use lossmith_search::trial::{Part, Trial};

use super::session::digest;
use super::{By, Data, Figures, PRESETS, Place, Recipe, Session};
use crate::recipe::Presets;
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::search::slot::{self, Passes, SlotRecipe, SlotTask};

/// Trains the model with a margin, and judges its ranking of pairs.
pub struct Ranker {
    recipe: SlotRecipe<Recipe>,
    /// Judged by the images that are held back.
    data: Data,
    /// The same names with the images of the verdict.
    verdict: Data,
    /// The user's data are judged by VRD's predicate detection, made ones by recall at as many triplets as relations.
    by: By,
    words: String,
}

impl SlotTask for Ranker {
    type Recipe = Recipe;
    const TASK: &'static str = "reldn";
    const LOSS: &'static str = "graphical-contrastive";
    const PRESETS: Presets = PRESETS;
    // Affinities. A candidate gets a third of the passes of full training.
    const DEFAULTS: &'static [&'static str] = &["slot.range=[0.0, 1.0]"];

    // A recipe has no place for it: the folder itself is handed on.
    fn name_data(_: &mut Recipe, _: &str) {}

    fn open(recipe: SlotRecipe<Recipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        recipe.task.check_as("task.")?;
        let place = Place { data: folder.map(Path::to_owned), ..Place::default() };
        let mut data = Data::read(&place, &recipe.task, recipe.task.seed)?;
        let name = folder.map_or_else(|| "holds".to_owned(), |folder| folder.display().to_string());
        let images = data.train.len();
        let held_back = recipe.held_back(images, data.test.len(), &name)?;
        let verdict = data.hold_back(held_back);
        let words = slot::in_words(&name, "images", [data.train.len(), held_back, verdict.test.len()]);
        let by = if folder.is_some() { By::PredicateK1 } else { By::RecallAtTruth };
        Ok(Self { recipe, data, verdict, by, words })
    }

    fn slot_recipe(&self) -> &SlotRecipe<Recipe> {
        &self.recipe
    }

    fn metric(&self) -> &'static str {
        self.by.head()
    }

    fn full_training(&self) -> (usize, f64) {
        let t = &self.recipe.task.train;
        (t.epochs * self.data.train.len().div_ceil(t.batch), t.rate)
    }

    fn words(&self) -> &str {
        &self.words
    }

    fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()> {
        self.data.digest(print)?;
        digest(print, &self.verdict.test)
    }

    fn figure(&self, trial: &Trial, done: &mut u32) -> anyhow::Result<f64> {
        *done = trial.steps;
        let mut recipe = self.recipe.task.clone();
        let passes = Passes::of(trial.steps as usize, recipe.train.batch, self.data.train.len());
        recipe.train.epochs = passes.passes;
        recipe.train.rate = trial.rate.unwrap_or(recipe.train.rate);
        let loss = self.loss(&trial.loss)?.build()?;
        let session = Session::new(&self.data, &recipe)?;
        let examples = &self.data.train[..passes.examples];
        let seed = self.recipe.seed_of(trial);
        let (model, _) = session.train_on(examples, &recipe, loss.as_ref(), seed, |_| Ok(())).inspect_err(|e| {
            if let Some(ReldnError::Step { step, .. }) = e.downcast_ref() {
                *done = *step as u32;
            }
        })?;
        let figures = match trial.part {
            Part::Validation => session.figures(&model)?,
            Part::Test => Figures::of(&model, &session.config, &self.verdict)?,
        };
        Ok(figures.get(self.by))
    }
}

impl Ranker {
    /// The recipe's loss with the margin of a trial's, if that has one.
    fn loss(&self, trial: &str) -> anyhow::Result<Spec> {
        let own = self.recipe.task.loss()?;
        let (Spec::Named(searched), Spec::Named(arguments)) = (Spec::parse(trial)?, &own) else {
            anyhow::bail!("'{trial}' is no {}", Self::LOSS)
        };
        let Some(margin) = searched.kernel("margin") else { return Ok(own) };
        let margin = margin.display(MARGIN_VARIABLES).to_string();
        Ok(Spec::Named(arguments.clone().with("margin", &margin)?))
    }
}

#[cfg(test)]
mod tests {
    use lossmith_search::trial::{End, Outcome};

    use super::*;

    #[test]
    fn a_margin_takes_its_slot_in_the_recipes_loss() {
        let set = ["task.data.train=24", "task.data.test=6", "task.train.epochs=2", "task.train.loss=l0+l1"];
        let recipe = SlotRecipe::load::<Ranker>("margin", "laptop", &set.map(str::to_owned)).unwrap();
        recipe.space::<Ranker>().unwrap();
        let ranker = Ranker::open(recipe.clone(), None).unwrap();
        let with = ranker.loss("graphical-contrastive(margin=\"square(n - p)\")").unwrap().to_string();
        assert!(with.contains("lambda2=0") && with.contains("margin=\"square(n - p)\""), "{with}");
        assert_eq!(ranker.loss(Ranker::LOSS).unwrap(), recipe.task.loss().unwrap());
        let judge = slot::judge::<Ranker>(&crate::recipe::to_text(&recipe).unwrap(), None).unwrap();
        assert_eq!(judge.data(), "holds: 18 images to train on, 6 to judge by, 6 for the verdict");
        let trial = |loss: &str, part| Trial {
            loss: loss.to_owned(),
            steps: 3,
            seed: 0,
            rate: None,
            train_size: None,
            part,
            floor: None,
        };
        let published = "graphical-contrastive(margin=\"max(0.2 - (p - n), 0)\")";
        let trials = [
            trial(Ranker::LOSS, Part::Validation),
            trial(published, Part::Validation),
            trial("graphical-contrastive(margin=\"exp(99*n)/p\")", Part::Validation),
            trial(Ranker::LOSS, Part::Test),
        ];
        let outcomes: Vec<Outcome> = judge.evaluate(&trials).unwrap().into_iter().flatten().collect();
        assert!(outcomes[0].end == End::Done && outcomes[0].accuracy == outcomes[1].accuracy, "{outcomes:?}");
        assert!(outcomes[3].end == End::Done && outcomes[3].accuracy != outcomes[0].accuracy, "{outcomes:?}");
    }
}
