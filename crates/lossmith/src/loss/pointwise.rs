//! Elementary losses: one target `x` and one prediction `y` at a time, averaged.
//!
//! Those that judge a margin (perceptron, hinge, log, exponential) expect targets -1 and 1; the product `x*y` is then
//! positive where the sign of the prediction is right.

use ndarray::ArrayD;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::{Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType};
use crate::expr::{Expr, Kernel, Variables};

/// `x`: target, `y`: prediction.
const VARIABLES: Variables = &["x", "y"];
/// So many elements are one thread's piece of work.
const PIECE: usize = 1 << 14;

const TEXTBOOK: &str = "Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 10.6";
const MARGIN: &str = "prediction [N] (any finite numbers), target [N] with -1 or 1; the value is the mean over N";
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
    build: |_| smooth("max(-x*y, 0)"),
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
    build: |_| smooth("max(1 - x*y, 0)"),
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
    build: |_| smooth("abs(y - x)"),
};

/// `log`
pub(super) static LOG: Entry = Entry {
    name: "log",
    family: Family::Pointwise,
    summary: "The negative log-likelihood of a sign under the logistic model; cross-entropy of two classes.",
    formula: "log(1 + exp(-x y))",
    gradient: "-x / (1 + exp(x y))",
    space: MARGIN,
    corners: "None: smooth, and computed as max(-x y, 0) + log(1 + exp(-|x y|)), so finite everywhere.",
    reference: TEXTBOOK,
    inputs: INPUTS,
    params: &[],
    example,
    build: |_| smooth("max(-x*y, 0) + log(1 + exp(-abs(x*y)))"),
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
    build: |_| smooth("(y - x)^2"),
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
    build: |_| smooth("exp(-x*y)"),
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

fn smooth(formula: &str) -> Result<Box<dyn Loss>, LossError> {
    Ok(Box::new(Pointwise { kernel: Kernel::new(&Expr::parse(formula, VARIABLES)?) }))
}

/// A kernel averaged over pairs of target and prediction.
#[derive(Debug)]
struct Pointwise {
    kernel: Kernel,
}

impl Loss for Pointwise {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let (target, prediction) = pairs(inputs)?;
        let count = target.len() as f64;
        let mut grad = vec![0.0; target.len()];
        let pieces = target.par_chunks(PIECE).zip(prediction.par_chunks(PIECE)).zip(grad.par_chunks_mut(PIECE));
        let sums: Vec<f64> = pieces
            .map(|((x, y), grad)| {
                let mut value = vec![0.0; x.len()];
                let mut unused = vec![0.0; x.len()];
                self.kernel.block(&[x, y], &mut value, &mut [&mut unused, grad]);
                grad.iter_mut().for_each(|g| *g = (f64::from(*g) / count) as f32);
                value.iter().map(|&v| f64::from(v)).sum()
            })
            .collect();
        Ok(Evaluation::new(sums.iter().sum::<f64>() / count, shaped(grad)))
    }
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
            ("squared", 3.0, 1.0, 4.0, -4.0),
            ("exponential", -1.0, 1.0, std::f64::consts::E, std::f32::consts::E),
        ] {
            let (v, g) = evaluate(loss, &[x], &[y]);
            assert!((v - value).abs() < 1e-6 * value.max(1.0), "{loss} at {x}, {y}: {v}");
            assert!((g[0] - slope).abs() < 1e-6, "{loss} at {x}, {y}: {g:?}");
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
