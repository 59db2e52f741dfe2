//! What can be wrong with a network, its data or the way it is to be trained.

/// What can be wrong with a network, its data or the way it is to be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetsError {
    /// A layer that cannot stand where it stands.
    #[error("layer {layer} ({kind}): {message}")]
    Layer {
        /// Its number, from 1.
        layer: usize,
        /// What it is.
        kind: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Images and labels that do not fit together or to the network.
    #[error("data: {0}")]
    Data(String),
    /// A setting that training cannot take.
    #[error("recipe: {0}")]
    Recipe(String),
    /// Weights that do not fit the network.
    #[error("weights: {0}")]
    Weights(String),
}
