//! Readers, writers and generators of vision data.
//!
//! Every reader checks what a file says against what it can hold and against the [`limits`] before anything is allocated,
//! and its errors name the file and, where there is one, the record. Every writer makes a file whole or not at all.

pub mod atomic;
pub mod cifar;
pub mod cityscapes;
pub mod classification;
pub mod coco;
pub mod companions;
mod error;
pub mod fetch;
pub mod folder;
pub mod graph_features;
pub mod graph_json;
pub mod idx;
pub mod instance_set;
pub mod label_doubts;
pub mod label_images;
pub mod limits;
pub mod make;
pub mod node_graphs;
pub mod openimages;
mod outline;
pub mod parts;
pub mod picture;
pub mod picture_file;
pub mod predicate_groups;
pub mod predictions;
mod records;
pub mod scene_graphs;
mod source;
pub mod tensors;
pub mod visual_genome;
pub mod vrd;

pub use error::{DataError, Result};
pub use source::{whole_bytes, whole_text};
