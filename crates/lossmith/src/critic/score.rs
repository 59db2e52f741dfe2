//! What an ordered pair says once both its ends have a class: the best predicate, and how sure it is.
//!
//! Everything that ranks or counts pairs goes through here, so that the fast ways and the oracle see the same bits.

use super::Scene;
use super::weights::{LANES, Row};
use crate::simd::widest;

/// The most terms of one plain sum in f32.
const MOST_TERMS: usize = 64;

/// Weights that sum to less have lost their largest terms to underflow: the softmax is then taken of the logits themselves.
const LEAST_SUM: f32 = 1e-30;

/// An ordered pair of agents and their classes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labelled {
    /// The row of the pair.
    pub pair: usize,
    /// The class of the subject.
    pub subject: usize,
    /// The class of the object.
    pub object: usize,
}

impl Labelled {
    /// The softmax probability, in f32, of the most probable predicate other than none; at most 1.
    pub fn confidence(self, scene: &Scene<'_>) -> f32 {
        widest(
            #[inline(always)]
            || self.confidence_inlined(scene),
        )
    }

    /// The same for a loop that is compiled for the widest vectors as a whole; see [`widest`].
    #[inline(always)]
    pub fn confidence_inlined(self, scene: &Scene<'_>) -> f32 {
        let (most, sum) = most_and_sum(scene.weights(self.pair), scene.bias_weights(self.subject, self.object));
        if sum >= LEAST_SUM { most / sum } else { self.plain(scene).confidence }
    }

    /// The most probable predicate other than none, the lowest where several are.
    pub fn predicate(self, scene: &Scene<'_>) -> usize {
        let (logits, bias) = (scene.weights(self.pair), scene.bias_weights(self.subject, self.object));
        let (most, sum) = widest(
            #[inline(always)]
            || most_and_sum(logits, bias),
        );
        if sum < LEAST_SUM {
            return self.plain(scene).predicate;
        }
        let mut products = logits.predicates.iter().zip(bias.predicates).map(|(z, b)| z * b);
        products.position(|product| product == most).unwrap_or(0) + 1
    }

    /// Whether some predicate is more probable than none: then the pair is part of the graph that SPICE judges.
    pub fn beats_none(self, scene: &Scene<'_>) -> bool {
        widest(
            #[inline(always)]
            || self.beats_none_inlined(scene),
        )
    }

    /// The same for a loop that is compiled for the widest vectors as a whole.
    #[inline(always)]
    pub fn beats_none_inlined(self, scene: &Scene<'_>) -> bool {
        let (logits, bias) = (scene.weights(self.pair), scene.bias_weights(self.subject, self.object));
        let (most, sum) = most_and_sum(logits, bias);
        if sum >= LEAST_SUM { most > logits.none * bias.none } else { self.plain(scene).beats_none }
    }

    /// The softmax probability of each predicate, none first, in f64.
    pub fn probabilities(self, scene: &Scene<'_>) -> Vec<f64> {
        let logits = scene.logits(self.pair);
        let bias = scene.bias(self.subject, self.object);
        let sum_of = |r: usize| f64::from(logits[r]) + bias.map_or(0.0, |b| f64::from(b[r]));
        let all: Vec<f64> = (0..logits.len()).map(sum_of).collect();
        let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = all.iter().map(|z| (z - top).exp()).sum();
        all.iter().map(|z| (z - top).exp() / sum).collect()
    }

    /// The same from the logits themselves: the plain way, for what the weights cannot hold.
    #[cold]
    fn plain(self, scene: &Scene<'_>) -> Best {
        let all = self.probabilities(scene);
        let best = (1..all.len()).fold(1, |best, r| if all[r] > all[best] { r } else { best });
        Best { predicate: best, confidence: all[best] as f32, beats_none: all[best] > all[0] }
    }
}

/// All that a pair says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Best {
    predicate: usize,
    confidence: f32,
    beats_none: bool,
}

/// The largest product of the predicates' weights, and the sum of all products with that of none.
#[inline(always)]
fn most_and_sum(logits: Row<'_>, bias: Row<'_>) -> (f32, f32) {
    let (mut most, mut total) = ([0f32; LANES], [0f32; LANES]);
    // Sums of few terms, summed: a lane of very many would round off what is small.
    for (z, b) in logits.predicates.chunks(MOST_TERMS * LANES).zip(bias.predicates.chunks(MOST_TERMS * LANES)) {
        let mut sum = [0f32; LANES];
        for (z, b) in z.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let product = z[lane] * b[lane];
                sum[lane] += product;
                most[lane] = if product > most[lane] { product } else { most[lane] };
            }
        }
        (0..LANES).for_each(|lane| total[lane] += sum[lane]);
    }
    // Folded in order: a fold by halves tempts the compiler into narrower vectors for the loop above. And no `f32::max`,
    // which minds NaN: three instructions for one.
    let most = most.iter().fold(0.0, |most, &m| if m > most { m } else { most });
    (most, total.iter().sum::<f32>() + logits.none * bias.none)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::super::{Bias, Truth};
    use super::*;

    /// Both forms agree with each other, from ordinary logits to such that leave no weight above underflow.
    #[test]
    fn weights_say_what_logits_say() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let truth = Truth::new(vec![1, 1], Vec::new()).unwrap();
        for spread in [0.1, 2.0, 10.0, 60.0, 1e3, 1e9] {
            let policy = Array2::from_elem((2, 3), 1.0 / 3.0);
            let logits = Array2::from_shape_simple_fn((2, 20), || rng.random_range(-spread..spread));
            let table = Array3::from_shape_simple_fn((3, 3, 20), || rng.random_range(-spread..spread));
            let bias = Bias::new(table.view()).unwrap();
            for bias in [None, Some(&bias)] {
                let scene = Scene::new(policy.view(), logits.view(), bias, &truth).unwrap();
                for (pair, subject, object) in [(0, 0, 1), (0, 2, 2), (1, 1, 1), (1, 2, 0)] {
                    let labelled = Labelled { pair, subject, object };
                    let plain = labelled.plain(&scene);
                    let error = (labelled.confidence(&scene) - plain.confidence).abs() / plain.confidence.max(1e-6);
                    assert!(error < 3e-6 * spread.clamp(1.0, 100.0), "{spread}: {error}");
                    assert_eq!(labelled.predicate(&scene), plain.predicate, "{spread}");
                    assert_eq!(labelled.beats_none(&scene), plain.beats_none, "{spread}");
                }
            }
        }
    }
}
