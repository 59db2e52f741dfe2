//! Losses and models of lossmith on Burn: training, prediction, post-processing.

pub mod bridge;
pub mod checkpoint;
pub mod cmat;
pub mod conv;
pub mod embedding;
pub mod polarmask;
pub mod reldn;
