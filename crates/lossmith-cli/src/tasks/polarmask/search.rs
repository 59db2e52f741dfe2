//! `lossmith search polarmask --slot rays`: discover a kernel of the overlap of rays, judged by the mask AP.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use lossmith::loss::LossError;
use lossmith_burn::polarmask::TrainError;
use lossmith_data::instance_set::{InstanceSet, Part, Source};
use lossmith_search::space::Space;
use lossmith_search::trial::{End, Outcome, Part as TrialPart, Trial};
use sha2::{Digest, Sha256};

use super::Recipe;
use super::score::score;
use super::train::Session;
use crate::interrupt;
use crate::output::Answer;
use crate::recipe::Presets;
use crate::tasks::Judge;
use crate::tasks::search::slot::SlotRecipe;
use crate::tasks::search::{self, Arena, New, Options};

/// The loss whose kernel is searched, and how the catalogue names it there.
const LOSS: &str = "polar-iou";
const KERNEL: &str = "kernel";
/// What the command line calls it.
const SLOT: &str = "rays";

/// A candidate is trained for seconds, so the short recipe is the one to begin with.
const PRESETS: Presets =
    Presets { laptop: include_str!("../../../../../recipes/polarmask-ablation.toml"), full: super::PRESETS.full };

/// What a search for this slot has otherwise than others: ray sums in pixels, and as many steps as a detector needs to find anything.
const CHANGES: [&str; 7] = [
    "slot.range=[1.0, 2000.0]",
    "search.population=12",
    "search.generations=4",
    "search.steps=250",
    "search.savings.halving_steps=0",
    "compare.seeds=3",
    "compare.rates=[0.001, 0.002, 0.004]",
];

/// The arguments of `search polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Polar IoU is log(b/a), with a the sum of the smaller and b the sum of the larger of predicted and true rays; another formula of a and b is\n\
searched for. Fitness is the mask AP on pictures held back from the training; the verdict is on the test part.\n\n\
The recipe is that of a search (recipes/slot-laptop.toml) with that of the task under `task` (recipes/polarmask-ablation.toml).\n\
Example: lossmith search polarmask --slot rays --set task.made.train=200 --set search.population=8")]
pub struct Args {
    /// The kernel that is searched: rays; needed unless a run is resumed
    #[arg(long, value_name = "SLOT", required_unless_present = "resume")]
    slot: Option<String>,
    /// `shapes` (made), a folder (COCO's, of `data make shapes`, of label images), or a COCO file with --images
    #[arg(long, value_name = "DIR|FILE")]
    data: Option<String>,
    /// The folder of the pictures, where --data is a COCO file
    #[arg(long, value_name = "DIR")]
    images: Option<String>,
    /// laptop, full, or a file that changes keys of the laptop recipe
    #[arg(long, default_value = "laptop", value_name = "laptop|full|FILE")]
    recipe: String,
    /// Change one key of the recipe (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where every random number comes from
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The run's folder, which must not exist yet; runs/search-polarmask-NUMBER without it
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
    let slot = &recipe.slot;
    ensure!(slot.name == SLOT, "--slot: {LOSS} has no slot '{}'; it has: {SLOT}", slot.name);
    let space = Space::kernel(LOSS, KERNEL, slot.range).map_err(|e| anyhow::anyhow!("--slot: {e}"))?;
    let detector = Detector::new(recipe, None)?;
    let arena = Arena {
        task: format!("polarmask --slot {SLOT}"),
        space,
        rivals: vec![LOSS.to_owned()],
        metric: "mask AP",
        sections: detector.recipe.sections(detector.steps() as u32, detector.recipe.task.train.rate)?,
        conditions: serde_json::to_string(&detector.recipe.task)?,
        judge: &detector,
    };
    search::run(&arena, &args.options, resumed, New { out: args.out.as_deref(), data: None }, args.json)
}

impl Args {
    fn recipe(&self) -> anyhow::Result<SlotRecipe<Recipe>> {
        let slot = self.slot.as_deref().unwrap_or_default();
        let mut set = self.set.clone();
        set.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        let mut recipe: SlotRecipe<Recipe> = SlotRecipe::load_changed(PRESETS, &CHANGES, slot, &self.recipe, &set)?;
        for (value, key) in [(&self.data, &mut recipe.task.data), (&self.images, &mut recipe.task.images)] {
            if let Some(value) = value {
                key.clone_from(value);
            }
        }
        Ok(recipe)
    }
}

/// The judge of a study, from the study's recipe; `folder` is where this machine has its data.
pub fn judge(recipe: &str, folder: Option<&Path>) -> anyhow::Result<Detector> {
    Detector::new(crate::recipe::parse_text(recipe)?, folder)
}

/// Trains the network with a loss on the rays, and scores the masks that it finds.
pub struct Detector {
    recipe: SlotRecipe<Recipe>,
    /// To train on, and what is held back from it to judge by.
    learned: InstanceSet,
    /// For the verdict.
    test: Part,
    words: String,
}

impl Detector {
    fn new(recipe: SlotRecipe<Recipe>, folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut here = recipe.task.clone();
        if let Some(folder) = folder {
            here.data = folder.display().to_string();
        }
        let InstanceSet { train: all, test } = here.data()?;
        let held_back = (all.pictures.len() as f64 * recipe.slot.validation).ceil() as usize;
        ensure!(
            held_back >= 1 && held_back < all.pictures.len(),
            "{}: {} training images; slot.validation = {} leaves nothing to train on or to judge by",
            here.data,
            all.pictures.len(),
            recipe.slot.validation
        );
        let [train, validation] = all.split(all.pictures.len() - held_back);
        let words = format!(
            "{}: {} images to train on, {} to judge by, {} for the verdict",
            here.data,
            train.pictures.len(),
            validation.pictures.len(),
            test.pictures.len()
        );
        let learned = InstanceSet { train, test: validation };
        // What no candidate can change is found out before the first.
        Session::new(&recipe.task, &learned)?;
        Ok(Self { recipe, learned, test, words })
    }

    /// The steps of a whole training.
    fn steps(&self) -> usize {
        let train = &self.recipe.task.train;
        let in_epoch = self.learned.train.pictures.len().div_ceil(train.batch.max(1));
        if train.steps > 0 { train.steps } else { train.epochs * in_epoch }
    }

    /// Trains once, and gives the mask AP of the part; `None` where the user asked to stop.
    fn outcome(&self, trial: &Trial) -> anyhow::Result<Option<Outcome>> {
        let mut recipe = self.recipe.task.clone();
        recipe.train.loss.clone_from(&trial.loss);
        recipe.train.steps = trial.steps as usize;
        recipe.train.rate = trial.rate.unwrap_or(recipe.train.rate);
        // Replicates of one study, and the same replicate of two studies, have streams of their own.
        recipe.train.seed = self.recipe.seed.wrapping_mul(1_000_003).wrapping_add(trial.seed);
        let judged = match trial.part {
            TrialPart::Validation => &self.learned.test,
            TrialPart::Test => &self.test,
        };
        let mut done = 0;
        let scored = Session::new(&recipe, &self.learned)?
            .fit(&recipe, None, |progress, _| {
                done = progress.step;
                if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .and_then(|model| score(&model, judged));
        if interrupt::asked() {
            return Ok(None);
        }
        match scored {
            Ok(scores) => {
                let accuracy = scores.coco.AP.max(0.0);
                let curve = vec![(trial.steps, accuracy)];
                Ok(Some(Outcome { end: End::Done, accuracy, steps: trial.steps, curve }))
            }
            Err(e) => match e.downcast_ref() {
                Some(TrainError::Loss(LossError::Input { .. })) => {
                    Ok(Some(Outcome::without_score(End::Diverged, done as u32)))
                }
                _ => Err(e),
            },
        }
    }
}

impl Judge for Detector {
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        // One after another: Burn's random numbers, which weights are made of, belong to the device.
        trials.iter().map(|trial| self.outcome(trial)).collect()
    }

    fn data(&self) -> &str {
        &self.words
    }

    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.learned.train, &self.learned.test, &self.test] {
            hash.update(serde_json::to_string(&part.truth).unwrap_or_default());
            part.pictures.iter().for_each(|picture| add_picture(&mut hash, picture));
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn recipe(&self) -> anyhow::Result<String> {
        crate::recipe::to_text(&self.recipe)
    }
}

/// A made picture by its pixels, one in a file by the file's length: the ground truth holds the names, and COCO is too large to be
/// read for a checksum.
fn add_picture(hash: &mut Sha256, picture: &Source) {
    match picture {
        Source::Here(picture) => {
            hash.update(format!("{} {};", picture.width, picture.height));
            hash.update(&picture.pixels);
        }
        Source::File(path) => hash.update(format!("{:?};", std::fs::metadata(path).map(|m| m.len()).ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_recipe_is_complete_and_kernels_train_or_fail_alone() {
        let set = ["task.made.train=12", "task.made.test=4", "task.network.width=64", "task.network.height=64"];
        let recipe: SlotRecipe<Recipe> =
            SlotRecipe::load_changed(PRESETS, &CHANGES, SLOT, "laptop", &set.map(str::to_owned)).unwrap();
        let text = crate::recipe::to_text(&recipe).unwrap();
        let detector = judge(&text, None).unwrap();
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
        let published = Trial { loss: LOSS.to_owned(), ..trial.clone() };
        let broken = Trial { loss: "polar-iou(kernel=\"log(a - b)\")".to_owned(), ..trial.clone() };
        let outcomes = detector.evaluate(&[trial, published, broken]).unwrap();
        let ends: Vec<End> = outcomes.iter().flatten().map(|o| o.end).collect();
        assert_eq!(ends, [End::Done, End::Done, End::Diverged]);
    }
}
