//! What an ordered pair says once both its ends have a class: the best predicate, and how sure it is.

use super::Scene;

/// The width in which rows are padded, so that the loops over them become vector code.
const LANES: usize = 16;

/// The best predicate of an ordered pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    /// The predicate other than none with the largest logit, the lowest where several are.
    pub predicate: usize,
    /// Its softmax probability, none included in the sum.
    pub confidence: f32,
    /// Whether none has a smaller logit: then the pair is part of the graph that SPICE judges.
    pub beats_none: bool,
}

/// Room for one row of logits: the predicates, then none, then padding.
#[derive(Clone, Debug)]
pub(super) struct Scorer<'s> {
    scene: &'s Scene<'s>,
    row: Vec<f32>,
}

impl<'s> Scorer<'s> {
    pub fn new(scene: &'s Scene<'s>) -> Self {
        let padded = scene.columns().next_multiple_of(LANES);
        Self { scene, row: vec![f32::MIN; padded] }
    }

    /// The best predicate of the pair under the classes of its subject and object.
    pub fn best(&mut self, pair: usize, subject_class: usize, object_class: usize) -> Best {
        let none = self.load(pair, subject_class, object_class);
        let largest = largest(&self.row);
        let at = self.row.iter().position(|&v| v == largest).unwrap_or(0);
        self.row[self.scene.predicates()] = none;
        let top = largest.max(none);
        let confidence = exp(largest - top) / sum_of_exponentials(&self.row, top);
        Best { predicate: at + 1, confidence, beats_none: largest > none }
    }

    /// Whether some predicate has a larger logit than none, which needs no softmax.
    pub fn beats_none(&self, pair: usize, subject_class: usize, object_class: usize) -> bool {
        let logits = self.scene.logits(pair);
        match self.scene.bias(subject_class, object_class) {
            None => logits[1..].iter().fold(false, |beats, &z| beats | (z > logits[0])),
            Some(bias) => {
                let none = logits[0] + bias[0];
                logits[1..].iter().zip(&bias[1..]).fold(false, |beats, (z, b)| beats | (z + b > none))
            }
        }
    }

    /// Puts the predicates' logits into the row, where none stays out for now, and gives the logit of none.
    fn load(&mut self, pair: usize, subject_class: usize, object_class: usize) -> f32 {
        let logits = self.scene.logits(pair);
        let predicates = logits.len() - 1;
        self.row[predicates] = f32::MIN;
        let to = &mut self.row[..predicates];
        match self.scene.bias(subject_class, object_class) {
            None => {
                to.copy_from_slice(&logits[1..]);
                logits[0]
            }
            Some(bias) => {
                for ((to, z), b) in to.iter_mut().zip(&logits[1..]).zip(&bias[1..]) {
                    *to = z + b;
                }
                logits[0] + bias[0]
            }
        }
    }
}

fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().copied().fold(f32::MIN, f32::max)
}

fn sum_of_exponentials(row: &[f32], top: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += exp(v - top);
        }
    }
    lanes.iter().sum()
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
