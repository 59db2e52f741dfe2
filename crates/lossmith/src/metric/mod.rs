//! Metrics: one file per protocol, in f64, streaming image by image.

mod average_precision;
pub mod cityscapes;
pub mod instances;
pub mod numpy;
pub mod openimages_vrd;
pub mod relation_order;
pub mod triplets;
pub mod visual_genome;
pub mod vrd;
