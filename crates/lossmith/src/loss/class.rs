//! Class losses: a kernel over label `x`, probability `y` and number of classes `n`, summed over the classes of one
//! example and averaged over the examples; probabilities are the softmax of logits.
//!
//! The gradient is taken through the logarithm of the softmax, `u = log y`: with `t_i = dL/du_i` it is
//! `dL/dz_j = t_j - y_j sum_i t_i`, and `log(y)` in a formula is `u` itself, never the logarithm of a probability that
//! has underflown.

use std::borrow::Cow;
use std::sync::OnceLock;

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::{Array, Evaluation, InputSpec, Inputs, Loss, LossError, ScalarType, Spec};
use crate::expr::emit::{self, Example, Language};
use crate::expr::graph::{Graph, Range, Slopes};
use crate::expr::program::Program;
use crate::expr::{CLASS_VARIABLES, Expr};
use crate::simd::Level;

mod tile;

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

/// The least probability that a kernel sees: the least normal f32.
const LEAST_PROBABILITY: f32 = f32::MIN_POSITIVE;
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

/// A formula with `x` and `n` put in, so that what they switch off is never computed.
fn by_label(formula: &Expr, classes: usize) -> ByLabel {
    let program = |x: f64| {
        let mut graph = Graph::default();
        let zero = graph.number(0.0);
        let u = graph.input(0, Range::new(Range::FINITE.low, 0.0));
        let y = graph.input(1, Range::new(f64::from(LEAST_PROBABILITY), 1.0));
        // dy/du = y, and log(y) is u itself.
        graph.set_logarithm(y, u);
        let (x, n) = (graph.number(x), graph.number(classes as f64));
        let variables = [(x, zero), (y, y), (n, zero)].map(|(value, slope)| Slopes { value, slope: [slope] });
        let Slopes { value, slope: [slope] } = graph.add_expr(formula, &variables);
        Program::new(&graph, &[value, slope])
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
mod tests {
    use super::*;
    use crate::expr::Kernel;

    fn loss(text: &str) -> ClassLoss {
        ClassLoss::from_spec(&Spec::parse(text).unwrap()).unwrap()
    }

    #[test]
    #[expect(clippy::approx_constant, reason = "published figures as they are printed")]
    fn baikal_of_two_classes_has_the_published_values() {
        for (y, baikal, cma) in
            [(0.01, 52.3076, 252.7226), (0.5, 1.6931, 5.6650), (0.7071, 1.4944, 4.4674), (0.999, 3.9549, 10.6199)]
        {
            let logits = [f32::ln(y / (1.0 - y)), 0.0];
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
            assert!((va - vb).abs() < 1e-6 * va.abs(), "{text}: {va} {vb}");
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{text}: {a:?} {b:?}");
        }
    }

    /// Value and gradient of one row in f64, the readable reference: the formula class by class, at probabilities that
    /// are held at the least normal f32.
    fn oracle(formula: &Expr, logits: &[f32], label: usize) -> (f64, Vec<f64>) {
        let kernel = Kernel::new(formula);
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
        let y: Vec<f64> =
            logits.iter().map(|&z| ((f64::from(z) - max).exp() / sum).max(f64::from(LEAST_PROBABILITY))).collect();
        let at = |j: usize| kernel.at(&[f64::from(u8::from(j == label)), y[j], y.len() as f64]);
        let t: Vec<f64> = (0..y.len()).map(|j| y[j] * at(j).slope[1]).collect();
        let total: f64 = t.iter().sum();
        ((0..y.len()).map(|j| at(j).value).sum(), t.iter().zip(&y).map(|(t, y)| t - y * total).collect())
    }

    #[test]
    fn batches_equal_the_reference_row_by_row() {
        let losses = [
            "cross-entropy",
            "baikal",
            "baikal-cma",
            "poly-loss",
            "label-smoothing",
            "-x*log(y)",
            "-x*log(y) - (1 - x)*log(1.1 - y)",
            "(x - y)^2",
            "-(log(1.5*y) - x/y)/n",
            "tanh(x - y)*max(y, 0.3)",
            "n",
            "x*(1 - y)^1.5 + abs(y - 0.25)*exp(-x)",
            "y^y - sqrt(y)/(x + n)",
        ];
        for (rows, classes) in [(1, 1), (1, 2), (7, 3), (128, 10), (129, 10), (40, 100), (3, 1300)] {
            let logits: Vec<f32> = (0..rows * classes).map(|i| 6.0 * (i as f32 * 1.7).sin()).collect();
            let labels: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
            for text in losses {
                let loss = loss(text);
                let mut grad = vec![f32::NAN; logits.len()];
                let value = loss.value_and_gradient(&logits, &labels, classes, &mut grad);
                assert_eq!(value, loss.value(&logits, &labels, classes));
                let mut sum = 0.0;
                for (r, &label) in labels.iter().enumerate() {
                    let row = r * classes..(r + 1) * classes;
                    let (v, g) = oracle(loss.formula(), &logits[row.clone()], label as usize);
                    sum += v;
                    let largest = g.iter().fold(1.0, |m: f64, g| m.max(g.abs()));
                    let near = |(a, b): (&f32, &f64)| (f64::from(*a) * rows as f64 - b).abs() <= 1e-5 * largest;
                    assert!(
                        grad[row.clone()].iter().zip(&g).all(near),
                        "{text} {rows}x{classes}: {:?} {g:?}",
                        &grad[row]
                    );
                }
                let mean = sum / rows as f64;
                assert!((value - mean).abs() <= 1e-5 * mean.abs().max(1.0), "{text} {rows}x{classes}: {value} {mean}");
            }
        }
    }

    #[test]
    fn vector_widths_and_threads_do_not_change_a_bit() {
        let (rows, classes) = (20_000, 10);
        let logits: Vec<f32> = (0..rows * classes).map(|i| 9.0 * (i as f32 * 0.7).sin()).collect();
        let labels: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
        for text in ["baikal", "tanh(x - y)*log(y) + exp(y)/sqrt(y + n)"] {
            let loss = loss(text);
            let programs = loss.programs(classes);
            let kind = loss.fused.as_ref().map_or(Kind::Formula(&programs), Kind::Fused);
            let results = Level::all().iter().map(|&level| {
                let mut grad = vec![0.0; logits.len()];
                let slab = Slab { logits: &logits, labels: &labels, classes, scale: 1.0 };
                (tile::sum(level, kind, &slab, Some(&mut grad)), grad)
            });
            let results: Vec<_> = results.collect();
            assert!(results.windows(2).all(|w| w[0] == w[1]), "{text}");
            let threaded = [1, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut grad = vec![0.0; logits.len()];
                (pool.install(|| loss.value_and_gradient(&logits, &labels, classes, &mut grad)), grad)
            });
            assert_eq!(threaded[0], threaded[1], "{text}");
        }
    }

    #[test]
    fn extreme_logits_give_finite_results() {
        for text in ["cross-entropy", "baikal", "baikal-cma", "-x*log(y)", "-(log(y) - x/y)", "x/y - log(2*y)"] {
            for logits in [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4; 3], [-88.0, 0.0, 100.0]] {
                let mut grad = [f32::NAN; 3];
                let value = loss(text).value_and_gradient(&logits, &[0], 3, &mut grad);
                assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{text} {logits:?}: {value} {grad:?}");
            }
        }
    }

    #[test]
    fn a_factor_of_zero_hides_nothing_that_is_undefined() {
        assert!(loss("x*log(y - 0.5)").value(&[0.0, 0.0, 0.0], &[0], 3).is_nan());
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
