//! Genetic programming and CMA-ES over loss formulas.
//!
//! Everything here is ask-and-tell: a searcher says what to evaluate and is told the result, and never calls the objective.
//! So evaluation may be parallel, remote, cached, killed and resumed. The whole state of a searcher, its place in the random
//! stream included, is plain data for serde: what is saved after any call goes on exactly as if it had never stopped.
//!
//! Knows nothing of networks, data, files or clocks.

pub mod archive;
pub mod cma_es;
pub mod coefficients;
pub mod comparison;
pub mod discovery;
pub mod filters;
pub mod gp;
pub mod halving;
pub mod savings;
pub mod space;
mod stream;
pub mod taylor;
pub mod trial;

pub use stream::Stream;
