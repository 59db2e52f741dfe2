//! Values and derivatives of an [`Expr`], forward mode.

use super::{Binary, Expr, Node, Unary};

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

/// An expression made ready for evaluation.
#[derive(Clone, Debug)]
pub struct Kernel {
    expr: Expr,
}

impl Kernel {
    /// Makes an expression ready.
    pub fn new(expr: &Expr) -> Self {
        Self { expr: expr.clone() }
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

/// The chain rule, where a constant operand (slope 0) adds nothing even if the outer derivative is infinite.
fn chain(outer: f64, inner: f64) -> f64 {
    if inner == 0.0 { 0.0 } else { outer * inner }
}

/// Value and derivative of a function of one operand.
fn unary(op: Unary, a: f64) -> (f64, f64) {
    match op {
        Unary::Neg => (-a, -1.0),
        Unary::Log => (a.ln(), 1.0 / a),
        Unary::Exp => (a.exp(), a.exp()),
        Unary::Sqrt => (a.sqrt(), 0.5 / a.sqrt()),
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
        Binary::Pow => (a.powf(b), if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) }, a.powf(b) * a.ln()),
        Binary::Max => share(a, b, a > b),
        Binary::Min => share(a, b, a < b),
    }
}

/// The chosen one of two operands gets the derivative; equal ones share it.
fn share(a: f64, b: f64, first: bool) -> (f64, f64, f64) {
    if a == b || a.is_nan() || b.is_nan() {
        (a + (b - a) * 0.5, 0.5, 0.5)
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
    fn constant_operands_add_no_slope() {
        let e = Kernel::new(&Expr::parse("x^2 + log(0)*0", CLASS_VARIABLES).unwrap());
        assert_eq!(e.at(&[-3.0, 0.0]).slope[0], -6.0);
        let hinge = Kernel::new(&Expr::parse("max(1 - x*y, 0)", CLASS_VARIABLES).unwrap());
        assert_eq!(hinge.at(&[1.0, 1.0]).slope[1], -0.5);
    }
}
