//! Class losses: a kernel over label `x`, probability `y` and number of classes `n`, summed over the classes of one
//! example and averaged over the examples; probabilities are the softmax of logits.
//!
//! What a formula says of `y`, `1 - y` and their logarithms is never computed from one another, where digits would be lost:
//! all four come from the logits. `log(y)` and `log(1 - y)` are exact for every finite logit; `y` and `1 - y` themselves are
//! held at the least normal f32, in f64 and in emitted code too, so that their inverses are finite.
//!
//! The gradient is taken through the margin of each class, `m_j = log(y_j/(1 - y_j))`, in which all slopes are small: those
//! of `log y`, `y`, `1 - y` and `log(1 - y)` are `1 - y`, `y(1 - y)`, `-y(1 - y)` and `-y`.

use std::borrow::Cow;
use std::sync::OnceLock;

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::{Array, Evaluation, InputSpec, Inputs, Loss, LossError, ScalarType, Spec};
use crate::expr::emit::{self, Example, Language};
use crate::expr::graph::Graph;
use crate::expr::program::Program;
use crate::expr::{CLASS_VARIABLES, Expr};
use crate::simd::Level;

mod reference;
mod tile;

pub use reference::{Reference, Rounding};
use tile::{ByLabel, Kind, Slab};

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

/// From this many logits on, a batch is spread over threads.
const MANY: usize = 1 << 16;
/// So many tiles are one thread's piece of work.
const TILES: usize = 32;

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
    fused: Option<LabelTerms>,
    /// The formula's programs for the number of classes that was met first: mostly the only one.
    programs: OnceLock<(usize, ByLabel)>,
}

/// The losses that need no formula: a sum of few terms in the label's probability `y_k` and the mean logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LabelTerms {
    /// Times `log y_k`.
    pub own_log: f64,
    /// Times `1 - y_k`.
    pub own_missed: f64,
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
        Self { formula, fused: None, programs: OnceLock::new() }
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

    /// This loss as source text for another tool; `name` is what it is called there, `provenance` where it comes from.
    pub fn source(&self, language: Language, name: &str, provenance: &str) -> String {
        let logits = [0.5, -1.25, 2.0, 0.25, 1.5, 0.75, -0.5, -2.0, -1.0, 0.0, 0.5, 3.0];
        let labels = [2, 0, 1];
        let mut gradient = [0.0; 12];
        let value = self.value_and_gradient(&logits, &labels, 4, &mut gradient);
        let rows = |numbers: &[f32]| numbers.chunks(4).map(<[f32]>::to_vec).collect();
        let example = Example { logits: rows(&logits), labels: labels.to_vec(), value, gradient: rows(&gradient) };
        emit::Module { name, formula: &self.formula, provenance, example }.source(language)
    }

    /// The mean loss over the rows of `logits` (row-major, `classes` wide), and its gradient into `grad`.
    ///
    /// Not finite where the loss is not; never a panic on such values. Sums are f64 in a fixed order.
    ///
    /// # Panics
    /// If the lengths do not fit together or a label is not below `classes`.
    pub fn value_and_gradient(&self, logits: &[f32], labels: &[u32], classes: usize, grad: &mut [f32]) -> f64 {
        assert_eq!(grad.len(), logits.len(), "one gradient for every logit");
        self.mean(logits, labels, classes, Some(grad))
    }

    /// The mean loss over the rows of `logits` alone; arguments as for [`Self::value_and_gradient`].
    pub fn value(&self, logits: &[f32], labels: &[u32], classes: usize) -> f64 {
        self.mean(logits, labels, classes, None)
    }

    fn mean(&self, logits: &[f32], labels: &[u32], classes: usize, grad: Option<&mut [f32]>) -> f64 {
        assert!(classes > 0, "at least one class");
        assert_eq!(logits.len(), labels.len() * classes, "one row of logits for every label");
        assert!(labels.iter().all(|&l| (l as usize) < classes), "a label is not below {classes}");
        let programs;
        let kind = match &self.fused {
            Some(terms) => Kind::Fused(terms),
            None => {
                programs = self.programs(classes);
                Kind::Formula(&programs)
            }
        };
        let scale = 1.0 / labels.len() as f64;
        let rows = TILES * tile::rows_of_tile(classes);
        let slab = |labels, logits| Slab { logits, labels, classes, scale: scale as f32 };
        let level = Level::best();
        if logits.len() < MANY {
            return scale * tile::sum(level, kind, &slab(labels, logits), grad);
        }
        let grads: Vec<Option<&mut [f32]>> = match grad {
            Some(grad) => grad.chunks_mut(rows * classes).map(Some).collect(),
            None => labels.chunks(rows).map(|_| None).collect(),
        };
        let pieces = labels.par_chunks(rows).zip(logits.par_chunks(rows * classes)).zip(grads);
        let sums: Vec<f64> =
            pieces.map(|((labels, logits), grad)| tile::sum(level, kind, &slab(labels, logits), grad)).collect();
        scale * sums.iter().sum::<f64>()
    }

    /// The programs of the formula for this number of classes.
    fn programs(&self, classes: usize) -> Cow<'_, ByLabel> {
        let (first, programs) = self.programs.get_or_init(|| (classes, by_label(&self.formula, classes)));
        if *first == classes { Cow::Borrowed(programs) } else { Cow::Owned(by_label(&self.formula, classes)) }
    }
}

/// The programs of a formula for a class that is the label or is not.
fn by_label(formula: &Expr, classes: usize) -> ByLabel {
    let program = |x| {
        let (graph, outputs) = Graph::of_class(formula, x, classes);
        Program::new(&graph, &outputs)
    };
    ByLabel { others: program(0.0), own: program(1.0) }
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
mod tests;
