//! Values and derivatives of an [`Expr`], forward mode.

use super::graph::{Function, Graph, Operation, Range, Slopes};
use super::program::{self, BLOCK, Block, Program};
use super::{Binary, Expr, Node, Unary};
use crate::simd::Level;

/// The most variables a kernel has.
pub const MAX_VARIABLES: usize = 3;

/// A value and its derivatives with respect to the variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// The derivative with respect to each variable; 0 past the last.
    pub slope: [f64; MAX_VARIABLES],
}

/// As many registers as most formulas need; these are kept on the stack.
const FEW_REGISTERS: usize = 12;

/// An expression made ready for evaluation.
#[derive(Clone, Debug)]
pub struct Kernel {
    expr: Expr,
    /// Its outputs are the value and the derivative with respect to each variable.
    program: Program,
}

impl Kernel {
    /// Makes an expression ready.
    pub fn new(expr: &Expr) -> Self {
        let mut graph = Graph::default();
        let (zero, one) = (graph.number(0.0), graph.number(1.0));
        let variables: [Slopes<MAX_VARIABLES>; MAX_VARIABLES] = std::array::from_fn(|i| {
            let value = graph.input(i as u8, Range::FINITE);
            Slopes::new(value, std::array::from_fn(|k| if k == i { one } else { zero }))
        });
        let Slopes { value, slope, .. } = graph.add_expr(expr, &variables);
        let outputs: [_; 1 + MAX_VARIABLES] = std::array::from_fn(|k| if k == 0 { value } else { slope[k - 1] });
        Self { expr: expr.clone(), program: Program::new(&graph, &outputs) }
    }

    /// Values and derivatives at many points, in f32: `point[i]` holds variable i of every point, `slopes[i]` takes the
    /// derivative with respect to it; fewer slopes than variables leave the rest out.
    ///
    /// # Panics
    /// If the slices differ in length, or the expression uses a variable past the end of `point`.
    pub fn block(&self, point: &[&[f32]], value: &mut [f32], slopes: &mut [&mut [f32]]) {
        let length = value.len();
        assert!(point.iter().all(|p| p.len() == length), "as many numbers of every variable as values");
        assert!(slopes.iter().all(|s| s.len() == length), "as many slopes as values");
        assert!((point.len()..MAX_VARIABLES).all(|i| !self.expr.uses(i as u8)), "a number for every variable");
        let level = Level::best();
        let mut inputs = [[0.0; BLOCK]; MAX_VARIABLES];
        let mut few = [[0.0; BLOCK]; FEW_REGISTERS];
        let mut many = Vec::new();
        let registers: &mut [Block] = if self.program.registers() <= FEW_REGISTERS {
            &mut few
        } else {
            many.resize(self.program.registers(), [0.0; BLOCK]);
            &mut many
        };
        for start in (0..length).step_by(BLOCK) {
            let range = start..length.min(start + BLOCK);
            for (input, numbers) in inputs.iter_mut().zip(point) {
                input[..range.len()].copy_from_slice(&numbers[range.clone()]);
            }
            let inputs = inputs.each_ref();
            program::run(level, &self.program, &inputs, registers);
            self.program.output(0, &inputs, registers).copy_to(&mut value[range.clone()]);
            for (k, slope) in slopes.iter_mut().enumerate().take(MAX_VARIABLES) {
                self.program.output(1 + k, &inputs, registers).copy_to(&mut slope[range.clone()]);
            }
        }
    }

    /// Value and derivatives at one point, in f64: the readable reference, and good enough where points are few.
    ///
    /// # Panics
    /// If the expression uses a variable past the end of `point`.
    pub fn at(&self, point: &[f64]) -> Dual {
        let mut rest = self.expr.nodes();
        dual(&mut rest, point)
    }
}

/// Evaluates the subtree at the head of `rest` and takes it off.
fn dual(rest: &mut &[Node], point: &[f64]) -> Dual {
    let (node, tail) = rest.split_first().expect("an expression is a complete tree");
    *rest = tail;
    match *node {
        Node::Num(value) => Dual { value, slope: [0.0; MAX_VARIABLES] },
        Node::Var(i) => {
            let mut slope = [0.0; MAX_VARIABLES];
            slope[usize::from(i)] = 1.0;
            Dual { value: point[usize::from(i)], slope }
        }
        Node::Unary(op) => {
            let a = dual(rest, point);
            let (value, da) = unary(op, a.value);
            Dual { value, slope: a.slope.map(|s| chain(da, s)) }
        }
        Node::Binary(op) => {
            let (a, b) = (dual(rest, point), dual(rest, point));
            let (value, da, db) = binary(op, a.value, b.value);
            let slope = std::array::from_fn(|i| chain(da, a.slope[i]) + chain(db, b.slope[i]));
            Dual { value, slope }
        }
    }
}

/// The chain rule, where a slope of 0 adds nothing even if the other is infinite.
fn chain(outer: f64, inner: f64) -> f64 {
    Operation::Chain.of(outer, inner)
}

/// Value and derivative of a function of one operand.
fn unary(op: Unary, a: f64) -> (f64, f64) {
    match op {
        Unary::Neg => (-a, -1.0),
        Unary::Log => (a.ln(), 1.0 / a),
        Unary::Exp => (a.exp(), a.exp()),
        Unary::Sqrt => (a.sqrt(), Function::SqrtSlope.of(a)),
        Unary::Square => (a * a, 2.0 * a),
        Unary::Abs => (a.abs(), if a == 0.0 { 0.0 } else { a.signum() }),
        Unary::Tanh => (a.tanh(), 1.0 - a.tanh() * a.tanh()),
    }
}

/// Value and the two derivatives of a function of two operands.
fn binary(op: Binary, a: f64, b: f64) -> (f64, f64, f64) {
    match op {
        Binary::Add => (a + b, 1.0, 1.0),
        Binary::Sub => (a - b, 1.0, -1.0),
        Binary::Mul => (a * b, b, a),
        Binary::Div => (a / b, 1.0 / b, -a / (b * b)),
        Binary::Pow => (a.powf(b), Operation::PowSlope.of(a, b), Operation::PowLog.of(a, b)),
        Binary::Max => share(a, b, a > b),
        Binary::Min => share(a, b, a < b),
    }
}

/// The chosen one of two operands gets the derivative; equal ones share it.
fn share(a: f64, b: f64, first: bool) -> (f64, f64, f64) {
    if a == b {
        (a, 0.5, 0.5)
    } else if a.is_nan() || b.is_nan() {
        (f64::NAN, 0.5, 0.5)
    } else if first {
        (a, 1.0, 0.0)
    } else {
        (b, 0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::CLASS_VARIABLES;
    use super::*;

    #[test]
    fn baikal_value_and_slopes() {
        let baikal = Kernel::new(&Expr::parse("-(log(y) - x/y)", CLASS_VARIABLES).unwrap());
        let at = baikal.at(&[1.0, 0.5]);
        assert!((at.value - (2.0 + 2f64.ln())).abs() < 1e-15);
        assert_eq!(at.slope, [2.0, -6.0, 0.0]);
    }

    #[test]
    fn blocks_equal_the_reference() {
        for text in [
            "-(log(y) - x/y)",
            "x*log(y) + (1 - x)*log(1 - y)",
            "max(1 - x*y, 0)",
            "tanh(x)^2 - abs(y)*sqrt(n)",
            "exp(-x*y)/n^3",
            "y^x",
            "x^-2",
            "min(x, min(y, n))^2.5",
            "square(x - y)",
            "3",
            "n",
            "x - x",
            "0*log(y)",
        ] {
            let kernel = Kernel::new(&Expr::parse(text, CLASS_VARIABLES).unwrap());
            for length in [0, 1, 255, 256, 700] {
                let at = |i: usize, k: usize| 0.05 + 0.9 * ((i * 7 + k * 131) % 97) as f32 / 97.0;
                let [x, y, n] = [0, 1, 2].map(|k| (0..length).map(|i| at(i, k)).collect::<Vec<f32>>());
                let (mut value, mut slopes) = (vec![0.0; length], vec![vec![0.0; length]; 3]);
                let mut into: Vec<&mut [f32]> = slopes.iter_mut().map(Vec::as_mut_slice).collect();
                kernel.block(&[&x, &y, &n], &mut value, &mut into);
                for i in 0..length {
                    let oracle = kernel.at(&[x[i], y[i], n[i]].map(f64::from));
                    let near = |a: f32, b: f64| (f64::from(a) - b).abs() <= 4e-6 * b.abs().max(1.0);
                    assert!(near(value[i], oracle.value), "{text} at {i}: {} {}", value[i], oracle.value);
                    assert!((0..3).all(|k| near(slopes[k][i], oracle.slope[k])), "{text} at {i}");
                }
            }
        }
    }

    #[test]
    fn constant_operands_add_no_slope() {
        let e = Kernel::new(&Expr::parse("x^2 + log(0)*0", CLASS_VARIABLES).unwrap());
        assert_eq!(e.at(&[-3.0, 0.0]).slope[0], -6.0);
        let hinge = Kernel::new(&Expr::parse("max(1 - x*y, 0)", CLASS_VARIABLES).unwrap());
        assert_eq!(hinge.at(&[1.0, 1.0]).slope[1], -0.5);
    }
}
