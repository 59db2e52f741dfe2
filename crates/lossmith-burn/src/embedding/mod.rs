//! Instance segmentation by embedding: a network gives every pixel a point in a small space and a foreground score; the
//! discriminative loss keeps the points of one instance together and those of others apart; clustering finds the instances.
//!
//! De Brabandere, Neven, Van Gool 2017, arXiv 1708.02551.

mod model;
mod planes;
mod predict;
mod tiles;
mod train;

pub use model::EmbeddingNet;
pub use predict::{Cluster, FoundInstance, Given, Prediction};
pub use train::{Step, Watch, train, train_from};

use burn::module::Module;
use burn::tensor::Device;
use burn_store::{ModuleSnapshot, SafetensorsStore};
use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointError;

/// Everything that decides what is trained, but the data and the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Dimensions of the embedding.
    pub dim: usize,
    /// Channels of each level of the network, from full resolution down; each level has half the resolution of the one before.
    pub widths: Vec<usize>,
    /// Rows and columns of what is trained on and of a tile in prediction.
    pub side: usize,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Pictures per step.
    pub batch: usize,
    /// Learning rate of Adam at the start; it falls to 0 along half a cosine.
    pub learning_rate: f64,
    /// The largest norm of a parameter's gradient.
    pub clip: f32,
    /// Pictures are enlarged by this factor before they are looked at, in training and in prediction: for objects that are only a few
    /// pixels wide. What is found is given in the picture's own pixels.
    #[serde(default = "as_they_are")]
    pub enlarge: f32,
    /// In training they are enlarged further, by a random factor between 1 and this.
    pub zoom: f32,
    /// Whether pictures are turned by random angles; else only mirrored.
    pub rotate: bool,
    /// The bandwidth of clustering, in units of the embedding.
    pub bandwidth: f32,
    /// How far apart the centres of instances are at least, in units of the embedding: see
    /// [`MeanShift`](lossmith::cluster::MeanShift).
    pub separation: f32,
    /// Whether the pieces of a cluster that do not touch are instances of their own, as is right for cells; leaves that cross come in
    /// pieces.
    #[serde(default)]
    pub connected: bool,
    /// Instances below this size are dropped, in pixels.
    pub least_size: usize,
    /// The seed of weights, order and augmentation.
    pub seed: u64,
}

impl Default for Recipe {
    /// Minutes on a laptop.
    fn default() -> Self {
        Self {
            dim: 8,
            widths: vec![12, 24, 48, 64, 96],
            side: 96,
            steps: 400,
            batch: 4,
            learning_rate: 3e-3,
            clip: 10.0,
            enlarge: 1.0,
            zoom: 1.5,
            rotate: true,
            bandwidth: 1.5,
            separation: 1.75,
            connected: false,
            least_size: 20,
            seed: 0,
        }
    }
}

fn as_they_are() -> f32 {
    1.0
}

impl Recipe {
    /// For the paper's setting: a network of about the size of ENet-and-a-half on 512 x 512, 16 dimensions. It wants a GPU.
    pub fn full() -> Self {
        Self {
            dim: 16,
            widths: vec![16, 32, 64, 128, 128],
            side: 512,
            steps: 40_000,
            batch: 4,
            learning_rate: 5e-4,
            ..Self::default()
        }
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// The first setting out of range.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        let levels = self.widths.len();
        let wrong = |message: String| Err(EmbeddingError::Recipe(message));
        if !(1..=64).contains(&self.dim) {
            return wrong(format!("dim is {}: expected 1 to 64", self.dim));
        }
        if !(2..=6).contains(&levels) || self.widths.iter().any(|w| !(1..=1024).contains(w)) {
            return wrong(format!("widths are {:?}: expected 2 to 6 levels of 1 to 1024 channels", self.widths));
        }
        let step = 1 << (levels - 1);
        if !(16..=4096).contains(&self.side) || !self.side.is_multiple_of(step) {
            return wrong(format!("side is {}: expected a multiple of {step} from 16 to 4096", self.side));
        }
        if self.steps == 0 || !(1..=256).contains(&self.batch) {
            return wrong(format!(
                "steps and batch: {} steps of {} pictures: expected at least one of 1 to 256",
                self.steps, self.batch
            ));
        }
        let numbers = self.batch * self.side * self.side * self.widths[0];
        if numbers > MOST_NUMBERS {
            return wrong(format!(
                "batch x side x side x widths[0] is {numbers}: expected at most {MOST_NUMBERS} numbers in a layer"
            ));
        }
        for (name, value, most) in [
            ("learning_rate", self.learning_rate, 1.0),
            ("clip", f64::from(self.clip), 1e6),
            ("bandwidth", f64::from(self.bandwidth), 1e6),
            ("separation", f64::from(self.separation), 1e6),
        ] {
            if !(value > 0.0 && value <= most) {
                return wrong(format!("{name} is {value}: expected a number above 0, at most {most}"));
            }
        }
        for (name, value) in [("zoom", self.zoom), ("enlarge", self.enlarge)] {
            if !(1.0..=8.0).contains(&value) {
                return wrong(format!("{name} is {value}: expected 1 to 8"));
            }
        }
        Ok(())
    }
}

/// The most numbers that the first layer may hold for the pictures of a step: a GiB, of which a training takes some dozens.
const MOST_NUMBERS: usize = 1 << 28;

/// What can go wrong in training and prediction.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// A setting out of range.
    #[error("recipe: {0}")]
    Recipe(String),
    /// The loss refuses its input.
    #[error(transparent)]
    Loss(#[from] lossmith::loss::LossError),
    /// The clustering refuses its input: the network has diverged.
    #[error(transparent)]
    Cluster(#[from] lossmith::cluster::ClusterError),
    /// The loss became infinite or undefined.
    #[error("step {step}: the loss is {value}; a smaller learning rate or another seed may help")]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        value: f64,
    },
    /// There is nothing to train on.
    #[error("no picture to train on")]
    NoData,
    /// A checkpoint that does not fit the recipe, or cannot be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of weights that does not fit the recipe.
    #[error("the weights do not fit the recipe: {0}")]
    Weights(String),
}

/// A trained network with what is needed to use it.
#[derive(Debug)]
pub struct Model {
    recipe: Recipe,
    net: EmbeddingNet,
}

impl Model {
    fn new(recipe: Recipe, net: EmbeddingNet) -> Self {
        Self { recipe, net }
    }

    /// The recipe that it was trained by.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The number of its weights.
    pub fn weights(&self) -> usize {
        self.net.num_params()
    }

    /// The weights as a safetensors file.
    ///
    /// # Errors
    /// The store refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EmbeddingError> {
        let refused = |e: &dyn std::fmt::Display| EmbeddingError::Weights(e.to_string());
        // One entry of metadata: Burn's own three are written in random order, and the same weights are to be the same bytes.
        let mut store = SafetensorsStore::from_bytes(None).clear_metadata().metadata("format", "safetensors");
        self.net.save_into(&mut store).map_err(|e| refused(&e))?;
        store.get_bytes().map_err(|e| refused(&e))
    }

    /// A model from its recipe and the bytes of a safetensors file.
    ///
    /// # Errors
    /// A wrong recipe, bytes that are no such file or do not fit.
    pub fn from_bytes(recipe: Recipe, bytes: Vec<u8>) -> Result<Self, EmbeddingError> {
        recipe.check()?;
        let mut net = EmbeddingNet::new(&recipe, &Device::flex());
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        let applied = net.load_from(&mut store).map_err(|e| EmbeddingError::Weights(e.to_string()))?;
        if !applied.missing.is_empty() || !applied.unused.is_empty() || !applied.errors.is_empty() {
            let message = format!("{} missing, {} unused", applied.missing.len(), applied.unused.len());
            return Err(EmbeddingError::Weights(message));
        }
        Ok(Self { recipe, net })
    }
}

#[cfg(test)]
mod tests;
