//! Genetic programming and CMA-ES over loss formulas, ask-and-tell.
