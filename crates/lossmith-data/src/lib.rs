//! Readers, writers and generators of vision data.
//!
//! Every reader checks what a file says against what it holds before anything is allocated, and its errors name the file
//! and, where there is one, the record. Every writer makes a file whole or not at all.

pub mod atomic;
pub mod cifar;
pub mod classification;
pub mod coco;
mod error;
pub mod fetch;
pub mod folder;
pub mod idx;
pub mod label_images;
pub mod make;
pub mod picture;
pub mod node_graphs;
mod source;
pub mod tensors;

pub use error::{DataError, Result};
