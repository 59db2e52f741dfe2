//! One folder a task: how it is trained, compared and searched.

pub mod classifier;
pub mod cmat;
pub mod embedding;
