//! Softmax in two factors: `exp(z + b) = exp(z) exp(b)`, so that a pair under any two classes costs products, no exponentials.

use crate::expr::math::exp_to_one;
use crate::simd::widest;

/// The width to which rows are padded, so that the loops over them become vector code.
pub(super) const LANES: usize = 8;

/// Rows of logits as weights `exp(z - max z)`: the predicates, padded with 0, and none apart.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    stride: usize,
    predicates: Vec<f32>,
    none: Vec<f32>,
}

/// One row of [`Weights`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub predicates: &'a [f32],
    pub none: f32,
}

impl Weights {
    /// From rows of `columns` logits, none first.
    pub fn new(logits: &[f32], columns: usize) -> Self {
        let (rows, stride) = (logits.len() / columns, (columns - 1).next_multiple_of(LANES));
        let mut weights = Self { stride, predicates: vec![0.0; rows * stride], none: Vec::with_capacity(rows) };
        widest(
            #[inline(always)]
            || {
                for (row, to) in logits.chunks_exact(columns).zip(weights.predicates.chunks_exact_mut(stride)) {
                    to[columns - 1..].fill(f32::MIN);
                    to[..columns - 1].copy_from_slice(&row[1..]);
                    let top = largest(to).max(row[0]);
                    weights.none.push(exp_to_one(row[0] - top));
                    for chunk in to.chunks_exact_mut(LANES) {
                        chunk.iter_mut().for_each(|z| *z = exp_to_one(*z - top));
                    }
                    to[columns - 1..].fill(0.0);
                }
            },
        );
        weights
    }

    #[inline]
    pub fn row(&self, row: usize) -> Row<'_> {
        Row { predicates: &self.predicates[row * self.stride..][..self.stride], none: self.none[row] }
    }
}

/// The largest of a padded row.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().copied().fold(f32::MIN, f32::max)
}
