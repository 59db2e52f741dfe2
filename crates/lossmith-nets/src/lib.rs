//! Convolution and dense kernels and the lock-step trainer of many small classifiers.
//!
//! A search trains thousands of tiny networks: there a framework's overhead per operation is most of the cost, and
//! training all candidates on the same batches from the same weights makes the comparison paired. Nothing here knows
//! evolution, files or frameworks.

pub mod kernel;
