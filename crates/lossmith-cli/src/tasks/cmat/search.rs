//! `lossmith search cmat --slot surrogate`: discover what is summed over the agents in the place of `-a*l`, judged by the graphs' recall.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use lossmith::graph::SceneGraph;
use lossmith::loss::Spec;
use lossmith_burn::cmat::evaluate::Given;
use lossmith_burn::cmat::scene::Seen;
use lossmith_burn::cmat::train::Progress;
use lossmith_burn::cmat::{Settings, Trainer};
use lossmith_data::node_graphs::{NodeGraph, NodeGraphs};
use lossmith_search::trial::{Part, Trial};

use super::{PRESETS, Recipe, Session, cut, judged};
use crate::recipe::Presets;
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::search::slot::{self, Passes, SlotRecipe, SlotTask};

/// Trains agents by a surrogate, and judges their graphs.
pub struct Parser {
    recipe: SlotRecipe<Recipe>,
    /// Judged by the scenes that are held back.
    session: Session,
    test: Vec<(Seen, SceneGraph)>,
    /// Stage 1 of each replicate: candidates differ in stage 2 alone, so they share it.
    first: RefCell<BTreeMap<u64, Trainer>>,
    scenes: [Vec<NodeGraph>; 3],
    words: String,
}

impl SlotTask for Parser {
    type Recipe = Recipe;
    const TASK: &'static str = "cmat";
    const LOSS: &'static str = "counterfactual-critic";
    const PRESETS: Presets = PRESETS;
    // Scaled advantages, and log-probabilities. A candidate gets one pass over the 750 scenes of the laptop recipe, in steps of 8.
    const DEFAULTS: &'static [&'static str] =
        &["slot.range=[[-4.0, 4.0], [-8.0, -0.01]]", "search.steps=94", "search.savings.halving_steps=47"];

    fn name_data(recipe: &mut Recipe, data: &str) {
        recipe.data.path = data.to_owned();
    }

    fn open(recipe: SlotRecipe<Recipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        recipe.task.check_as("task.")?;
        let mut here = recipe.task.clone();
        here.data.path = folder.map_or(here.data.path, |folder| folder.display().to_string());
        let NodeGraphs { about, mut train, test } = here.scenes(here.seed)?;
        let name = if here.data.path.is_empty() { "hubs" } else { &here.data.path };
        let held_back = recipe.held_back(train.len(), test.len(), name)?;
        let validation = train.split_off(train.len() - held_back);
        let words = slot::in_words(name, "scenes", [train.len(), validation.len(), test.len()]);
        let data = NodeGraphs { about, train, test: validation };
        let session = Session::new(&data, &here)?;
        let verdict = judged(&test)?;
        let scenes = [data.train, data.test, test];
        Ok(Self { recipe, session, test: verdict, first: RefCell::default(), scenes, words })
    }

    fn slot_recipe(&self) -> &SlotRecipe<Recipe> {
        &self.recipe
    }

    fn metric(&self) -> &'static str {
        ["recall@20", "recall@50", "recall@100"][self.cut()]
    }

    fn full_training(&self) -> (usize, f64) {
        let t = &self.recipe.task.train;
        (t.policy_epochs * self.session.train.len().div_ceil(t.batch), t.policy_rate)
    }

    fn words(&self) -> &str {
        &self.words
    }

    fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()> {
        self.scenes.iter().try_for_each(|part| print.json(part))
    }

    fn figure(&self, trial: &Trial, done: &mut u32) -> anyhow::Result<f64> {
        *done = trial.steps;
        let settings = self.settings(trial)?;
        self.first(&settings)?;
        self.recall(trial, settings)
    }
}

impl Parser {
    fn cut(&self) -> usize {
        cut(&self.recipe.task.train.reward)
    }

    /// How a trial is trained: the recipe's reward and critic, the trial's surrogate.
    fn settings(&self, trial: &Trial) -> anyhow::Result<Settings> {
        let task = &self.recipe.task;
        let Spec::Named(loss) = Spec::parse(&trial.loss)? else {
            anyhow::bail!("'{}' is no {}", trial.loss, Self::LOSS)
        };
        let scenes = self.session.train.len();
        Ok(Settings {
            surrogate: loss.kernel("surrogate").cloned(),
            policy_epochs: Passes::of(trial.steps as usize, task.train.batch, scenes).passes,
            policy_rate: trial.rate.unwrap_or(task.train.policy_rate),
            ..task.settings("cmat", self.recipe.seed_of(trial))?
        })
    }

    /// Sees to it that stage 1 of the replicate is there.
    fn first(&self, settings: &Settings) -> anyhow::Result<()> {
        if !self.first.borrow().contains_key(&settings.seed) {
            let trained = self.session.first_stage(settings.clone(), |_, _, _: Progress| Ok(()))?;
            self.first.borrow_mut().insert(settings.seed, trained);
        }
        Ok(())
    }

    fn recall(&self, trial: &Trial, settings: Settings) -> anyhow::Result<f64> {
        let scenes = &self.session.train;
        let passes = Passes::of(trial.steps as usize, settings.batch, scenes.len());
        let kept = self.first.borrow();
        let first = &kept[&settings.seed];
        let trained =
            self.session.second_stage_on(&scenes[..passes.examples], first, settings, |_, _, _: Progress| Ok(()))?;
        let judged = match trial.part {
            Part::Validation => &self.session.test,
            Part::Test => &self.test,
        };
        Ok(self.session.outcome_on(judged, &trained, Given::Boxes)?.graphs.constraint.mean[self.cut()])
    }
}

#[cfg(test)]
mod tests {
    use lossmith_search::trial::{End, Outcome};

    use super::*;

    #[test]
    fn a_surrogate_is_trained_from_a_shared_first_stage() {
        let set = [
            "task.data.train=12",
            "task.data.test=4",
            "task.agents.hidden=8",
            "task.agents.pair=4",
            "task.train.epochs=1",
        ];
        let recipe = SlotRecipe::load::<Parser>("surrogate", "laptop", &set.map(str::to_owned)).unwrap();
        recipe.space::<Parser>().unwrap();
        let text = crate::recipe::to_text(&recipe).unwrap();
        let judge = slot::judge::<Parser>(&text, None).unwrap();
        assert_eq!(
            (judge.recipe().unwrap(), judge.data()),
            (text, "hubs: 9 scenes to train on, 3 to judge by, 4 for the verdict")
        );
        let trial = |loss: &str, seed: u64| Trial {
            loss: loss.to_owned(),
            steps: 2,
            seed,
            rate: None,
            train_size: None,
            part: Part::Validation,
            floor: None,
        };
        let published = "counterfactual-critic(surrogate=\"-a*l\")";
        let trials = [trial(Parser::LOSS, 0), trial(published, 0), trial(Parser::LOSS, 1), trial(Parser::LOSS, 0)];
        let outcomes: Vec<Outcome> = judge.evaluate(&trials).unwrap().into_iter().flatten().collect();
        assert!(outcomes.iter().all(|o| o.end == End::Done));
        assert_eq!(outcomes[0], outcomes[1], "the default of the slot is the published kernel");
        assert_eq!(outcomes[0], outcomes[3], "a trial does not depend on those before it");
    }
}
