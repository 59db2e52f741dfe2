//! A formula put into the graph, with its derivatives: forward mode.

use super::{Function, Graph, Id, Operation};
use crate::expr::{Binary, Expr, Node, Unary};

/// A value and its slopes in K directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slopes<const K: usize> {
    pub value: Id,
    pub slope: [Id; K],
    /// The slopes divided by the value, where they are known and always finite: of a probability that is nearly 0 they are
    /// exact where its square and its inverse are out of range.
    pub relative: Option<[Id; K]>,
}

impl<const K: usize> Slopes<K> {
    /// A value of which only the slopes are known.
    pub(crate) fn new(value: Id, slope: [Id; K]) -> Self {
        Self { value, slope, relative: None }
    }
}

impl Graph {
    /// Adds an expression; its variable `i` is `variables[i]`.
    ///
    /// # Panics
    /// If the expression uses a variable past the end of `variables`.
    pub(crate) fn add_expr<const K: usize>(&mut self, expr: &Expr, variables: &[Slopes<K>]) -> Slopes<K> {
        self.subtree(&mut expr.nodes(), variables)
    }

    /// A number: no slope in any direction.
    pub(crate) fn constant<const K: usize>(&mut self, value: f64) -> Slopes<K> {
        let zero = self.number(0.0);
        let relative = (value != 0.0).then_some([zero; K]);
        Slopes { value: self.number(value), slope: [zero; K], relative }
    }

    /// Adds the subtree at the head of `rest` and takes it off.
    fn subtree<const K: usize>(&mut self, rest: &mut &[Node], variables: &[Slopes<K>]) -> Slopes<K> {
        let (node, tail) = rest.split_first().expect("an expression is a complete tree");
        *rest = tail;
        match *node {
            Node::Num(value) => self.constant(value),
            Node::Var(i) => variables[usize::from(i)],
            Node::Unary(op) => {
                let a = self.subtree(rest, variables);
                self.unary(op, a)
            }
            Node::Binary(op) => {
                let a = self.subtree(rest, variables);
                let b = self.subtree(rest, variables);
                self.binary(op, a, b)
            }
        }
    }

    fn unary<const K: usize>(&mut self, op: Unary, a: Slopes<K>) -> Slopes<K> {
        let value = match op {
            Unary::Neg => self.neg(a.value),
            Unary::Log => self.log(a.value),
            Unary::Exp => self.one(Function::Exp, a.value),
            Unary::Sqrt => self.sqrt(a.value),
            Unary::Square => self.mul(a.value, a.value),
            Unary::Abs => self.abs(a.value),
            Unary::Tanh => self.one(Function::Tanh, a.value),
        };
        let relative = self.unary_relative(op, &a);
        let slope = std::array::from_fn(|k| match (op, a.relative, relative) {
            (Unary::Log, Some(inner), _) => inner[k],
            // The root's own slope may be out of range where the root is not.
            (Unary::Sqrt, _, Some(relative)) => self.chain(value, relative[k]),
            _ => self.unary_slope(op, a.value, value, a.slope[k]),
        });
        Slopes { value, slope, relative }
    }

    /// The relative slopes of a function of one operand, where they are known.
    fn unary_relative<const K: usize>(&mut self, op: Unary, a: &Slopes<K>) -> Option<[Id; K]> {
        let factor = match op {
            Unary::Neg | Unary::Abs => 1.0,
            Unary::Sqrt => 0.5,
            Unary::Square => 2.0,
            Unary::Exp | Unary::Log | Unary::Tanh => return None,
        };
        let (inner, factor) = (a.relative?, self.number(factor));
        Some(inner.map(|relative| self.mul(factor, relative)))
    }

    /// The slope of a function of one operand, from the operand, the value and the operand's slope.
    fn unary_slope(&mut self, op: Unary, a: Id, value: Id, slope: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Unary::Neg => self.neg(slope),
            Unary::Log => self.ratio(slope, a),
            Unary::Exp => self.chain(value, slope),
            Unary::Sqrt => {
                let outer = self.sqrt_slope(a, value);
                self.chain(outer, slope)
            }
            Unary::Square => {
                let outer = self.add(a, a);
                self.chain(outer, slope)
            }
            Unary::Abs => {
                let sign = self.one(Function::Sign, a);
                self.chain(sign, slope)
            }
            Unary::Tanh => {
                let square = self.mul(value, value);
                let one = self.number(1.0);
                let outer = self.sub(one, square);
                self.chain(outer, slope)
            }
        }
    }

    /// The slope of the square root, which is `value`.
    fn sqrt_slope(&mut self, a: Id, value: Id) -> Id {
        if self.range(a).excludes_zero() {
            let half = self.number(0.5);
            return self.div(half, value);
        }
        self.one(Function::SqrtSlope, a)
    }

    /// `slope/a`.
    fn ratio(&mut self, slope: Id, a: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        if slope == a && self.range(a).is_regular() {
            return self.number(1.0);
        }
        let one = self.number(1.0);
        let inverse = self.div(one, a);
        self.chain(slope, inverse)
    }

    fn binary<const K: usize>(&mut self, op: Binary, a: Slopes<K>, b: Slopes<K>) -> Slopes<K> {
        let value = match op {
            Binary::Add => self.add(a.value, b.value),
            Binary::Sub => self.sub(a.value, b.value),
            Binary::Mul => self.mul(a.value, b.value),
            Binary::Div => self.div(a.value, b.value),
            Binary::Pow => self.pow(a.value, b.value),
            Binary::Max => self.two(Operation::Max, a.value, b.value),
            Binary::Min => self.two(Operation::Min, a.value, b.value),
        };
        let relative = self.binary_relative(op, &a, &b, value);
        let slope = std::array::from_fn(|k| match (op, relative) {
            (Binary::Pow | Binary::Add | Binary::Sub, Some(relative)) => self.chain(value, relative[k]),
            _ => {
                let left = self.left_slope(op, a.value, b.value, a.slope[k]);
                let right = self.right_slope(op, &a, &b, value, k);
                self.add(left, right)
            }
        });
        Slopes { value, slope, relative }
    }

    /// The relative slopes of a function of two operands, where they are known.
    fn binary_relative<const K: usize>(
        &mut self,
        op: Binary,
        a: &Slopes<K>,
        b: &Slopes<K>,
        value: Id,
    ) -> Option<[Id; K]> {
        // A sum may be one of the nodes of which more is known.
        if let (Binary::Add | Binary::Sub, (_, of)) = (op, self.multiple(value)) {
            return self.relatives.iter().find(|(a, _)| *a == of).map(|(_, relative)| [*relative; K]);
        }
        let left = a.relative?;
        match op {
            Binary::Mul => b.relative.map(|right| std::array::from_fn(|k| self.add(left[k], right[k]))),
            Binary::Div => b.relative.map(|right| std::array::from_fn(|k| self.sub(left[k], right[k]))),
            Binary::Pow if self.value_of(b.value).is_some() => Some(left.map(|relative| self.mul(b.value, relative))),
            Binary::Pow => {
                let log = self.logarithm(a.value)?;
                Some(std::array::from_fn(|k| {
                    let (outer, inner) = (self.chain(log, b.slope[k]), self.chain(b.value, left[k]));
                    self.add(outer, inner)
                }))
            }
            Binary::Add | Binary::Sub | Binary::Max | Binary::Min => None,
        }
    }

    /// The part of the slope that comes through the left operand.
    fn left_slope(&mut self, op: Binary, a: Id, b: Id, slope: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Binary::Add | Binary::Sub => slope,
            Binary::Mul => self.chain(b, slope),
            Binary::Div => self.ratio(slope, b),
            Binary::Pow => {
                let outer = self.pow_slope(a, b);
                self.chain(outer, slope)
            }
            Binary::Max => {
                let share = self.two(Operation::Above, a, b);
                self.chain(share, slope)
            }
            Binary::Min => {
                let share = self.two(Operation::Above, b, a);
                self.chain(share, slope)
            }
        }
    }

    /// The part of the slope in direction `k` that comes through the right operand.
    fn right_slope<const K: usize>(&mut self, op: Binary, a: &Slopes<K>, b: &Slopes<K>, value: Id, k: usize) -> Id {
        let (slope, right) = (b.slope[k], b.value);
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Binary::Add => slope,
            Binary::Sub => self.neg(slope),
            Binary::Mul => self.chain(a.value, slope),
            Binary::Div => {
                let relative = b.relative.map_or_else(|| self.ratio(slope, right), |relative| relative[k]);
                let outer = self.chain(value, relative);
                self.neg(outer)
            }
            Binary::Pow => {
                let outer = self.two(Operation::PowLog, a.value, right);
                self.chain(outer, slope)
            }
            Binary::Max => {
                let share = self.two(Operation::Above, right, a.value);
                self.chain(share, slope)
            }
            Binary::Min => {
                let share = self.two(Operation::Above, a.value, right);
                self.chain(share, slope)
            }
        }
    }

    /// The slope of `a^b` in `a`, `b a^(b - 1)`.
    fn pow_slope(&mut self, a: Id, b: Id) -> Id {
        match self.value_of(b) {
            Some(0.0) => b,
            // Infinite at 0, where the slope is taken as 0.
            Some(exponent) if !(0.0..1.0).contains(&exponent) || self.range(a).excludes_zero() => {
                let less = self.number(exponent - 1.0);
                let power = self.pow(a, less);
                self.mul(b, power)
            }
            _ => self.two(Operation::PowSlope, a, b),
        }
    }
}
