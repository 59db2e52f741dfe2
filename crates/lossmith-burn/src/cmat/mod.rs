//! CMAT: scene graphs by communicating agents, trained by a counterfactual critic.
//!
//! Every object of a scene is an agent whose action is its class. After some rounds of messages each chooses a class; classes
//! and pair states give the relations, and the graph's own metric is the reward (`lossmith::critic`).
//!
//! Source: Chen et al., "Counterfactual Critic Multi-Agent Training for Scene Graph Generation", ICCV 2019. No public
//! implementation is known. What the paper leaves open is chosen here and said in [`agents`] and [`train`].

pub mod agents;
pub mod evaluate;
pub mod geometry;
pub mod node_losses;
pub mod predict;
pub mod scene;
pub mod store;
pub mod train;

pub use agents::{Agents, Config};
pub use train::{Objective, Settings, Trainer};

/// What can go wrong in training, prediction and evaluation.
#[derive(Debug, thiserror::Error)]
pub enum CmatError {
    /// A setting out of range, or data that do not fit together.
    #[error("{0}")]
    Argument(String),
    /// The critic refuses a scene: a model whose numbers are no longer finite, or a truth out of range.
    #[error("scene {scene}: {cause}")]
    Scene {
        /// Which scene, from 0.
        scene: usize,
        /// What the critic says.
        cause: lossmith::critic::CriticError,
    },
}
