//! `search TASK --slot SLOT`: what tasks share that have a loss with a slot. A new one implements [`SlotTask`] and stands in `tasks::judge`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use lossmith_search::space::Space;
use lossmith_search::trial::{End, Outcome, Trial};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::{Table, Value};

use super::recipe::{CmaEs, Compare, Search, Sections, Taylor};
use super::{Arena, New, Options};
use crate::interrupt;
use crate::output::Answer;
use crate::ranges::{self, Limits};
use crate::recipe::{self, Presets};
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::trainings::has_diverged;
use crate::tasks::{Judge, again};

/// The sections that every slot begins with.
const SECTIONS: &str = include_str!("../../../../../recipes/slot-laptop.toml");

/// The arguments of a search for a kernel.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kernel that is searched; needed unless a run is resumed
    #[arg(long, value_name = "SLOT", required_unless_present = "resume")]
    slot: Option<String>,
    /// The data, as `train` of the task takes them; made ones without it
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// laptop, full, another of the task's recipes by name, or a file that changes keys of the laptop recipe
    #[arg(long, default_value = "laptop", value_name = "NAME|FILE")]
    recipe: String,
    /// Change one key of the recipe (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where every random number comes from
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u64>(..))]
    seed: Option<u64>,
    /// The run's folder, which must not exist yet; runs/search-TASK-NUMBER without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

/// A task with a loss that has a slot: its data, split into what is trained on, what is judged by and what the verdict is taken on.
pub trait SlotTask: Sized + 'static {
    /// The task's own recipe.
    type Recipe: Serialize + DeserializeOwned;

    /// As the command line says it.
    const TASK: &'static str;
    /// The loss of the catalogue; its published kernel is the baseline.
    const LOSS: &'static str;
    /// The presets of the task's own recipe.
    const PRESETS: Presets;
    /// Where the task leaves recipes/slot-laptop.toml: `key=value`.
    const DEFAULTS: &'static [&'static str];

    /// The parameter of the loss that a slot stands for, where the command line has another word for it.
    ///
    /// # Errors
    /// Names the slots there are.
    fn parameter(slot: &str) -> anyhow::Result<&str> {
        Ok(slot)
    }

    /// Puts what `--data` says into the recipe, as far as it has a place there.
    fn name_data(recipe: &mut Self::Recipe, data: &str);

    /// Reads or makes the data; `folder` is where this machine has them.
    fn open(recipe: SlotRecipe<Self::Recipe>, folder: Option<&Path>) -> anyhow::Result<Self>;

    /// The recipe.
    fn slot_recipe(&self) -> &SlotRecipe<Self::Recipe>;

    /// What is measured, as `SBD`.
    fn metric(&self) -> &'static str;

    /// Steps and learning rate of full training.
    fn full_training(&self) -> (usize, f64);

    /// What the data are, in words.
    fn words(&self) -> &str;

    /// Feeds the data, as they are used, into a checksum.
    fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()>;

    /// Trains once and measures on the trial's part; a training that diverges has no score, any other error ends the search. `done` is the number of steps done so far, which is what is known of a training
    /// that fails; one that the user stops may end with any figure or error.
    fn figure(&self, trial: &Trial, done: &mut u32) -> anyhow::Result<f64>;
}

impl<T: SlotTask> Judge for T {
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        // One after another: a training runs on all threads itself, and Burn may wait for a lock while rayon lends it another training.
        trials.iter().map(|trial| outcome(self, trial)).collect()
    }

    fn data(&self) -> &str {
        self.words()
    }

    fn checksum(&self) -> anyhow::Result<String> {
        let mut print = Fingerprint::default();
        self.digest(&mut print)?;
        Ok(print.text())
    }

    fn recipe(&self) -> anyhow::Result<String> {
        recipe::to_text(self.slot_recipe())
    }
}

/// `None` where the user asked to stop.
fn outcome<T: SlotTask>(task: &T, trial: &Trial) -> anyhow::Result<Option<Outcome>> {
    let mut done = 0;
    let figure = task.figure(trial, &mut done);
    if interrupt::asked() {
        return Ok(None);
    }
    match figure {
        Ok(accuracy) => {
            let curve = vec![(trial.steps, accuracy)];
            Ok(Some(Outcome { end: End::Done, accuracy, steps: trial.steps, curve }))
        }
        Err(e) if has_diverged(&e) => Ok(Some(Outcome::without_score(End::Diverged, done))),
        Err(e) => Err(e),
    }
}

/// What the data are, in words: their name, what they are made of, and how many are trained on, judged by, and kept for the verdict.
pub fn in_words(name: &str, kind: &str, [train, validation, test]: [usize; 3]) -> String {
    format!("{name}: {train} {kind} to train on, {validation} to judge by, {test} for the verdict")
}

pub fn run<T: SlotTask>(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let given = [
        again::recipe_flags(&args.recipe, &args.set),
        vec![("--slot", args.slot.is_some()), ("--data", args.data.is_some()), ("--seed", args.seed.is_some())],
    ];
    let resumed = super::resumed(&args.options, T::TASK, &given.concat())?;
    let (recipe, folder) = match &resumed {
        Some(resumed) => (recipe::parse_text(&resumed.recipe)?, resumed.begun.data.clone()),
        None => (args.recipe::<T>()?, args.folder()),
    };
    let space = recipe.space::<T>()?;
    let task = T::open(recipe, folder.as_deref())?;
    let recipe = task.slot_recipe();
    let (steps, rate) = task.full_training();
    let arena = Arena {
        task: format!("{} --slot {}", T::TASK, recipe.slot.name),
        judge: &task,
        space,
        rivals: vec![T::LOSS.to_owned()],
        metric: task.metric(),
        sections: recipe.sections(steps, rate)?,
        conditions: serde_json::to_string(&recipe.task)?,
    };
    super::run(&arena, &args.options, resumed, New { out: args.out.as_deref(), data: folder.as_deref() }, args.json)
}

/// The judge of a study, from the study's recipe; `folder` is where this machine has its data.
pub fn judge<T: SlotTask>(recipe: &str, folder: Option<&Path>) -> anyhow::Result<Box<dyn Judge>> {
    Ok(Box::new(T::open(recipe::parse_text(recipe)?, folder)?))
}

impl Args {
    fn recipe<T: SlotTask>(&self) -> anyhow::Result<SlotRecipe<T::Recipe>> {
        let slot = self.slot.as_deref().unwrap_or_default();
        let mut set = self.set.clone();
        set.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        let mut recipe = SlotRecipe::load::<T>(slot, &self.recipe, &set)?;
        if let Some(data) = &self.data {
            T::name_data(&mut recipe.task, data);
        }
        Ok(recipe)
    }

    /// The folder or file of the data; the name of made data is none.
    fn folder(&self) -> Option<PathBuf> {
        self.data.as_ref().map(PathBuf::from).filter(|path| path.exists())
    }
}

/// The recipe of a search for a kernel in a slot of a task's loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecipe<T> {
    /// Where every random number comes from.
    pub seed: u64,
    /// The slot.
    pub slot: Slot,
    pub search: Search,
    pub taylor: Taylor,
    pub cma_es: CmaEs,
    pub compare: Compare,
    /// The recipe of the task.
    pub task: T,
}

/// Where the formula goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The slot's name in the catalogue's entry of the loss.
    pub name: String,
    /// What its variables can be: a formula must be finite there.
    pub range: Range,
    /// The share of the training part that is held back to judge by.
    pub validation: f64,
}

/// `[low, high]` of all variables, or one such pair for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "slot.range: expected [low, high], or one such pair for each variable")]
pub enum Range {
    All([f64; 2]),
    Each(Vec<[f64; 2]>),
}

impl Range {
    fn each(&self) -> Vec<[f64; 2]> {
        match self {
            Self::All(range) => vec![*range],
            Self::Each(ranges) => ranges.clone(),
        }
    }
}

impl<R: DeserializeOwned> SlotRecipe<R> {
    /// Reads a recipe: the sections of a search with the task's preset under `task`, changed by a file and by `--set`.
    pub fn load<T: SlotTask<Recipe = R>>(slot: &str, choice: &str, set: &[String]) -> anyhow::Result<Self> {
        let mut table: Table = SECTIONS.parse().context("recipes/slot-laptop.toml")?;
        // The recipe of these sections is what is changed anyhow.
        let sections =
            !Path::new(choice).is_file() && recipe::built_in(choice).is_some_and(|(name, _)| name == "slot-laptop");
        let choice = if sections { "laptop" } else { choice };
        let named = recipe::named(T::PRESETS, choice)?;
        let file = named.is_none().then_some(Path::new(choice));
        let task = named.map_or_else(|| T::PRESETS.laptop.parse().context("the task's preset"), Ok)?;
        table.insert("task".to_owned(), Value::Table(task));
        for change in T::DEFAULTS.iter().copied().chain([format!("slot.name=\"{slot}\"").as_str()]) {
            recipe::assign(&mut table, change)?;
        }
        recipe::load_table(table, file, set)
    }
}

const RANGES: &[Limits] = &[("slot.range", -1e30, 1e30), ("slot.validation", 0.0, 1.0)];

impl<R> SlotRecipe<R> {
    /// The formulas of the slot.
    pub fn space<T: SlotTask>(&self) -> anyhow::Result<Space> {
        let ranges = self.slot.range.each();
        ensure!(
            ranges.iter().all(|[low, high]| low < high && low.is_finite() && high.is_finite()),
            "slot.range: expected two ascending numbers"
        );
        Space::kernel(T::LOSS, T::parameter(&self.slot.name)?, ranges).map_err(|e| anyhow::anyhow!("--slot: {e}"))
    }

    /// The sections, with the task's full training.
    pub fn sections(&self, steps: usize, rate: f64) -> anyhow::Result<Sections> {
        let most = ranges::STEPS[1] as usize;
        ensure!(steps <= most, "recipe: task: a full training of {steps} steps; expected at most {most}");
        let steps = steps as u32;
        let Self { seed, slot, search, taylor, cma_es, compare, task: _ } = self;
        let own = json!({
            "seed": seed, "slot": slot, "search": search, "taylor": taylor, "cma_es": cma_es, "compare": compare
        });
        ranges::check(&own, "", &[ranges::SEARCH, RANGES])?;
        ensure!(
            self.search.genome == super::recipe::Genome::Tree,
            "search.genome: a slot takes trees; Taylor polynomials are losses over classes"
        );
        let sections = Sections {
            seed: self.seed,
            search: self.search.clone(),
            taylor: self.taylor.clone(),
            cma_es: self.cma_es.clone(),
            compare: self.compare.clone(),
            steps,
            rate,
        };
        sections.check()?;
        Ok(sections)
    }

    /// The seed of a trial: replicates of one study, and the same replicate of two studies, have streams of their own.
    pub fn seed_of(&self, trial: &Trial) -> u64 {
        self.seed.wrapping_mul(1_000_003).wrapping_add(trial.seed)
    }

    /// How many of the training examples, the last, are held back to judge by: `slot.validation` of them.
    pub fn held_back(&self, train: usize, test: usize, data: &str) -> anyhow::Result<usize> {
        let share = self.slot.validation;
        super::recipe::share("slot.validation", share)?;
        let count = (train as f64 * share).ceil() as usize;
        ensure!(
            count >= 1 && count < train && test > 0,
            "{data}: {train} training and {test} test examples; slot.validation = {share} leaves nothing to train on or to judge by"
        );
        Ok(count)
    }
}

/// A training of so many steps, where training goes by passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    pub passes: usize,
    /// The first so many of the training examples: a short training sees fewer.
    pub examples: usize,
}

impl Passes {
    /// The fewest passes over `all` examples, `batch` a step, that have so many steps.
    pub fn of(steps: usize, batch: usize, all: usize) -> Self {
        let (batch, steps) = (batch.max(1), steps.max(1));
        let passes = steps.div_ceil(all.div_ceil(batch).max(1));
        Self { passes, examples: (steps.div_ceil(passes) * batch).min(all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_passes_over_examples() {
        // 30 examples are 4 steps of 8.
        for (steps, passes, examples) in [(12, 3, 30), (4, 1, 30), (1, 1, 8), (3, 1, 24), (6, 2, 24), (0, 1, 8)] {
            assert_eq!(Passes::of(steps, 8, 30), Passes { passes, examples }, "{steps}");
        }
    }
}
