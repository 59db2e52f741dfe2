//! Focal loss: sigmoid cross-entropy that turns its attention away from what is easy, for detectors without anchors.
//!
//! ```text
//! q   = sigmoid(z) for the true class, 1 - sigmoid(z) for the others
//! L   = sum_ic -alpha_c (1 - q)^gamma log(q) / max(1, positives + images),  alpha_c = alpha or 1 - alpha
//! ```
//!
//! Gradient with respect to the logit, `s = +1` for the true class and `-1` otherwise:
//! `s alpha_c (1 - q)^gamma (gamma q log(q) - (1 - q)) / divisor`.
//!
//! Input: `prediction` `[N,C]` logits, `target` `[N]`: 0 background, 1 to C a class, -1 left out of the sum.
//!
//! Corners: finite for every finite logit, as `log(q)` is taken from the logit. No positives and no images: divided by 1.
//!
//! Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; divisor as in PolarMask's code.

use ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::polar_centerness::sigmoid;
use super::rays::two_dimensions;
use super::{Arguments, Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType};

/// The catalogue's line.
pub(super) static ENTRY: Entry = Entry {
    name: "focal",
    family: Family::Class,
    summary: "Sigmoid cross-entropy with easy examples turned down: thousands of background points do not drown the few objects.",
    formula: "sum_ic -alpha_c (1 - q)^gamma log(q) / max(1, positives + images),  q = sigmoid(z) or 1 - sigmoid(z)",
    gradient: "s alpha_c (1 - q)^gamma (gamma q log(q) - (1 - q)) / divisor,  s = +1 for the true class, -1 otherwise",
    space: "logits; labels 0 background, 1 to C, -1 left out",
    corners: "finite for every finite logit; no positives and no images: divided by 1",
    reference: "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002",
    inputs: &[
        InputSpec {
            name: "prediction",
            scalar: ScalarType::F32,
            shape: "[N,C]",
            optional: false,
            doc: "logit of every class at every point",
        },
        InputSpec {
            name: "target",
            scalar: ScalarType::I64,
            shape: "[N]",
            optional: false,
            doc: "0 background, 1 to C the class of the object there, -1 to leave the point out",
        },
    ],
    params: &[
        Param {
            name: "gamma",
            kind: ParamKind::Number { default: 2.0, least: 0.0, most: 100.0 },
            doc: "how strongly easy examples are turned down; 0 is plain cross-entropy",
        },
        Param {
            name: "alpha",
            kind: ParamKind::Number { default: 0.25, least: 0.0, most: 1.0 },
            doc: "weight of the true class against the others",
        },
        Param {
            name: "images",
            kind: ParamKind::Number { default: 0.0, least: 0.0, most: 1e9 },
            doc: "images in the batch, added to the number of positives in the divisor (PolarMask does so)",
        },
    ],
    example,
    build: |arguments| Ok(Box::new(Focal::from_arguments(arguments))),
};

/// Seven points and three classes.
fn example(seed: u64) -> Inputs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let prediction = ArrayD::from_shape_fn(IxDyn(&[7, 3]), |_| rng.random_range(-3.0f32..3.0));
    let target = ArrayD::from_shape_fn(IxDyn(&[7]), |i| i[0] as i64 % 5 - 1);
    Inputs::new().with("prediction", prediction).with("target", target)
}

/// Points per piece of parallel work. Fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1024;

/// Focal loss over points and classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Focal {
    /// How strongly easy examples are turned down.
    pub gamma: f64,
    /// Weight of the true class against the others.
    pub alpha: f64,
    /// Added to the number of positives in the divisor.
    pub images: f64,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, alpha: 0.25, images: 0.0 }
    }
}

impl Focal {
    fn from_arguments(arguments: &Arguments) -> Self {
        Self { gamma: arguments.number("gamma"), alpha: arguments.number("alpha"), images: arguments.number("images") }
    }

    /// Value and gradient; `prediction` `[N,C]` logits, `target` `[N]` labels.
    ///
    /// # Errors
    /// Another number of labels than points, no classes, a label outside -1 to C.
    pub fn evaluate_points(
        &self,
        prediction: ArrayView2<f32>,
        target: ArrayView1<i64>,
    ) -> Result<Evaluation, LossError> {
        let (points, classes) = prediction.dim();
        check_labels(target, points, classes)?;
        let positives = target.iter().filter(|label| **label > 0).count() as f64;
        let divisor = (positives + self.images).max(1.0);
        let mut grad = Array2::<f32>::zeros((points, classes));
        let prediction = prediction.as_standard_layout();
        let logits = prediction.as_slice().unwrap_or_default();
        let labels = target.to_vec();
        let sums: Vec<f64> = grad
            .as_slice_mut()
            .unwrap_or_default()
            .par_chunks_mut(PIECE * classes)
            .zip(logits.par_chunks(PIECE * classes))
            .zip(labels.par_chunks(PIECE))
            .map(|((grad, logits), labels)| {
                let rows = grad.chunks_exact_mut(classes).zip(logits.chunks_exact(classes)).zip(labels);
                rows.map(|((grad, logits), label)| self.point(logits, *label, divisor, grad)).sum()
            })
            .collect();
        let value = sums.iter().sum::<f64>() / divisor;
        Ok(Evaluation::new(value, grad.into_dyn()))
    }

    fn point(&self, logits: &[f32], label: i64, divisor: f64, grad: &mut [f32]) -> f64 {
        if label < 0 {
            return 0.0;
        }
        let mut sum = 0.0;
        for (class, (logit, grad)) in (1..).zip(logits.iter().zip(grad)) {
            let (sign, alpha) = if class == label { (1.0, self.alpha) } else { (-1.0, 1.0 - self.alpha) };
            let z = sign * f64::from(*logit);
            let (q, miss) = (sigmoid(z), sigmoid(-z));
            let log_q = z.min(0.0) - (-z.abs()).exp().ln_1p();
            let focus = alpha * if self.gamma == 2.0 { miss * miss } else { miss.powf(self.gamma) };
            sum -= focus * log_q;
            *grad = (sign * focus * (self.gamma * q * log_q - miss) / divisor) as f32;
        }
        sum
    }
}

fn check_labels(target: ArrayView1<i64>, points: usize, classes: usize) -> Result<(), LossError> {
    if classes == 0 {
        return Err(LossError::input("prediction", "expected at least one class, found shape [N, 0]"));
    }
    if target.len() != points {
        return Err(LossError::input("target", format!("expected {points} labels, found {}", target.len())));
    }
    match target.iter().position(|label| !(-1..=classes as i64).contains(label)) {
        Some(i) => {
            let message = format!("expected labels from -1 to {classes}, found {} at {i}", target[i]);
            Err(LossError::input("target", message))
        }
        None => Ok(()),
    }
}

impl Loss for Focal {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let target = inputs.i64("target", 1)?;
        let target = target.into_dimensionality().map_err(|e| LossError::input("target", e.to_string()))?;
        self.evaluate_points(two_dimensions(inputs.f32("prediction", 2)?)?, target)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::polar_fixture::{close, fixture, matrix, vector};
    use super::*;

    #[test]
    fn equals_pytorch() {
        let fixture = fixture();
        let case = &fixture["focal"];
        let prediction = matrix(&case["prediction"]);
        let target = vector(&case["target"]).mapv(|label| label as i64);
        for (gamma, name) in [(2.0, "gamma_2"), (1.5, "gamma_1.5")] {
            let loss = Focal { gamma, images: 4.0, ..Focal::default() };
            let ours = loss.evaluate_points(prediction.view(), target.view()).unwrap();
            close(ours.value, &case[name]["value"], 1e-6);
            for (a, b) in ours.grad.iter().zip(&matrix(&case[name]["grad"])) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
        }
    }

    #[test]
    fn points_of_label_minus_one_are_left_out() {
        let both = array![[1.0f32, -2.0], [0.5, 3.0]];
        let one = array![[1.0f32, -2.0]];
        let loss = Focal::default();
        let masked = loss.evaluate_points(both.view(), array![1, -1].view()).unwrap();
        assert_eq!(masked.value, loss.evaluate_points(one.view(), array![1].view()).unwrap().value);
        assert_eq!(masked.grad.index_axis(ndarray::Axis(0), 1).sum(), 0.0);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let z = array![[1e30f32, -1e30], [-1e30, 1e30]];
        let ours = Focal::default().evaluate_points(z.view(), array![1, 0].view()).unwrap();
        assert!(ours.value.is_finite() && ours.grad.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn bad_labels_are_named() {
        let z = array![[0.0f32, 0.0]];
        let error = Focal::default().evaluate_points(z.view(), array![3].view()).unwrap_err();
        assert_eq!(error.to_string(), "input 'target': expected labels from -1 to 2, found 3 at 0");
    }
}
