//! The variable of class formulas: a probability `y` of a softmax, of which more is known than its number.

use super::{Graph, Id, Range};
use crate::expr::{CLASS_VARIABLES, Expr, Slopes};

/// The inputs that stand for a probability: its logarithm, itself, what it misses to 1, and the logarithm of that. None is
/// computed from another, since that loses digits: `1 - y` where y is nearly 1, `log y` where it underflows.
pub(crate) const LOG: u8 = 0;
pub(crate) const PROBABILITY: u8 = 1;
pub(crate) const MISSED: u8 = 2;
pub(crate) const LOG_MISSED: u8 = 3;
/// The slopes of the two logarithms in the margin, the latter without its sign: `1 - y` and `y` again, but as small as they
/// are, where the formula sees no less than [`LEAST_PROBABILITY`].
pub(crate) const LOG_SLOPE: u8 = 4;
pub(crate) const LOG_MISSED_SLOPE: u8 = 5;
/// The number of classes, where it is not put in as a number.
pub(in crate::expr) const CLASSES: u8 = 6;

/// The least probability that a formula sees, in every precision: the least normal f32.
pub(crate) const LEAST_PROBABILITY: f32 = f32::MIN_POSITIVE;

/// A probability's logarithm, down to that of any two finite f32 logits.
const LOGARITHMS: Range = Range::new(Range::FINITE.low, 0.0);
const PROBABILITIES: Range = Range::new(LEAST_PROBABILITY as f64, 1.0);

impl Graph {
    /// The graph of a class formula for a class that is the label (`x = 1`) or is not (`x = 0`): its value, and its slope in
    /// the class's margin `log(y/(1 - y))`. With `x` put in, what it switches off is never computed.
    pub(crate) fn of_class(formula: &Expr, x: f64, classes: usize) -> (Self, [Id; 2]) {
        let mut graph = Self::default();
        let y = graph.probability();
        let n = graph.constant(classes as f64);
        let x = graph.constant(x);
        let Slopes { value, slope: [slope], .. } = graph.add_expr(formula, &[x, y, n]);
        (graph, [value, slope])
    }

    /// The same without the slope, for any number of classes.
    pub(in crate::expr) fn of_any_classes(formula: &Expr, x: f64) -> (Self, Id) {
        let mut graph = Self::default();
        let y = Slopes::new(graph.probability().value, []);
        let n = Slopes::new(graph.input(CLASSES, Range::new(1.0, f64::from(u32::MAX))), []);
        let x = Slopes::new(graph.number(x), []);
        let value = graph.add_expr(formula, &[x, y, n]).value;
        (graph, value)
    }

    /// A probability with its slope in its margin, and all that is known of it.
    fn probability(&mut self) -> Slopes<1> {
        let log = self.input(LOG, LOGARITHMS);
        let y = self.input(PROBABILITY, PROBABILITIES);
        let missed = self.input(MISSED, PROBABILITIES);
        let log_missed = self.input(LOG_MISSED, LOGARITHMS);
        self.logarithms.extend([(y, log), (missed, log_missed)]);
        self.complements.extend([(y, missed), (missed, y)]);
        let relative = self.input(LOG_SLOPE, PROBABILITIES);
        let missed_slope = self.input(LOG_MISSED_SLOPE, PROBABILITIES);
        let missed_relative = self.neg(missed_slope);
        self.relatives.extend([(y, relative), (missed, missed_relative)]);
        Slopes { value: y, slope: [self.mul(y, relative)], relative: Some([relative]) }
    }
}

const _: () = assert!(CLASS_VARIABLES.len() == 3, "label, probability, number of classes");
