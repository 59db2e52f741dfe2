//! Softmax in two factors: `exp(z + b) = exp(z) exp(b)`, so that a pair under any two classes costs products, no exponentials.

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
                    weights.none.push(exp(row[0] - top));
                    for chunk in to.chunks_exact_mut(LANES) {
                        chunk.iter_mut().for_each(|z| *z = exp(*z - top));
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

/// `exp(x)` for `x <= 0`, within 2 units in the last place, exactly 1 at 0; written so that a loop over it becomes
/// vector code, which the standard library's does not. Below -87 it stays at `exp(-87)`, about 1.6e-38.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // x = k*ln 2 + r with |r| <= ln(2)/2; adding 1.5*2^23 rounds k to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * 0.693_359_4) + k * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    let scale = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    value * f32::from_bits(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere_and_exact_at_0() {
        assert_eq!(exp(0.0), 1.0);
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 2.4e-7, "exp({x}) = {}, not {wanted}", exp(x));
        }
    }
}
