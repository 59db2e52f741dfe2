//! The arithmetic of small networks on plain slices, forward and backward.
//!
//! Images are `[height, width, channels]` (channels last), so that a row of a convolution's window is one run of
//! memory; batches are images one after another. Matrices are row by row. Everything is f32 (but for operands in
//! [`bf16`]), single-threaded, and the same bits for the same input on the same machine: threads are the caller's
//! business.

pub mod arithmetic;
pub mod bf16;
pub mod conv;
pub mod dense;
pub mod dropout;
pub mod pool;
mod positions;
mod simd;
mod slices;
pub mod softmax;
mod winograd;

pub use conv::{Conv, Layout};
pub use pool::MaxPool;
