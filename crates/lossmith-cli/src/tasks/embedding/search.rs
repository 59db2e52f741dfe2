//! `lossmith search embedding --slot SLOT`: discover a kernel of the discriminative loss, judged by the mean SBD.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use lossmith::loss::{Loss, Spec};
use lossmith_burn::embedding::{EmbeddingError, Recipe, train};
use lossmith_data::label_images::Sample;
use lossmith_search::space::Space;
use lossmith_search::trial::{End, Outcome, Part, Trial};
use sha2::{Digest, Sha256};

use super::{EmbeddingRecipe, PRESETS, data, mean_sbd};
use crate::interrupt;
use crate::output::Answer;
use crate::tasks::Judge;
use crate::tasks::search::slot::SlotRecipe;
use crate::tasks::search::{self, Arena, New, Options};

/// The loss whose slots are searched.
const LOSS: &str = "discriminative";

/// The arguments of `search embedding`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The recipe is that of a search (recipes/slot-laptop.toml) with that of the task under `task`.\n\
    Example: lossmith search embedding --slot pull --data sticks --set task.model.steps=200 --set search.population=12"
)]
pub struct Args {
    /// The kernel that is searched: pull, push or regularise; needed unless a run is resumed
    #[arg(long, value_name = "SLOT", required_unless_present = "resume")]
    slot: Option<String>,
    /// A folder of labelled images, or made data: `sticks`, `rosettes`
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// laptop, full, or a file that changes keys of the laptop recipe
    #[arg(long, default_value = "laptop", value_name = "laptop|full|FILE")]
    recipe: String,
    /// Change one key of the recipe (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where every random number comes from
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The run's folder, which must not exist yet; runs/search-embedding-NUMBER without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let resumed = search::resumed(&args.options)?;
    let recipe = match &resumed {
        Some((run, _)) => crate::recipe::parse_text(&run.read("recipe.toml")?)?,
        None => args.recipe()?,
    };
    let slot = recipe.slot.name.clone();
    let space = Space::kernel(LOSS, &slot, recipe.slot.range).map_err(|e| anyhow::anyhow!("--slot: {e}"))?;
    let sections = recipe.sections(recipe.task.model.steps as u32, recipe.task.model.learning_rate)?;
    let segmenter = Segmenter::new(recipe, None)?;
    let arena = Arena {
        task: format!("embedding --slot {slot}"),
        judge: &segmenter,
        space,
        rivals: vec![LOSS.to_owned()],
        metric: "SBD",
        sections,
        conditions: serde_json::to_string(&segmenter.recipe.task)?,
    };
    search::run(&arena, &args.options, resumed, New { out: args.out.as_deref(), data: None }, args.json)
}

impl Args {
    fn recipe(&self) -> anyhow::Result<SlotRecipe<EmbeddingRecipe>> {
        let slot = self.slot.as_deref().unwrap_or_default();
        let mut set = self.set.clone();
        set.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        let mut recipe: SlotRecipe<EmbeddingRecipe> = SlotRecipe::load(PRESETS, slot, &self.recipe, &set)?;
        if let Some(data) = &self.data {
            recipe.task.data.clone_from(data);
        }
        Ok(recipe)
    }
}

/// The judge of a study, from the study's recipe; `folder` is where this machine has its data.
pub fn judge(recipe: &str, folder: Option<&Path>) -> anyhow::Result<Segmenter> {
    Segmenter::new(crate::recipe::parse_text(recipe)?, folder)
}

/// Trains the embedding network with a loss, and scores the instances that it finds.
pub struct Segmenter {
    recipe: SlotRecipe<EmbeddingRecipe>,
    train: Vec<Sample>,
    validation: Vec<Sample>,
    test: Vec<Sample>,
    words: String,
}

impl Segmenter {
    fn new(recipe: SlotRecipe<EmbeddingRecipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        recipe.task.model.check()?;
        let here = folder.map_or_else(|| recipe.task.data.clone(), |folder| folder.display().to_string());
        let found = data(&EmbeddingRecipe { data: here, ..recipe.task.clone() })?;
        let (mut train, test) = (found.train, found.test);
        let held_back = (train.len() as f64 * recipe.slot.validation).ceil() as usize;
        ensure!(
            held_back >= 1 && held_back < train.len() && !test.is_empty(),
            "{}: {} training and {} test images; slot.validation = {} leaves nothing to train on or to judge by",
            recipe.task.data,
            train.len(),
            test.len(),
            recipe.slot.validation
        );
        let validation = train.split_off(train.len() - held_back);
        let words = format!(
            "{}: {} images to train on, {} to judge by, {} for the verdict",
            recipe.task.data,
            train.len(),
            validation.len(),
            test.len()
        );
        Ok(Self { recipe, train, validation, test, words })
    }

    /// Trains once, and gives the mean SBD of the part; `None` where the user asked to stop.
    fn outcome(&self, trial: &Trial) -> anyhow::Result<Option<Outcome>> {
        let base = &self.recipe.task.model;
        let recipe = Recipe {
            steps: trial.steps as usize,
            learning_rate: trial.rate.unwrap_or(base.learning_rate),
            // Replicates of one study, and the same replicate of two studies, have streams of their own.
            seed: self.recipe.seed.wrapping_mul(1_000_003).wrapping_add(trial.seed),
            ..base.clone()
        };
        let loss: Box<dyn Loss> = Spec::parse(&trial.loss)?.build()?;
        let judged = match trial.part {
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        };
        let mut done = 0;
        let scored = train(&self.train, &recipe, loss.as_ref(), |step| {
            done = step.step;
            !interrupt::asked()
        })
        .map_err(anyhow::Error::from)
        .and_then(|model| mean_sbd(&model, judged));
        if interrupt::asked() {
            return Ok(None);
        }
        match scored {
            Ok(accuracy) => {
                let curve = vec![(trial.steps, accuracy)];
                Ok(Some(Outcome { end: End::Done, accuracy, steps: trial.steps, curve }))
            }
            Err(e) => match e.downcast_ref() {
                Some(EmbeddingError::Diverged { .. } | EmbeddingError::Cluster(_)) => {
                    Ok(Some(Outcome::without_score(End::Diverged, done as u32)))
                }
                _ => Err(e),
            },
        }
    }
}

impl Judge for Segmenter {
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        // One after another: a training runs on all threads itself, and Burn may wait for a lock while rayon lends it another training.
        trials.iter().map(|trial| self.outcome(trial)).collect()
    }

    fn data(&self) -> &str {
        &self.words
    }

    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.train, &self.validation, &self.test] {
            hash.update(format!("{};", part.len()));
            for sample in part {
                let p = &sample.picture;
                hash.update(format!("{} {} {};", p.height, p.width, p.channels));
                hash.update(&p.samples);
                sample.labels.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
            }
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn recipe(&self) -> anyhow::Result<String> {
        crate::recipe::to_text(&self.recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_recipe_is_complete_and_its_published_kernel_trains() {
        let set = ["task.model.steps=2", "task.model.side=32", "task.model.batch=1", "task.model.widths=[4, 4, 4, 4]"];
        let recipe: SlotRecipe<EmbeddingRecipe> =
            SlotRecipe::load(PRESETS, "pull", "laptop", &set.map(str::to_owned)).unwrap();
        let text = crate::recipe::to_text(&recipe).unwrap();
        let segmenter = judge(&text, None).unwrap();
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
        let trials = [trial.clone(), Trial { loss: LOSS.to_owned(), ..trial }];
        let outcomes = segmenter.evaluate(&trials).unwrap();
        assert!(outcomes.iter().flatten().all(|o| o.end == End::Done && (0.0..=1.0).contains(&o.accuracy)));
        assert_eq!(outcomes.len(), 2);
        let error = SlotRecipe::<EmbeddingRecipe>::load(PRESETS, "pull", "laptop", &["task.model.depth=1".to_owned()]);
        assert!(format!("{:#}", error.unwrap_err()).contains("no key 'task.model.depth'"));
    }
}
