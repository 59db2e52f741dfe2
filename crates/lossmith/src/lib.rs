//! Loss functions for computer vision: formulas, losses, metrics and checks on plain slices.
//!
//! A loss is small kernels ([`expr`]) in an aggregator ([`loss`]). It is a pure function: prediction and target in; value,
//! named parts and the gradient with respect to the prediction out. Nothing here knows files, clocks or frameworks.

pub mod check;
pub mod cluster;
pub mod critic;
pub mod expr;
pub mod frequency;
pub mod graph;
pub mod loss;
pub mod metric;
pub mod polar;
pub mod simd;
pub mod stats;
