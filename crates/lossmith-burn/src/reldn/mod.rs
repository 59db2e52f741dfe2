//! RelDN: scene graphs from pairs of boxes, trained by graphical contrastive losses.
//!
//! Every ordered pair of boxes of an image is given the probability of each predicate and of none, by what their classes, their places and the
//! picture say. The losses demand that a related pair look more related than those it could be confused with
//! (`lossmith::loss::graphical_contrastive`).
//!
//! Source: Zhang et al., "Graphical Contrastive Losses for Scene Graph Parsing", CVPR 2019, arXiv 1903.02728;
//! NVIDIA/ContrastiveLosses4VRD. Where this differs from either is said in [`model`], [`sampling`] and [`train`].

pub mod example;
pub mod geometry;
pub mod model;
pub mod predict;
pub mod roi_align;
pub mod sampling;
pub mod store;
mod table;
pub mod train;

pub use example::{Example, Sight, Source};
pub use model::{Config, Reldn};
pub use predict::predict;
pub use sampling::{Sampling, Several};
pub use train::{Optimizer, Progress, Settings, Trainer};

/// What can go wrong in training and prediction.
#[derive(Debug, thiserror::Error)]
pub enum ReldnError {
    /// A setting out of range, or weights that do not fit.
    #[error("{0}")]
    Argument(String),
    /// The loss refuses its input: mostly a training that has diverged.
    #[error("step {step}: {cause}; a smaller rate may help")]
    Step {
        /// The step, from 1.
        step: usize,
        /// What the loss says.
        cause: lossmith::loss::LossError,
    },
    /// The weights are no longer finite, or make numbers that are not.
    #[error("image {image}: the model's numbers are no longer finite; a smaller rate may help")]
    Diverged {
        /// The image at which it was seen.
        image: String,
    },
    /// Something is wrong with an image.
    #[error("image {image}: {message}")]
    Image {
        /// Its name.
        image: String,
        /// What is wrong.
        message: String,
    },
}
