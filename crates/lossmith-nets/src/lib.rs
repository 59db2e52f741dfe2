//! Convolution and dense kernels and the lock-step trainer of many small classifiers.
