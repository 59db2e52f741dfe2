//! Elementary losses: one target `x` and one prediction `y` at a time, averaged.
//!
//! Those that judge a margin (perceptron, hinge, log, exponential) take targets -1 and 1 only; the product `x*y` is then
//! positive where the sign of the prediction is right.

use ndarray::ArrayD;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::{Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType};
use crate::expr::math;
use crate::simd::widest;

/// So many elements are one thread's piece of work.
const PIECE: usize = 1 << 14;

const TEXTBOOK: &str = "Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 10.6";
const MARGIN: &str = "prediction [N] (any finite numbers), target [N] with -1 or 1 (anything else is refused); the value is the mean over N";
const ANY: &str = "prediction [N] and target [N], any finite numbers; the value is the mean over N";

const INPUTS: &[InputSpec] = &[
    InputSpec { name: "prediction", scalar: ScalarType::F32, shape: "[N]", optional: false, doc: "what is predicted" },
    InputSpec { name: "target", scalar: ScalarType::F32, shape: "[N]", optional: false, doc: "what is true" },
];

/// `zero-one`
pub(super) static ZERO_ONE: Entry = Entry {
    name: "zero-one",
    family: Family::Pointwise,
    summary: "1 where the prediction is not the target: the share of errors, which has no slope to learn from.",
    formula: "1 if y != x, else 0",
    gradient: "0",
    space: "prediction [N] and target [N], any finite numbers, such as labels; the value is the mean over N",
    corners: "A step where y = x; the gradient is 0 everywhere.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| Ok(Box::new(Steps { threshold: 0.0 })),
};

/// `tolerant-zero-one`
pub(super) static TOLERANT_ZERO_ONE: Entry = Entry {
    name: "tolerant-zero-one",
    family: Family::Pointwise,
    summary: "1 where the prediction misses the target by more than the threshold; threshold 0 is zero-one.",
    formula: "1 if |x - y| > threshold, else 0",
    gradient: "0",
    space: ANY,
    corners: "Steps where |x - y| = threshold, which still counts as right; the gradient is 0 everywhere.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[Param {
        name: "threshold",
        kind: ParamKind::Number { default: 0.5, least: 0.0, most: 1e30 },
        doc: "the largest distance that counts as right",
    }],
    example,
    build: |arguments| Ok(Box::new(Steps { threshold: arguments.number("threshold") as f32 })),
};

/// `perceptron`
pub(super) static PERCEPTRON: Entry = Entry {
    name: "perceptron",
    family: Family::Pointwise,
    summary: "Minus the margin where the sign is wrong; nothing where it is right, however barely.",
    formula: "max(-x y, 0)",
    gradient: "-x where x y < 0, else 0",
    space: MARGIN,
    corners: "A corner at x y = 0, where the gradient is taken as -x/2.",
    reference: "Rosenblatt, The Perceptron, Psychological Review 65, 1958",
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Perceptron),
};

/// `hinge`
pub(super) static HINGE: Entry = Entry {
    name: "hinge",
    family: Family::Pointwise,
    summary: "How far the margin falls short of 1; what is beyond costs nothing.",
    formula: "max(1 - x y, 0)",
    gradient: "-x where x y < 1, else 0",
    space: MARGIN,
    corners: "A corner at x y = 1, where the gradient is taken as -x/2.",
    reference: "Cortes and Vapnik, Support-Vector Networks, Machine Learning 20, 1995",
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Hinge),
};

/// `absolute`
pub(super) static ABSOLUTE: Entry = Entry {
    name: "absolute",
    family: Family::Pointwise,
    summary: "The distance of prediction and target; least at the median, and patient with outliers.",
    formula: "|x - y|",
    gradient: "sign(y - x)",
    space: ANY,
    corners: "A corner at y = x, where the gradient is taken as 0.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Absolute),
};

/// `log`
pub(super) static LOG: Entry = Entry {
    name: "log",
    family: Family::Pointwise,
    summary: "The negative log-likelihood of a sign under the logistic model; cross-entropy of two classes.",
    formula: "log(1 + exp(-x y))",
    gradient: "-x / (1 + exp(x y))",
    space: MARGIN,
    corners: "None: smooth, and computed as max(-x y, 0) + log1p(exp(-|x y|)), so finite everywhere and not 0 up to margins of 87.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Log),
};

/// `squared`
pub(super) static SQUARED: Entry = Entry {
    name: "squared",
    family: Family::Pointwise,
    summary: "The squared distance of prediction and target; least at the mean.",
    formula: "(x - y)^2",
    gradient: "2 (y - x)",
    space: ANY,
    corners: "None: smooth everywhere.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Squared),
};

/// `exponential`
pub(super) static EXPONENTIAL: Entry = Entry {
    name: "exponential",
    family: Family::Pointwise,
    summary: "The loss of AdaBoost: every wrong margin counts exponentially, so outliers rule.",
    formula: "exp(-x y)",
    gradient: "-x exp(-x y)",
    space: MARGIN,
    corners: "Smooth; infinite where -x y is above 88.7, the largest exponent of an f32.",
    reference: "Freund and Schapire, A Decision-Theoretic Generalization of On-Line Learning, 1997",
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| mean(Pair::Exponential),
};

/// Targets -1 and 1, predictions away from every corner above.
fn example(seed: u64) -> Inputs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let target = ArrayD::from_shape_simple_fn(vec![24], || if rng.random() { 1.0f32 } else { -1.0 });
    let places = [0.25, 0.75, 1.25, 1.75];
    let prediction = ArrayD::from_shape_simple_fn(vec![24], || {
        let size: f32 = places[rng.random_range(0..places.len())] + rng.random_range(-0.1..0.1);
        if rng.random() { size } else { -size }
    });
    Inputs::new().with("prediction", prediction).with("target", target)
}

fn mean(pair: Pair) -> Result<Box<dyn Loss>, LossError> {
    Ok(Box::new(Pointwise { pair }))
}

/// What is averaged over the pairs of target and prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    Perceptron,
    Hinge,
    Absolute,
    Log,
    Squared,
    Exponential,
}

impl Pair {
    /// Whether the target is the sign that the prediction should have.
    fn is_margin(self) -> bool {
        !matches!(self, Self::Absolute | Self::Squared)
    }

    /// The sum over pairs; the slopes in the prediction by `share` go to `grad`.
    #[inline(always)]
    fn sum(self, x: &[f32], y: &[f32], share: f64, grad: &mut [f32]) -> f64 {
        match self {
            Self::Perceptron => sum_of(margin(|m| beyond(-m)), x, y, share, grad),
            Self::Hinge => sum_of(margin(|m| beyond(1.0 - m)), x, y, share, grad),
            Self::Absolute => sum_of(|x, y| absolute(y - x), x, y, share, grad),
            Self::Log => sum_of(margin(log), x, y, share, grad),
            Self::Squared => sum_of(|x, y| ((y - x) * (y - x), 2.0 * (y - x)), x, y, share, grad),
            Self::Exponential => sum_of(margin(exponential), x, y, share, grad),
        }
    }
}

/// The sum of `pair(x, y)` in a fixed number of lanes, whatever the vectors of the processor. Pairs are worked out in f64:
/// of two f32, differences and products are then exact, or nearly so, and finite.
#[inline(always)]
fn sum_of(pair: impl Fn(f64, f64) -> (f64, f64), x: &[f32], y: &[f32], share: f64, grad: &mut [f32]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    for ((x, y), grad) in x.chunks(LANES).zip(y.chunks(LANES)).zip(grad.chunks_mut(LANES)) {
        for (((x, y), g), lane) in x.iter().zip(y).zip(grad).zip(&mut lanes) {
            let (value, slope) = pair(f64::from(*x), f64::from(*y));
            *lane += value;
            *g = (slope * share) as f32;
        }
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

/// A loss of the margin `m = x y`, with its slope in `m`, as one of the pair.
#[inline(always)]
fn margin(loss: impl Fn(f64) -> (f64, f64)) -> impl Fn(f64, f64) -> (f64, f64) {
    #[inline(always)]
    move |x, y| {
        let (value, slope) = loss(x * y);
        (value, x * slope)
    }
}

/// `max(c - m, 0)` of `c - m`, and its slope in `m`: at the corner the mean of both sides.
#[inline(always)]
fn beyond(open: f64) -> (f64, f64) {
    let slope = if open == 0.0 { -0.5 } else { -1.0 };
    if open >= 0.0 { (open, slope) } else { (0.0, 0.0) }
}

#[inline(always)]
fn absolute(difference: f64) -> (f64, f64) {
    let sign = f64::from(u8::from(difference > 0.0)) - f64::from(u8::from(difference < 0.0));
    (difference.abs(), sign)
}

/// `log(1 + exp(-m))`, so that no digit of a small result is lost, and `-1/(1 + exp(m))`.
#[inline(always)]
fn log(m: f64) -> (f64, f64) {
    let e = math::exp(-m.abs() as f32);
    // What `1 + e` rounds off comes back by the slope of the logarithm there.
    let one_and_e = 1.0 + e;
    let log = math::log(one_and_e) + (e - (one_and_e - 1.0)) / one_and_e;
    let wrong = if m < 0.0 { 1.0 } else { e };
    let e = f64::from(e);
    (f64::from(log) + if m < 0.0 { -m } else { 0.0 }, -f64::from(wrong) / (1.0 + e))
}

#[inline(always)]
fn exponential(m: f64) -> (f64, f64) {
    let e = f64::from(math::exp(-m as f32));
    (e, -e)
}

/// A loss of pairs, averaged.
#[derive(Debug)]
struct Pointwise {
    pair: Pair,
}

impl Loss for Pointwise {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let (target, prediction) = pairs(inputs)?;
        if self.pair.is_margin() {
            check_signs(&target)?;
        }
        let count = target.len() as f64;
        let mut grad = vec![0.0; target.len()];
        let pieces = target.par_chunks(PIECE).zip(prediction.par_chunks(PIECE)).zip(grad.par_chunks_mut(PIECE));
        let sums: Vec<f64> = pieces
            .map(|((x, y), grad)| {
                widest(
                    #[inline(always)]
                    || self.pair.sum(x, y, 1.0 / count, grad),
                )
            })
            .collect();
        Ok(Evaluation::new(sums.iter().sum::<f64>() / count, shaped(grad)))
    }
}

/// Refuses targets that are no signs: 0 instead of -1 would be a margin of 0, whatever the prediction.
fn check_signs(target: &[f32]) -> Result<(), LossError> {
    let Some(at) = target.iter().position(|t| t.abs() != 1.0) else { return Ok(()) };
    let labels = target.iter().all(|t| *t == 0.0 || *t == 1.0);
    let hint = if labels { "; of targets 0 and 1, as these are, 2*target - 1 makes -1 and 1" } else { "" };
    Err(LossError::input("target", format!("expected -1 or 1, found {} at [{at}]{hint}", target[at])))
}

/// Counts the pairs that are further apart than the threshold.
#[derive(Debug)]
struct Steps {
    threshold: f32,
}

impl Loss for Steps {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let (target, prediction) = pairs(inputs)?;
        let missed = target.iter().zip(&prediction).filter(|(x, y)| (*x - *y).abs() > self.threshold).count();
        Ok(Evaluation::new(missed as f64 / target.len() as f64, shaped(vec![0.0; target.len()])))
    }
}

/// Targets and predictions, as many of one as of the other, and some.
fn pairs(inputs: &Inputs) -> Result<(Vec<f32>, Vec<f32>), LossError> {
    let (prediction, target) = (inputs.f32("prediction", 1)?, inputs.f32("target", 1)?);
    if prediction.is_empty() {
        return Err(LossError::input("prediction", "is empty"));
    }
    if target.len() != prediction.len() {
        let message = format!("expected {} numbers, one for each prediction, found {}", prediction.len(), target.len());
        return Err(LossError::input("target", message));
    }
    Ok((target.iter().copied().collect(), prediction.iter().copied().collect()))
}

fn shaped(grad: Vec<f32>) -> ArrayD<f32> {
    ndarray::Array1::from_vec(grad).into_dyn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Spec;

    fn evaluate(loss: &str, target: &[f32], prediction: &[f32]) -> (f64, Vec<f32>) {
        let inputs =
            Inputs::new().with("prediction", shaped(prediction.to_vec())).with("target", shaped(target.to_vec()));
        let evaluation = Spec::parse(loss).unwrap().build().unwrap().evaluate(&inputs).unwrap();
        (evaluation.value, evaluation.grad.iter().copied().collect())
    }

    #[test]
    fn values_and_slopes_by_hand() {
        for (loss, x, y, value, slope) in [
            ("zero-one", 1.0, 1.0, 0.0, 0.0),
            ("zero-one", 1.0, 0.999, 1.0, 0.0),
            ("tolerant-zero-one(threshold=0.25)", 1.0, 0.75, 0.0, 0.0),
            ("tolerant-zero-one(threshold=0.25)", 1.0, 0.5, 1.0, 0.0),
            ("perceptron", -1.0, 2.0, 2.0, 1.0),
            ("perceptron", 1.0, 2.0, 0.0, 0.0),
            ("perceptron", 1.0, 0.0, 0.0, -0.5),
            ("hinge", 1.0, 0.25, 0.75, -1.0),
            ("hinge", -1.0, -1.0, 0.0, 0.5),
            ("absolute", 3.0, 1.0, 2.0, -1.0),
            ("absolute", 3.0, 3.0, 0.0, 0.0),
            ("log", 1.0, 0.0, std::f64::consts::LN_2, -0.5),
            ("log", 1.0, -1e4, 1e4, -1.0),
            ("log", 1.0, 1e4, 0.0, 0.0),
            ("log", 1.0, 20.0, 2.061_153_620_314_381e-9, -2.061_153_6e-9),
            ("log", -1.0, -60.0, 8.756_510_762_696_521e-27, 8.756_511e-27),
            ("log", -1.0, 3e38, f64::from(3e38f32), 1.0),
            ("squared", -3e38, 3e38, 4.0 * f64::from(3e38f32).powi(2), f32::INFINITY),
            ("absolute", -3e38, 3e38, 2.0 * f64::from(3e38f32), 1.0),
            ("squared", 3.0, 1.0, 4.0, -4.0),
            ("exponential", -1.0, 1.0, std::f64::consts::E, std::f32::consts::E),
        ] {
            let (v, g) = evaluate(loss, &[x], &[y]);
            assert!((v - value).abs() <= 1e-6 * value, "{loss} at {x}, {y}: {v}");
            assert!(g[0] == slope || (g[0] - slope).abs() <= 1e-6 * slope.abs(), "{loss} at {x}, {y}: {g:?}");
        }
    }

    #[test]
    fn every_width_of_vectors_gives_the_same_bytes() {
        let y: Vec<f32> = (0..5_000).map(|i| (i as f32 * 0.3).sin() * (i as f32 * 0.01).exp2()).collect();
        let x: Vec<f32> = (0..y.len()).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        for pair in [Pair::Perceptron, Pair::Hinge, Pair::Absolute, Pair::Log, Pair::Squared, Pair::Exponential] {
            let at = |level| {
                let mut grad = vec![0.0; x.len()];
                let sum = crate::simd::at(
                    level,
                    #[inline(always)]
                    || pair.sum(&x, &y, 0.01, &mut grad),
                );
                (sum.to_bits(), grad)
            };
            let levels: Vec<_> = crate::simd::Level::all().iter().map(|l| at(*l)).collect();
            assert!(levels.windows(2).all(|w| w[0] == w[1]), "{pair:?}");
        }
    }

    #[test]
    fn values_are_means_in_whatever_pieces() {
        let y: Vec<f32> = (0..PIECE * 2 + 77).map(|i| (i as f32 * 0.3).sin()).collect();
        let x: Vec<f32> = (0..y.len()).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let (value, grad) = evaluate("log", &x, &y);
        let mean = x.iter().zip(&y).map(|(x, y)| (-f64::from(x * y)).exp().ln_1p()).sum::<f64>() / x.len() as f64;
        assert!((value - mean).abs() < 1e-7, "{value} {mean}");
        let last = x.len() - 1;
        let slope = -f64::from(x[last]) / (1.0 + f64::from(x[last] * y[last]).exp()) / x.len() as f64;
        assert!((f64::from(grad[last]) - slope).abs() < 1e-6 * slope.abs());
    }

    #[test]
    fn log_alone_is_this_loss_and_log_of_something_a_formula() {
        assert!(matches!(Spec::parse("log"), Ok(Spec::Named(_))));
        for text in ["log(y)", "log(y) - x/y", "log(y)*(x + 1)"] {
            assert!(matches!(Spec::parse(text), Ok(Spec::Formula(_))), "{text}");
        }
    }

    #[test]
    fn counts_that_differ_are_an_error() {
        let inputs = Inputs::new().with("prediction", shaped(vec![0.0; 2])).with("target", shaped(vec![1.0]));
        let error = Spec::parse("hinge").unwrap().build().unwrap().evaluate(&inputs).unwrap_err().to_string();
        assert_eq!(error, "input 'target': expected 2 numbers, one for each prediction, found 1");
    }
}
