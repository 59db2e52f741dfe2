//! The task `embedding`: instance segmentation by embedding.

pub mod compare;
pub mod predict;
pub mod search;
pub mod train;

use std::path::Path;

use anyhow::{Context, ensure};
use lossmith::metric::instances::{Mode, Overlaps};
use lossmith_burn::embedding::{Cluster, Given, Model, Recipe};
use lossmith_data::label_images::{self, LabelledSet, Sample};
use lossmith_data::make::scenes::{Kind, Scenes};
use serde::{Deserialize, Serialize};

use crate::recipe::Presets;
use crate::run::Run;
use crate::tasks::inputs;

/// The presets.
pub const PRESETS: Presets = Presets {
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

/// The data that a recipe names: generated, or a folder.
pub fn data(recipe: &EmbeddingRecipe) -> anyhow::Result<LabelledSet> {
    let made = |kind| {
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
