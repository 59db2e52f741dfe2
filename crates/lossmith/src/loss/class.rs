//! Class losses: a kernel over label `x`, probability `y` and number of classes `n`, summed over the classes of one
//! example and averaged over the examples; probabilities are the softmax of logits.
//!
//! The gradient is taken through the logarithm of the softmax, `u = log y`: with `t_i = dL/du_i` it is
//! `dL/dz_j = t_j - y_j sum_i t_i`, and `log(y)` in a formula is `u` itself, never the logarithm of a probability that
//! has underflown.

use ndarray::{ArrayD, IxDyn};

use super::{Array, Evaluation, InputSpec, Inputs, Loss, LossError, ScalarType, Spec};
use crate::expr::{CLASS_VARIABLES, Expr, Kernel};

pub(super) const SPACE: &str = "logits [N,C] (any finite numbers; the softmax is inside), target [N] with labels 0..C; the value is the mean over N";

pub(super) const INPUTS: &[InputSpec] = &[
    InputSpec {
        name: "logits",
        scalar: ScalarType::F32,
        shape: "[N,C]",
        optional: false,
        doc: "class scores before softmax",
    },
    InputSpec {
        name: "target",
        scalar: ScalarType::I64,
        shape: "[N]",
        optional: false,
        doc: "the label of each row, 0..C",
    },
];

/// The least probability that a kernel sees: the least normal f32.
const LEAST_PROBABILITY: f64 = f32::MIN_POSITIVE as f64;

/// Five rows of four classes.
pub(super) fn example(seed: u64) -> Inputs {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let logits: Vec<f32> = (0..20).map(|_| rng.random_range(-3.0..3.0)).collect();
    let target: Vec<i64> = (0..5).map(|_| rng.random_range(0..4)).collect();
    Inputs::new().with("logits", shaped(&[5, 4], logits)).with("target", shaped(&[5], target))
}

/// Makes an array of the shape from exactly as many numbers.
fn shaped<T>(shape: &[usize], numbers: Vec<T>) -> Array
where
    Array: From<ArrayD<T>>,
{
    ArrayD::from_shape_vec(IxDyn(shape), numbers).expect("as many numbers as the shape holds").into()
}

/// A loss of class scores and labels.
#[derive(Clone, Debug)]
pub struct ClassLoss {
    formula: Expr,
    kernel: Kernel,
    fused: Option<LabelTerms>,
}

/// The losses that need no formula: a sum of few terms in the label's probability `y_k` and the mean logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LabelTerms {
    /// Times `log y_k`.
    pub own_log: f64,
    /// Times `y_k`.
    pub own: f64,
    /// Times the mean over the classes of `log y_i`.
    pub mean_log: f64,
    /// Times the mean over the classes of `x_i/y_i`, which is `1/(C y_k)`.
    pub mean_inverse: f64,
    /// Added.
    pub constant: f64,
}

impl ClassLoss {
    /// The class loss that a spec names or writes as a formula.
    ///
    /// # Errors
    /// Parameters that do not fit together, or a loss that is no class loss.
    pub fn from_spec(spec: &Spec) -> Result<Self, LossError> {
        spec.build()?.into_class().ok_or_else(|| {
            LossError::Spec(format!("'{spec}' is no class loss: expected one of logits and labels, or a formula"))
        })
    }

    /// The loss of a formula over [`CLASS_VARIABLES`].
    pub fn from_formula(formula: Expr) -> Self {
        Self { kernel: Kernel::new(&formula), formula, fused: None }
    }

    /// A loss of the catalogue: its formula, and the terms that it comes to.
    pub(super) fn fused(formula: &str, terms: LabelTerms) -> Result<Self, LossError> {
        let formula = Expr::parse(formula, CLASS_VARIABLES)?;
        Ok(Self { fused: Some(terms), ..Self::from_formula(formula) })
    }

    /// The formula over [`CLASS_VARIABLES`], summed over the classes.
    pub fn formula(&self) -> &Expr {
        &self.formula
    }

    /// The mean loss over the rows of `logits` (row-major, `classes` wide), and its gradient into `grad`.
    ///
    /// Not finite where the loss is not; never a panic on such values. Sums are f64 in a fixed order.
    ///
    /// # Panics
    /// If the lengths do not fit together or a label is not below `classes`.
    pub fn value_and_gradient(&self, logits: &[f32], labels: &[u32], classes: usize, grad: &mut [f32]) -> f64 {
        assert_eq!(logits.len(), labels.len() * classes, "one row of logits for every label");
        assert_eq!(grad.len(), logits.len(), "one gradient for every logit");
        let scale = 1.0 / labels.len() as f64;
        let rows = logits.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(labels);
        let sum: f64 = rows.map(|((z, g), &label)| self.row(z, label as usize, scale, g)).sum();
        sum * scale
    }

    /// The mean loss over the rows of `logits` alone; arguments as for [`Self::value_and_gradient`].
    pub fn value(&self, logits: &[f32], labels: &[u32], classes: usize) -> f64 {
        self.value_and_gradient(logits, labels, classes, &mut vec![0.0; logits.len()])
    }

    /// One row: its value, and its gradient times `scale`.
    fn row(&self, logits: &[f32], label: usize, scale: f64, grad: &mut [f32]) -> f64 {
        assert!(label < logits.len(), "label {label} is not below {}", logits.len());
        let classes = logits.len() as f64;
        let max = logits.iter().fold(f32::NEG_INFINITY, |m, &z| m.max(z)) as f64;
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
        let log_sum = max + sum.ln();
        if let Some(terms) = &self.fused {
            let u = f64::from(logits[label]) - log_sum;
            let y = u.exp().max(LEAST_PROBABILITY);
            let all_logs: f64 = logits.iter().map(|&z| f64::from(z) - log_sum).sum();
            let inverse = terms.mean_inverse / (classes * y);
            let all = terms.mean_log / classes;
            let own = terms.own_log + terms.own * y - inverse;
            for (j, (g, &z)) in grad.iter_mut().zip(logits).enumerate() {
                let y_j = (f64::from(z) - log_sum).exp();
                let t = if j == label { all + own } else { all };
                *g = (scale * (t - y_j * (terms.mean_log + own))) as f32;
            }
            return terms.own_log * u + terms.own * y + all * all_logs + inverse + terms.constant;
        }
        let mut value = 0.0;
        let mut total = 0.0;
        let at = |j: usize, z: f32| {
            let y = (f64::from(z) - log_sum).exp().max(LEAST_PROBABILITY);
            let dual = self.kernel.at(&[f64::from(u8::from(j == label)), y, classes]);
            (y, dual.value, y * dual.slope[1])
        };
        for (j, &z) in logits.iter().enumerate() {
            let (_, v, t) = at(j, z);
            value += v;
            total += t;
        }
        for (j, (g, &z)) in grad.iter_mut().zip(logits).enumerate() {
            let (y, _, t) = at(j, z);
            *g = (scale * (t - y * total)) as f32;
        }
        value
    }
}

impl Loss for ClassLoss {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let logits = inputs.f32("logits", 2)?;
        let (rows, classes) = (logits.shape()[0], logits.shape()[1]);
        if rows == 0 || classes == 0 {
            return Err(LossError::input("logits", format!("shape [{rows}, {classes}] is empty")));
        }
        let labels = labels(inputs, rows, classes)?;
        let logits = logits.as_standard_layout();
        let mut grad = ArrayD::zeros(logits.raw_dim());
        let (from, into) = (logits.as_slice().unwrap_or_default(), grad.as_slice_mut().unwrap_or_default());
        let value = self.value_and_gradient(from, &labels, classes, into);
        Ok(Evaluation::new(value, grad))
    }

    fn into_class(self: Box<Self>) -> Option<ClassLoss> {
        Some(*self)
    }
}

/// The labels of `target`, one for each row and each below `classes`.
fn labels(inputs: &Inputs, rows: usize, classes: usize) -> Result<Vec<u32>, LossError> {
    let target = inputs.i64("target", 1)?;
    if target.len() != rows {
        let message = format!("expected {rows} labels, one for each row of logits, found {}", target.len());
        return Err(LossError::input("target", message));
    }
    let label = |(at, &label): (usize, &i64)| {
        u32::try_from(label).ok().filter(|&l| (l as usize) < classes).ok_or_else(|| {
            LossError::input("target", format!("label {label} at [{at}]; expected 0 to {}", classes - 1))
        })
    };
    target.iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(text: &str) -> ClassLoss {
        ClassLoss::from_spec(&Spec::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn baikal_of_two_classes_has_the_published_values() {
        for (y, baikal, cma) in
            [(0.01, 52.3076, 252.7226), (0.5, 1.6931, 5.6650), (0.7071, 1.4944, 4.4674), (0.999, 3.9549, 10.6199)]
        {
            let logits = [(y / (1.0 - y) as f32).ln(), 0.0];
            assert!((loss("baikal").value(&logits, &[0], 2) - baikal).abs() < 1e-3);
            assert!((loss("baikal-cma").value(&logits, &[0], 2) - cma).abs() < 1e-3);
        }
    }

    #[test]
    fn every_named_loss_equals_its_formula() {
        for text in ["cross-entropy", "baikal", "baikal-cma", "poly-loss(epsilon=-0.5)", "label-smoothing(epsilon=0.2)"]
        {
            let named = loss(text);
            let formula = ClassLoss::from_formula(named.formula().clone());
            let (logits, labels) = ([0.3, -1.0, 2.0, 0.0, 0.5, -3.0], [2, 1]);
            let (mut a, mut b) = ([0.0; 6], [0.0; 6]);
            let (va, vb) = (
                named.value_and_gradient(&logits, &labels, 3, &mut a),
                formula.value_and_gradient(&logits, &labels, 3, &mut b),
            );
            assert!((va - vb).abs() < 1e-9, "{text}: {va} {vb}");
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{text}: {a:?} {b:?}");
        }
    }

    #[test]
    fn bad_labels_and_numbers_are_named() {
        let logits = |v: Vec<f32>| shaped(&[1, 2], v);
        let target = |l: i64| shaped(&[1], vec![l]);
        for (inputs, message) in [
            (
                Inputs::new().with("logits", logits(vec![0.0, 1.0])).with("target", target(2)),
                "input 'target': label 2 at [0]; expected 0 to 1",
            ),
            (
                Inputs::new().with("logits", logits(vec![0.0, f32::NAN])).with("target", target(0)),
                "input 'logits': NaN at [0, 1]; every number must be finite",
            ),
        ] {
            assert_eq!(loss("baikal").evaluate(&inputs).unwrap_err().to_string(), message);
        }
    }
}
