//! Losses and models of lossmith on Burn: training, prediction, post-processing.
