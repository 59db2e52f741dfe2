//! The task `embedding`: instance segmentation by embedding.

pub mod compare;
pub mod predict;
pub mod search;
pub mod train;

use std::path::Path;

use anyhow::{Context, ensure};
use lossmith::loss::Spec;
use lossmith::metric::instances::{Mode, Overlaps};
use lossmith_burn::embedding::{Cluster, Given, Model, Recipe};
use lossmith_data::label_images::{self, LabelledSet, Sample};
use lossmith_data::make::scenes::{Kind, Scenes};
use serde::{Deserialize, Serialize};

use crate::ranges::{self, Limits, MADE, SEED, STEPS, key};
use crate::recipe::Presets;
use crate::run::Run;
use crate::study::Identity;
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::{self, inputs};

/// The presets.
pub const PRESETS: Presets = Presets {
    task: "embedding",
    laptop: include_str!("../../../../../recipes/embedding-laptop.toml"),
    full: include_str!("../../../../../recipes/embedding-full.toml"),
};

/// The file of the weights in a run.
pub const WEIGHTS: &str = "model.safetensors";

/// Everything that a run depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingRecipe {
    /// The loss of the embeddings.
    pub loss: String,
    /// A folder of labelled images, or `sticks` or `rosettes`.
    pub data: String,
    /// The pictures that are made where data is `sticks` or `rosettes`.
    pub made: Made,
    /// Network and training.
    pub model: Recipe,
}

/// How many pictures are made; they are as large as what the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// To train on.
    pub train: usize,
    /// To judge by.
    pub test: usize,
}

const RANGES: &[Limits] = &[
    key("made.train", MADE),
    key("made.test", MADE),
    ("model.dim", 1.0, 64.0),
    ("model.widths", 1.0, 1024.0),
    ("model.side", 16.0, 4096.0),
    key("model.steps", STEPS),
    ("model.batch", 1.0, 256.0),
    ("model.learning_rate", 1e-12, 1.0),
    ("model.clip", 1e-12, 1e6),
    ("model.enlarge", 1.0, 8.0),
    ("model.zoom", 1.0, 8.0),
    ("model.bandwidth", 1e-6, 1e6),
    ("model.separation", 1e-6, 1e6),
    ("model.least_size", 0.0, 1e9),
    key("model.seed", SEED),
];

impl EmbeddingRecipe {
    /// Checks what the types do not say; `prefix` is where the recipe stands in that of a search.
    pub fn check(&self, prefix: &str) -> anyhow::Result<()> {
        self.model.check()?;
        ranges::check(self, prefix, &[RANGES])
    }
}

/// Checks that a loss is one of embeddings.
pub fn check_loss(spec: &Spec) -> anyhow::Result<()> {
    let reads = |name| matches!(spec, Spec::Named(loss) if loss.entry().inputs.iter().any(|input| input.name == name));
    ensure!(
        reads("embedding") && reads("labels"),
        "{spec}: this is no loss of embeddings; expected one of discriminative's kind"
    );
    Ok(())
}

/// The data that a recipe names: generated, or a folder.
pub fn data(recipe: &EmbeddingRecipe) -> anyhow::Result<LabelledSet> {
    let made = |kind| {
        inputs::warn_of_folder(&recipe.data);
        let Made { train, test } = recipe.made;
        let scenes = Scenes { side: recipe.model.side.max(32), train, test, ..Scenes::new(kind, recipe.model.seed) };
        Ok(scenes.make()?)
    };
    match recipe.data.as_str() {
        "sticks" => made(Kind::Sticks),
        "rosettes" => made(Kind::Rosettes),
        folder => {
            let found = label_images::read_folder(Path::new(folder))?;
            inputs::warn_of_unlabelled(Path::new(folder))?;
            ensure!(
                found.train.iter().any(|sample| sample.labels.instances() > 0),
                "{folder}: the label images of all {} pictures to train on are background: there is nothing to learn from",
                found.train.len()
            );
            Ok(found)
        }
    }
}

/// Adds pictures and their instances to a checksum.
pub fn digest(print: &mut Fingerprint, parts: &[&[Sample]]) {
    for part in parts {
        print.numbers([part.len()]);
        for sample in *part {
            let p = &sample.picture;
            print.numbers([p.height, p.width, p.channels]);
            print.bytes(&p.samples);
            print.numbers(sample.labels.ids.iter().map(|id| *id as usize));
        }
    }
}

/// The identity of a run of `command`.
pub fn identity(command: &str, recipe: &EmbeddingRecipe, data: &LabelledSet) -> anyhow::Result<Identity> {
    let mut print = Fingerprint::default();
    digest(&mut print, &[&data.train, &data.test]);
    tasks::identity(command, print, recipe)
}

/// The mean SBD of the instances that a model finds.
///
/// # Errors
/// [`lossmith_burn::embedding::EmbeddingError::Cluster`] where the embeddings are not finite: the network has diverged.
pub fn mean_sbd(model: &Model, samples: &[Sample]) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for sample in samples {
        let found = model.predict(&sample.picture, Cluster::MeanShift, Given::default())?;
        sum += Overlaps::between(&sample.labels.ids, &found.labels.ids)?.scores(Mode::Corrected).sbd;
    }
    Ok(sum / samples.len().max(1) as f64)
}

/// The model of a run.
pub fn open(run: &Run) -> anyhow::Result<Model> {
    let recipe: EmbeddingRecipe = crate::recipe::parse_text(&run.read("recipe.toml")?)
        .with_context(|| format!("{}: no run of `train embedding`", run.folder().display()))?;
    let path = run.path(WEIGHTS);
    let bytes = lossmith_data::whole_bytes(&path)?;
    Model::from_bytes(recipe.model, bytes).with_context(|| path.display().to_string())
}
