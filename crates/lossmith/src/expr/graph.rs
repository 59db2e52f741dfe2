//! An [`Expr`](super::Expr) and its derivatives as one graph, in which what is equal stands once.
//!
//! Forward mode, done on symbols instead of numbers: a constant has no slope, `1*a` is `a`, `log(y)` may be known
//! already. A rule is only used where it cannot change the result; `0*a`, for instance, is 0 only where `a` is known to
//! be finite, and that is what the [`Range`] of every node is for.

use std::collections::HashMap;

use super::{Binary, Expr, Node, Unary};

/// A node of the graph; operands stand before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub(super) u32);

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Number(f64),
    Input(u8),
    One(Function, Id),
    Two(Operation, Id, Id),
}

/// A function of one operand: those of the formula language, and those that only derivatives need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Function {
    Neg,
    Log,
    Exp,
    Sqrt,
    Abs,
    Tanh,
    /// -1, 0 or 1; NaN of NaN.
    Sign,
}

/// A function of two operands: those of the formula language, and those that only derivatives need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    /// The slope of `a^b` in `a`.
    PowSlope,
    /// 1 where `a > b`, 0 where `a < b`, 1/2 where neither.
    Above,
}

/// Where the values of a node lie, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub low: f64,
    pub high: f64,
    /// Whether NaN is possible.
    pub nan: bool,
}

impl Range {
    /// Any finite f32.
    pub(crate) const FINITE: Self = Self::new(-(f32::MAX as f64), f32::MAX as f64);
    const ANY: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY, nan: true };

    pub(crate) const fn new(low: f64, high: f64) -> Self {
        Self { low, high, nan: false }
    }

    fn is_finite(self) -> bool {
        !self.nan && self.low >= Self::FINITE.low && self.high <= Self::FINITE.high
    }

    /// Whether it has neither zero nor anything that is not finite.
    fn is_regular(self) -> bool {
        self.is_finite() && (self.low > 0.0 || self.high < 0.0)
    }

    /// The range of a product or quotient: its corners are those of the operands.
    fn of_corners(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let corners =
            [f(self.low, other.low), f(self.low, other.high), f(self.high, other.low), f(self.high, other.high)];
        if corners.iter().any(|c| c.is_nan()) {
            return Self::ANY;
        }
        let low = corners.iter().copied().fold(f64::INFINITY, f64::min);
        Self::new(low, corners.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}

/// A value and its slopes in K directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slopes<const K: usize> {
    pub value: Id,
    pub slope: [Id; K],
}

/// The graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(super) ops: Vec<Op>,
    ranges: Vec<Range>,
    known: HashMap<(u8, u64, u64), Id>,
    /// `(a, b)`: the logarithm of `a` is `b`.
    logarithm: Option<(Id, Id)>,
}

impl Graph {
    pub(crate) fn number(&mut self, value: f64) -> Id {
        self.intern(Op::Number(value), Range { low: value, high: value, nan: value.is_nan() })
    }

    pub(crate) fn input(&mut self, index: u8, range: Range) -> Id {
        self.intern(Op::Input(index), range)
    }

    /// Says that the logarithm of `of` need not be computed: it is `is`.
    pub(crate) fn set_logarithm(&mut self, of: Id, is: Id) {
        self.logarithm = Some((of, is));
    }

    fn intern(&mut self, op: Op, range: Range) -> Id {
        let key = match op {
            Op::Number(v) => (0, v.to_bits(), 0),
            Op::Input(i) => (1, u64::from(i), 0),
            Op::One(f, a) => (2 + f as u8, u64::from(a.0), 0),
            Op::Two(f, a, b) => (32 + f as u8, u64::from(a.0), u64::from(b.0)),
        };
        if let Some(&id) = self.known.get(&key) {
            return id;
        }
        let id = Id(self.ops.len() as u32);
        self.ops.push(op);
        self.ranges.push(range);
        self.known.insert(key, id);
        id
    }

    fn value_of(&self, id: Id) -> Option<f64> {
        match self.ops[id.0 as usize] {
            Op::Number(v) => Some(v),
            _ => None,
        }
    }

    fn is(&self, id: Id, value: f64) -> bool {
        self.value_of(id) == Some(value)
    }

    fn range(&self, id: Id) -> Range {
        self.ranges[id.0 as usize]
    }

    fn one(&mut self, function: Function, a: Id) -> Id {
        if let Some(v) = self.value_of(a) {
            return self.number(function.of(v));
        }
        let range = function.range(self.range(a));
        self.intern(Op::One(function, a), range)
    }

    fn two(&mut self, operation: Operation, a: Id, b: Id) -> Id {
        if let (Some(v), Some(w)) = (self.value_of(a), self.value_of(b)) {
            return self.number(operation.of(v, w));
        }
        let range = operation.range(self.range(a), self.range(b));
        self.intern(Op::Two(operation, a, b), range)
    }

    fn neg(&mut self, a: Id) -> Id {
        match self.ops[a.0 as usize] {
            Op::One(Function::Neg, inner) => inner,
            _ => self.one(Function::Neg, a),
        }
    }

    fn add(&mut self, a: Id, b: Id) -> Id {
        match (self.is(a, 0.0), self.is(b, 0.0)) {
            (true, _) => b,
            (_, true) => a,
            _ => self.two(Operation::Add, a, b),
        }
    }

    fn sub(&mut self, a: Id, b: Id) -> Id {
        if self.is(b, 0.0) {
            return a;
        }
        if self.is(a, 0.0) {
            return self.neg(b);
        }
        if a == b && self.range(a).is_finite() {
            return self.number(0.0);
        }
        self.two(Operation::Sub, a, b)
    }

    fn mul(&mut self, a: Id, b: Id) -> Id {
        for (factor, other) in [(a, b), (b, a)] {
            if self.is(factor, 1.0) {
                return other;
            }
            if self.is(factor, -1.0) {
                return self.neg(other);
            }
            if self.is(factor, 0.0) && self.range(other).is_finite() {
                return factor;
            }
        }
        self.two(Operation::Mul, a, b)
    }

    fn div(&mut self, a: Id, b: Id) -> Id {
        if self.is(b, 1.0) {
            return a;
        }
        if self.is(a, 0.0) && self.range(b).is_regular() {
            return a;
        }
        if a == b && self.range(a).is_regular() {
            return self.number(1.0);
        }
        match self.value_of(b) {
            // A product is many times faster; the result may differ in its last bit.
            Some(v) if v.is_normal() && (1.0 / v).is_normal() => {
                let inverse = self.number(1.0 / v);
                self.mul(a, inverse)
            }
            _ => self.two(Operation::Div, a, b),
        }
    }

    fn log(&mut self, a: Id) -> Id {
        let Some((of, is)) = self.logarithm else { return self.one(Function::Log, a) };
        if a == of {
            return is;
        }
        // log(c*y) = log(c) + log(y)
        if let Op::Two(Operation::Mul, left, right) = self.ops[a.0 as usize] {
            let factor = if right == of { self.value_of(left) } else { self.value_of(right) };
            if let (true, Some(c)) = (left == of || right == of, factor.filter(|c| *c > 0.0)) {
                let constant = self.number(c.ln());
                return self.add(constant, is);
            }
        }
        self.one(Function::Log, a)
    }

    /// `a^b`: small whole exponents are products.
    fn pow(&mut self, a: Id, b: Id) -> Id {
        match self.value_of(b) {
            Some(0.0) => self.number(1.0),
            Some(e) if e.abs() <= 8.0 && e.fract() == 0.0 => {
                let positive = self.whole_power(a, e.abs() as u32);
                if e > 0.0 {
                    return positive;
                }
                let one = self.number(1.0);
                self.div(one, positive)
            }
            _ => self.two(Operation::Pow, a, b),
        }
    }

    fn whole_power(&mut self, a: Id, exponent: u32) -> Id {
        match exponent {
            0 => self.number(1.0),
            1 => a,
            _ => {
                let half = self.whole_power(a, exponent / 2);
                let square = self.mul(half, half);
                if exponent.is_multiple_of(2) { square } else { self.mul(square, a) }
            }
        }
    }

    /// Adds an expression; its variable `i` is `variables[i]`.
    ///
    /// # Panics
    /// If the expression uses a variable past the end of `variables`.
    pub(crate) fn add_expr<const K: usize>(&mut self, expr: &Expr, variables: &[Slopes<K>]) -> Slopes<K> {
        self.subtree(&mut expr.nodes(), variables)
    }

    /// Adds the subtree at the head of `rest` and takes it off.
    fn subtree<const K: usize>(&mut self, rest: &mut &[Node], variables: &[Slopes<K>]) -> Slopes<K> {
        let (node, tail) = rest.split_first().expect("an expression is a complete tree");
        *rest = tail;
        match *node {
            Node::Num(value) => {
                let zero = self.number(0.0);
                Slopes { value: self.number(value), slope: [zero; K] }
            }
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
            Unary::Sqrt => self.one(Function::Sqrt, a.value),
            Unary::Square => self.mul(a.value, a.value),
            Unary::Abs => self.one(Function::Abs, a.value),
            Unary::Tanh => self.one(Function::Tanh, a.value),
        };
        Slopes { value, slope: a.slope.map(|slope| self.unary_slope(op, a.value, value, slope)) }
    }

    /// The slope of a function of one operand, from the operand, the value and the operand's slope.
    fn unary_slope(&mut self, op: Unary, a: Id, value: Id, slope: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Unary::Neg => self.neg(slope),
            Unary::Log => self.ratio(slope, a),
            Unary::Exp => self.mul(value, slope),
            Unary::Sqrt => {
                let half = self.number(0.5);
                let outer = self.div(half, value);
                self.mul(outer, slope)
            }
            Unary::Square => {
                let outer = self.add(a, a);
                self.mul(outer, slope)
            }
            Unary::Abs => {
                let sign = self.one(Function::Sign, a);
                self.mul(sign, slope)
            }
            Unary::Tanh => {
                let square = self.mul(value, value);
                let one = self.number(1.0);
                let outer = self.sub(one, square);
                self.mul(outer, slope)
            }
        }
    }

    /// `slope/a`, where a slope equal to `a` itself, as that of a probability in its logarithm, gives 1.
    fn ratio(&mut self, slope: Id, a: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        if slope == a && self.range(a).is_regular() {
            return self.number(1.0);
        }
        let one = self.number(1.0);
        let inverse = self.div(one, a);
        self.mul(slope, inverse)
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
        let slope = std::array::from_fn(|k| {
            let (da, db) = (a.slope[k], b.slope[k]);
            let left = self.left_slope(op, a.value, b.value, da);
            let right = self.right_slope(op, a.value, b.value, value, db);
            self.add(left, right)
        });
        Slopes { value, slope }
    }

    /// The part of the slope that comes through the left operand.
    fn left_slope(&mut self, op: Binary, a: Id, b: Id, slope: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Binary::Add | Binary::Sub => slope,
            Binary::Mul => self.mul(b, slope),
            Binary::Div => self.ratio(slope, b),
            Binary::Pow => {
                let outer = self.pow_slope(a, b);
                self.mul(outer, slope)
            }
            Binary::Max => {
                let share = self.two(Operation::Above, a, b);
                self.mul(share, slope)
            }
            Binary::Min => {
                let share = self.two(Operation::Above, b, a);
                self.mul(share, slope)
            }
        }
    }

    /// The part of the slope that comes through the right operand.
    fn right_slope(&mut self, op: Binary, a: Id, b: Id, value: Id, slope: Id) -> Id {
        if self.is(slope, 0.0) {
            return slope;
        }
        match op {
            Binary::Add => slope,
            Binary::Sub => self.neg(slope),
            Binary::Mul => self.mul(a, slope),
            Binary::Div => {
                let ratio = self.ratio(slope, b);
                let outer = self.mul(value, ratio);
                self.neg(outer)
            }
            Binary::Pow => {
                let log = self.log(a);
                let outer = self.mul(value, log);
                self.mul(outer, slope)
            }
            Binary::Max => {
                let share = self.two(Operation::Above, b, a);
                self.mul(share, slope)
            }
            Binary::Min => {
                let share = self.two(Operation::Above, a, b);
                self.mul(share, slope)
            }
        }
    }

    /// The slope of `a^b` in `a`, `b a^(b - 1)`.
    fn pow_slope(&mut self, a: Id, b: Id) -> Id {
        let Some(exponent) = self.value_of(b) else { return self.two(Operation::PowSlope, a, b) };
        let less = self.number(exponent - 1.0);
        let power = self.pow(a, less);
        self.mul(b, power)
    }
}

impl Function {
    pub(super) fn of(self, a: f64) -> f64 {
        match self {
            Self::Neg => -a,
            Self::Log => a.ln(),
            Self::Exp => a.exp(),
            Self::Sqrt => a.sqrt(),
            Self::Abs => a.abs(),
            Self::Tanh => a.tanh(),
            Self::Sign => {
                if a > 0.0 {
                    1.0
                } else if a < 0.0 {
                    -1.0
                } else {
                    a
                }
            }
        }
    }

    fn range(self, a: Range) -> Range {
        match self {
            Self::Neg => Range { low: -a.high, high: -a.low, ..a },
            Self::Log | Self::Sqrt if a.low < 0.0 => Range::ANY,
            Self::Log | Self::Sqrt | Self::Exp | Self::Tanh => {
                Range { low: self.of(a.low), high: self.of(a.high), ..a }
            }
            Self::Abs => Range { low: 0.0, high: a.high.max(-a.low), ..a },
            Self::Sign => Range { low: -1.0, high: 1.0, ..a },
        }
    }
}

impl Operation {
    pub(super) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Max | Self::Min if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::PowSlope => {
                if b == 0.0 {
                    0.0
                } else {
                    b * a.powf(b - 1.0)
                }
            }
            Self::Above => {
                if a > b {
                    1.0
                } else if a < b {
                    0.0
                } else {
                    0.5
                }
            }
        }
    }

    fn range(self, a: Range, b: Range) -> Range {
        if a.nan || b.nan {
            return if self == Self::Above { Range::new(0.0, 1.0) } else { Range::ANY };
        }
        match self {
            Self::Add => a.of_corners(b, |a, b| a + b),
            Self::Sub => a.of_corners(b, |a, b| a - b),
            Self::Mul => a.of_corners(b, |a, b| a * b),
            Self::Div if b.low > 0.0 || b.high < 0.0 => a.of_corners(b, |a, b| a / b),
            Self::Max => Range::new(a.low.max(b.low), a.high.max(b.high)),
            Self::Min => Range::new(a.low.min(b.low), a.high.min(b.high)),
            Self::Above => Range::new(0.0, 1.0),
            Self::Div | Self::Pow | Self::PowSlope => Range::ANY,
        }
    }
}
