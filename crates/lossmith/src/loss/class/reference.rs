//! The class loss of one row in f64, number by number: what blocks of f32 and emitted code are tested against.

use super::ClassLoss;
use crate::expr::graph::Graph;
use crate::expr::graph::probability::LEAST_PROBABILITY;

/// Value and gradient of one row, and how exact an arithmetic can be expected to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The loss.
    pub value: f64,
    /// Its gradient with respect to the logits.
    pub gradient: Vec<f64>,
    /// How far off the value may be, to first order, where every operation of the formula is rounded.
    pub value_error: f64,
    /// The same of the gradient, the largest of its numbers.
    pub gradient_error: f64,
    /// The largest absolute value of what is computed on the way: an arithmetic of a smaller range overflows there.
    pub largest: f64,
}

/// How an arithmetic rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// The most that a result is off, relative to itself.
    pub unit: f64,
    /// The most that a log-probability is off beyond that: of code that does not subtract the largest logit exactly, `unit` times
    /// the largest logit.
    pub logarithm: f64,
    /// The least number that is told from 0.
    pub least: f64,
}

impl Rounding {
    /// Exact arithmetic.
    pub const NONE: Self = Self { unit: 0.0, logarithm: 0.0, least: 0.0 };
    /// That of f32 in this library.
    pub const F32: Self = Self { unit: f32::EPSILON as f64 / 2.0, logarithm: 0.0, least: LEAST_PROBABILITY as f64 };
}

/// A row's softmax, one number for each class; see [`crate::expr::graph::probability`].
struct Softmax {
    log: Vec<f64>,
    probability: Vec<f64>,
    missed: Vec<f64>,
    log_missed: Vec<f64>,
    /// The class of the largest logit.
    top: usize,
    /// The probabilities of the others among themselves.
    shares: Vec<f64>,
}

impl Softmax {
    fn new(logits: &[f64]) -> Self {
        let top = (1..logits.len()).fold(0, |top, class| if logits[class] > logits[top] { class } else { top });
        let others = || logits.iter().enumerate().filter(move |(at, _)| *at != top).map(|(_, z)| *z);
        let second = others().fold(f64::from(f32::MIN), f64::max);
        let rest: f64 = others().map(|z| (z - second).exp()).sum();
        let rest = if logits.len() == 1 { 1.0 } else { rest };
        // log(y/(1 - y)) of the largest.
        let margin = logits[top] - second - rest.ln();
        let log_top = log_sigmoid(margin);
        let mut log: Vec<f64> = logits.iter().map(|z| (z - logits[top]) + log_top).collect();
        log[top] = log_top;
        let mut log_missed: Vec<f64> = log.iter().map(|u| (-u.exp()).ln_1p()).collect();
        log_missed[top] = log_sigmoid(-margin);
        let lifted = |log: &f64| log.exp().max(f64::from(LEAST_PROBABILITY));
        let shares = logits.iter().map(|z| (z - second).exp() / rest).collect();
        Self {
            probability: log.iter().map(lifted).collect(),
            missed: log_missed.iter().map(lifted).collect(),
            log,
            log_missed,
            top,
            shares,
        }
    }

    fn inputs(&self, class: usize) -> [f64; 6] {
        let (log, log_missed) = (self.log[class], self.log_missed[class]);
        [log, self.probability[class], self.missed[class], log_missed, log_missed.exp(), log.exp()]
    }
}

/// `-log(1 + exp(-x))`
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

impl ClassLoss {
    /// One row in f64, computed plainly: the definition of the loss, for tests and for comparison with other tools. `rounding`
    /// is that of the arithmetic that [`Reference::value_error`] and [`Reference::gradient_error`] are for.
    ///
    /// # Panics
    /// If `label` is not below the number of logits.
    pub fn reference(&self, logits: &[f64], label: usize, rounding: Rounding) -> Reference {
        let Rounding { unit, logarithm, least } = rounding;
        let softmax = Softmax::new(logits);
        let graphs = [0.0, 1.0].map(|x| Graph::of_class(&self.formula, x, logits.len()));
        let (mut value, mut value_error, mut largest) = (0.0, 0.0, 0.0f64);
        let (mut slopes, mut slope_errors) = (Vec::new(), Vec::new());
        for class in 0..logits.len() {
            let (graph, [out, slope]) = &graphs[usize::from(class == label)];
            let inputs = softmax.inputs(class);
            let values = graph.values(&inputs);
            let off = |log: f64| 2.0 * unit * log.abs() + logarithm;
            let (log, missed) = (off(inputs[0]), off(inputs[3].min(inputs[0])));
            // A probability is off by its logarithm's error, and by its own rounding.
            let part = |error: f64, of: usize| (error + 2.0 * unit) * inputs[of] + least;
            let errors =
                [log, part(log, 1), part(missed, 2), missed * inputs[3].abs().min(1.0), part(missed, 4), part(log, 5)];
            let error = graph.errors(&values, &errors, unit);
            value += values[out.index()];
            value_error += error[out.index()];
            slopes.push(values[slope.index()]);
            slope_errors.push(error[slope.index()]);
            largest = values.iter().fold(largest, |most, v| most.max(v.abs()));
        }
        let gradient = softmax.gradient(&slopes);
        let top = softmax.top;
        // Slopes are added up and rounded once more, those of one class for every other.
        let scaled = |class: usize| {
            let error = slope_errors[class] + 4.0 * unit * slopes[class].abs();
            if class == top { error } else { error / softmax.missed[class] }
        };
        let gradient_error = (0..slopes.len()).map(scaled).sum();
        Reference { value, gradient, value_error, gradient_error, largest }
    }
}

impl Softmax {
    /// The gradient at the logits, from the slope of every class in its margin; `finish` in `tile.rs` has the formula.
    fn gradient(&self, slopes: &[f64]) -> Vec<f64> {
        let apart = |class: usize| class == self.top;
        let by_log = |class: usize| if apart(class) { 0.0 } else { slopes[class] / self.missed[class] };
        let total: f64 = (0..slopes.len()).map(by_log).sum();
        let one = |class: usize| {
            let y = self.log[class].exp();
            if apart(class) {
                // A row of one class has nothing to weigh.
                return if slopes.len() == 1 { 0.0 } else { slopes[class] - y * total };
            }
            by_log(class) - y * total - self.shares[class] * slopes[self.top]
        };
        (0..slopes.len()).map(one).collect()
    }
}
