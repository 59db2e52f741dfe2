//! Gradient equivalence: two losses with the same gradients train the same network, whatever their formulas look like.
//!
//! The gradient at the logits of a few fixed batches is a loss's print. It does not see an added constant, `log(2*y)` against
//! `log(y)`, or two coefficients that cancel. With [`Scale::Ignored`] it does not see a factor either: right where each loss
//! is trained at its own best learning rate, and an approximation where all share one.

use lossmith::expr::{Expr, Kernel};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::Stream;

const BATCHES: u64 = 5;
const ROWS: usize = 4;

/// Whether losses that differ by a factor are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// They are the same.
    #[default]
    Ignored,
    /// They are different.
    Kept,
}

/// The gradients of a loss on the fixed batches: their direction, and their length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientPrint {
    direction: Vec<f64>,
    length: f64,
}

impl GradientPrint {
    /// Takes the print of a class loss over label `x`, probability `y` and number of classes `n`; `None` where the gradient
    /// is 0 or not finite.
    pub fn of_class_loss(formula: &Expr, classes: usize) -> Option<Self> {
        let kernel = Kernel::new(formula);
        let mut direction = Vec::with_capacity(BATCHES as usize * ROWS * classes);
        for batch in 0..BATCHES {
            // Batches from nearly undecided to quite sure.
            let reach = 0.25 * 2f64.powi(batch as i32);
            let mut rng = Stream::new(0, batch);
            for _ in 0..ROWS {
                let label = rng.random_range(0..classes);
                let logits: Vec<f64> = (0..classes).map(|_| rng.random_range(-reach..reach)).collect();
                direction.extend(row_gradient(&kernel, &logits, label));
            }
        }
        Self::of_gradient(direction)
    }

    /// Takes the print of a kernel: its slope in every variable, point by point.
    pub fn of_kernel(formula: &Expr, points: &[Vec<f64>]) -> Option<Self> {
        let kernel = Kernel::new(formula);
        let slopes = |point: &Vec<f64>| kernel.at(point).slope.into_iter().take(point.len()).collect::<Vec<f64>>();
        Self::of_gradient(points.iter().flat_map(slopes).collect())
    }

    fn of_gradient(mut direction: Vec<f64>) -> Option<Self> {
        let length = direction.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        direction.iter_mut().for_each(|g| *g /= length);
        Some(Self { direction, length })
    }

    /// How far apart the directions are: 0 for equal ones, 1 for opposite ones. Every row counts alike, however small its
    /// gradient is beside that of a row that is far off.
    pub fn distance(&self, other: &Self) -> f64 {
        let rows = (BATCHES as usize * ROWS).min(self.direction.len());
        let width = (self.direction.len() / rows.max(1)).max(1);
        let pairs = self.direction.chunks(width).zip(other.direction.chunks(width));
        let squares: f64 = pairs.map(|(a, b)| row_distance_squared(a, b)).sum();
        (squares / rows.max(1) as f64).sqrt()
    }
}

/// `|a-b|^2 / 2(|a|^2 + |b|^2)`, 0 for two rows of zeros.
fn row_distance_squared(a: &[f64], b: &[f64]) -> f64 {
    let squares = |of: fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(*a, *b)).sum::<f64>();
    let sizes = squares(|a, b| a * a + b * b);
    if sizes > 0.0 { squares(|a, b| (a - b) * (a - b)) / (2.0 * sizes) } else { 0.0 }
}

/// d/dz_j of `sum_i f(x_i, y_i)` with `y = softmax(z)`: `y_j (f'_j - sum_i f'_i y_i)`.
fn row_gradient(kernel: &Kernel, logits: &[f64], label: usize) -> Vec<f64> {
    let top = logits.iter().fold(f64::NEG_INFINITY, |m, z| m.max(*z));
    let weights: Vec<f64> = logits.iter().map(|z| (z - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let slopes: Vec<[f64; 2]> = weights
        .iter()
        .enumerate()
        .map(|(i, w)| {
            let (x, y) = (f64::from(u8::from(i == label)), w / total);
            [y, kernel.at(&[x, y, logits.len() as f64]).slope[1]]
        })
        .collect();
    let mean: f64 = slopes.iter().map(|[y, slope]| y * slope).sum();
    slopes.iter().map(|[y, slope]| y * (slope - mean)).collect()
}

/// The prints seen so far, each with a number that the caller gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equivalents {
    scale: Scale,
    tolerance: f64,
    known: Vec<(u64, GradientPrint)>,
}

impl Equivalents {
    /// An empty list. Directions closer than the tolerance, 1e-6 say, are the same.
    pub fn new(scale: Scale, tolerance: f64) -> Self {
        Self { scale, tolerance, known: Vec::new() }
    }

    /// The number of the first known print that is the same.
    pub fn find(&self, print: &GradientPrint) -> Option<u64> {
        let same_length = |a: f64, b: f64| (a - b).abs() <= self.tolerance * a.max(b);
        let same = |known: &GradientPrint| {
            (self.scale == Scale::Ignored || same_length(known.length, print.length))
                && known.distance(print) <= self.tolerance
        };
        self.known.iter().find(|(_, known)| same(known)).map(|(number, _)| *number)
    }

    /// Remembers a print under a number.
    pub fn insert(&mut self, number: u64, print: GradientPrint) {
        self.known.push((number, print));
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use lossmith::expr::CLASS_VARIABLES;
    use lossmith::loss::ClassLoss;

    use super::*;
    use crate::coefficients::{Coefficients, Places};

    fn parse(text: &str) -> Expr {
        Expr::parse(text, CLASS_VARIABLES).unwrap()
    }

    fn print(text: &str) -> GradientPrint {
        GradientPrint::of_class_loss(&parse(text), 10).unwrap()
    }

    #[test]
    fn the_flat_directions_of_baikal_cma_collapse() {
        let baikal = Coefficients::new(&parse("log(y) - x/y"), Places::EveryNode);
        let with = |c: [f64; 6]| GradientPrint::of_class_loss(&baikal.apply(&c).unwrap(), 10).unwrap();
        let published = [2.7279, 0.9863, 1.5352, -1.1135, 1.3716, -0.8411];
        let cma = with(published);
        // Only the scale a = c0 c1 and the ratio r = c3 c4 / (c1 c5) matter.
        let same_ratio = with([2.7279, 0.9863, 7.0, 1.1135 * 1.3716, 1.0, 0.8411]);
        assert!(cma.distance(&same_ratio) < 1e-12);
        assert!((cma.length / same_ratio.length - 1.0).abs() < 1e-12);
        let scaled = with([1.0, 0.9863, 1.0, -1.1135, 1.3716, -0.8411]);
        assert!(cma.distance(&scaled) < 1e-12 && cma.length > 2.0 * scaled.length);
        assert!(cma.distance(&with([1.0; 6])) > 1e-3, "Baikal is another loss");

        let mut known = Equivalents::new(Scale::Kept, 1e-6);
        known.insert(7, cma.clone());
        assert_eq!((known.find(&same_ratio), known.find(&scaled)), (Some(7), None));
        let mut known = Equivalents::new(Scale::Ignored, 1e-6);
        known.insert(7, cma);
        assert_eq!((known.find(&scaled), known.find(&with([1.0; 6]))), (Some(7), None));
    }

    #[test]
    fn equal_losses_in_other_words_are_found_and_opposite_ones_are_not() {
        assert!(print("-x*log(y)").distance(&print("3 - 2*x*log(5*y)")) < 1e-12);
        assert!(print("-x*log(y)").distance(&print("x*log(y)")) > 0.99);
        assert_eq!(GradientPrint::of_class_loss(&parse("x + 1"), 10), None);
        assert_eq!(GradientPrint::of_class_loss(&parse("x*log(-y)*0/0"), 10), None);
    }

    /// The library's own gradient is the oracle.
    #[test]
    fn the_gradient_is_that_of_the_library() {
        let formula = parse("-(log(y) - x/y)");
        let logits = [0.5f64, -1.0, 2.0, 0.25];
        let ours = row_gradient(&Kernel::new(&formula), &logits, 2);
        let mut theirs = [0.0f32; 4];
        ClassLoss::from_formula(formula).value_and_gradient(&logits.map(|z| z as f32), &[2], 4, &mut theirs);
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - f64::from(b)).abs() < 1e-5, "{a} {b}");
        }
    }
}
