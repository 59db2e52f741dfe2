//! Convolution and dense kernels and the lock-step trainer of many small classifiers.
//!
//! A search trains thousands of tiny networks: there a framework's overhead per operation is most of the cost, and
//! training all candidates on the same batches from the same weights makes the comparison paired. Nothing here knows
//! evolution, files or frameworks.

mod dataset;
mod error;
mod init;
pub mod kernel;
mod model;
pub mod nchw;
mod net;
mod network;
mod pass;
mod sgd;
mod train;
mod weights;

pub use dataset::{Augment, Dataset};
pub use error::NetsError;
pub use kernel::bf16::Precision;
pub use model::Model;
pub use net::{Layer, Net, PRESETS, preset};
pub use network::{Network, Shape};
pub use train::{BatchLoss, Candidate, Control, Data, End, Event, Outcome, Penalty, Point, Recipe, train};
pub use weights::{Weight, Weights};
