//! An [`Expr`](super::Expr) and its derivatives as one graph, in which what is equal stands once.
//!
//! Forward mode, done on symbols instead of numbers: a constant has no slope, `1*a` is `a`, `log(y)` and `1 - y` may be
//! known already. A rule is only used where it cannot change the result in exact arithmetic; `0*a`, for instance, is 0 only
//! where `a` is known to be finite, and that is what the [`Range`] of every node is for.
//!
//! The graph is the definition of a formula: numbers in f64, blocks of f32 and emitted code are all made from it.

mod numbers;
pub(crate) mod probability;
mod range;
mod slopes;

use std::collections::HashMap;

pub(crate) use range::Range;
pub(crate) use slopes::Slopes;

/// A node of the graph; operands stand before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub(in crate::expr) u32);

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::expr) enum Op {
    Number(f64),
    Input(u8),
    One(Function, Id),
    Two(Operation, Id, Id),
}

/// A function of one operand: those of the formula language, and those that only derivatives need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::expr) enum Function {
    Neg,
    Log,
    Exp,
    Sqrt,
    Abs,
    Tanh,
    /// -1, 0 or 1; NaN of NaN.
    Sign,
    /// The slope of the square root, taken as 0 at 0.
    SqrtSlope,
}

/// A function of two operands: those of the formula language, and those that only derivatives need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::expr) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    /// The slope of `a^b` in `a`, `b a^(b - 1)`; taken as 0 where it is infinite at `a = 0` though `a^b` is not.
    PowSlope,
    /// The slope of `a^b` in `b`, `a^b log(a)`; 0 at `a = 0` where `b` is not negative.
    PowLog,
    /// A product by the chain rule: 0 where either factor is 0, even if the other is infinite.
    Chain,
    /// 1 where `a > b`, 0 where `a < b`, 1/2 where neither.
    Above,
}

/// The graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(in crate::expr) ops: Vec<Op>,
    ranges: Vec<Range>,
    known: HashMap<(u8, u64, u64), Id>,
    /// `(a, b)`: the logarithm of `a` is `b`.
    logarithms: Vec<(Id, Id)>,
    /// `(a, b)`: `a + b` is 1, and neither need be computed from the other, which would lose the digits of what is small.
    complements: Vec<(Id, Id)>,
    /// `(a, b)`: the slope of `a`, divided by `a`, is `b`.
    relatives: Vec<(Id, Id)>,
}

impl Id {
    /// Its place in a list of one entry for every node.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Graph {
    /// How many nodes there are.
    pub(in crate::expr) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether a node is never 0.
    pub(in crate::expr) fn excludes_zero(&self, id: Id) -> bool {
        self.range(id).excludes_zero()
    }

    pub(crate) fn number(&mut self, value: f64) -> Id {
        self.intern(Op::Number(value), Range { low: value, high: value, nan: value.is_nan() })
    }

    pub(crate) fn input(&mut self, index: u8, range: Range) -> Id {
        self.intern(Op::Input(index), range)
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
        match self.ops[id.index()] {
            Op::Number(v) => Some(v),
            _ => None,
        }
    }

    fn is(&self, id: Id, value: f64) -> bool {
        self.value_of(id) == Some(value)
    }

    fn range(&self, id: Id) -> Range {
        self.ranges[id.index()]
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
        match self.ops[a.index()] {
            Op::One(Function::Neg, inner) => inner,
            _ => self.one(Function::Neg, a),
        }
    }

    fn add(&mut self, a: Id, b: Id) -> Id {
        if self.is(a, 0.0) {
            return b;
        }
        if self.is(b, 0.0) {
            return a;
        }
        for (constant, other) in [(a, b), (b, a)] {
            if let Some(known) = self.complement(constant, other, -1.0) {
                return known;
            }
        }
        self.two(Operation::Add, a, b)
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
        if let Some(known) = self.complement(a, b, 1.0) {
            return known;
        }
        if let Some(known) = self.complement(b, a, 1.0) {
            return self.neg(known);
        }
        self.two(Operation::Sub, a, b)
    }

    /// `c - sign*c*a` where `1 - a` is known: `c` times that.
    fn complement(&mut self, constant: Id, multiple: Id, sign: f64) -> Option<Id> {
        let c = self.value_of(constant)?;
        let (factor, of) = self.multiple(multiple);
        if c == 0.0 || factor * sign != c {
            return None;
        }
        let known = |of: Id| self.complements.iter().find(|(a, _)| *a == of).map(|(_, complement)| *complement);
        let complement = match (known(of), self.ops[of.index()]) {
            (Some(complement), _) => complement,
            // 1 - a^2 = (1 - a)(1 + a)
            (None, Op::Two(Operation::Mul, a, b)) if a == b => {
                let complement = known(a)?;
                let one = self.number(1.0);
                let sum = self.add(one, a);
                self.mul(complement, sum)
            }
            _ => return None,
        };
        Some(self.mul(constant, complement))
    }

    /// A node as a number times another node.
    fn multiple(&self, id: Id) -> (f64, Id) {
        match self.ops[id.index()] {
            Op::One(Function::Neg, a) => (-1.0, a),
            Op::Two(Operation::Mul, a, b) => match (self.value_of(a), self.value_of(b)) {
                (Some(c), _) => (c, b),
                (_, Some(c)) => (c, a),
                _ => (1.0, id),
            },
            _ => (1.0, id),
        }
    }

    fn mul(&mut self, a: Id, b: Id) -> Id {
        self.product(Operation::Mul, a, b)
    }

    /// A product of slopes: [`Operation::Chain`] where a factor may be infinite.
    fn chain(&mut self, a: Id, b: Id) -> Id {
        let fits = self.range(a).fits() && self.range(b).fits();
        self.product(if fits { Operation::Mul } else { Operation::Chain }, a, b)
    }

    fn product(&mut self, operation: Operation, a: Id, b: Id) -> Id {
        for (factor, other) in [(a, b), (b, a)] {
            if self.is(factor, 1.0) {
                return other;
            }
            if self.is(factor, -1.0) {
                return self.neg(other);
            }
            if self.is(factor, 0.0) && (operation == Operation::Chain || self.range(other).is_finite()) {
                return factor;
            }
        }
        self.two(operation, a, b)
    }

    fn div(&mut self, a: Id, b: Id) -> Id {
        if self.is(b, 1.0) {
            return a;
        }
        if self.is(a, 0.0) && self.range(b).excludes_zero() {
            return a;
        }
        if a == b && self.range(a).is_regular() {
            return self.number(1.0);
        }
        match self.ops[b.index()] {
            Op::One(Function::Neg, inner) => {
                let ratio = self.div(a, inner);
                return self.neg(ratio);
            }
            // A product of probabilities may underflow where neither does.
            Op::Two(Operation::Mul, left, right) if self.has_probability(b) => {
                let ratio = self.div(a, left);
                return self.div(ratio, right);
            }
            _ => {}
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

    /// Whether a product has a factor that may be close to 0 without being 0.
    fn has_probability(&self, id: Id) -> bool {
        if self.logarithms.iter().any(|(of, _)| *of == id) {
            return true;
        }
        match self.ops[id.index()] {
            Op::Two(Operation::Mul, left, right) => self.has_probability(left) || self.has_probability(right),
            Op::Two(Operation::Pow, base, _) | Op::One(Function::Neg | Function::Sqrt, base) => {
                self.has_probability(base)
            }
            _ => false,
        }
    }

    fn log(&mut self, a: Id) -> Id {
        match self.logarithm(a) {
            Some(known) => known,
            None => self.one(Function::Log, a),
        }
    }

    /// The logarithm of a node of which one is known or its own form tells it.
    fn logarithm(&mut self, a: Id) -> Option<Id> {
        if let Some(&(_, is)) = self.logarithms.iter().find(|(of, _)| *of == a) {
            return Some(is);
        }
        match self.ops[a.index()] {
            Op::One(Function::Exp, inner) => Some(inner),
            Op::One(Function::Sqrt, inner) => {
                let (half, log) = (self.number(0.5), self.logarithm(inner)?);
                Some(self.mul(half, log))
            }
            Op::Two(Operation::Pow, base, exponent) => {
                let log = self.logarithm(base)?;
                Some(self.mul(exponent, log))
            }
            Op::Two(operation @ (Operation::Mul | Operation::Div), left, right) => {
                let known = [left, right].map(|id| self.logarithm(id));
                let positive =
                    [left, right].iter().zip(known).all(|(id, log)| log.is_some() || self.range(*id).is_positive());
                if known == [None, None] || !positive {
                    return None;
                }
                let [left, right] = [left, right].map(|id| self.log(id));
                Some(if operation == Operation::Mul { self.add(left, right) } else { self.sub(left, right) })
            }
            _ => None,
        }
    }

    fn sqrt(&mut self, a: Id) -> Id {
        match self.ops[a.index()] {
            Op::Two(Operation::Mul, left, right) if left == right => self.abs(left),
            _ => self.one(Function::Sqrt, a),
        }
    }

    fn abs(&mut self, a: Id) -> Id {
        let range = self.range(a);
        if range.nan {
            self.one(Function::Abs, a)
        } else if range.low >= 0.0 {
            a
        } else if range.high <= 0.0 {
            self.neg(a)
        } else {
            self.one(Function::Abs, a)
        }
    }

    /// `a^b`: small whole exponents are products.
    fn pow(&mut self, a: Id, b: Id) -> Id {
        match self.value_of(b) {
            Some(0.0) => self.number(1.0),
            Some(0.5) => self.sqrt(a),
            Some(e) if e.abs() <= 8.0 && e.fract() == 0.0 => {
                let positive = self.whole_power(a, e.abs() as u32);
                if e > 0.0 {
                    return positive;
                }
                let one = self.number(1.0);
                self.div(one, positive)
            }
            Some(_) => self.two(Operation::Pow, a, b),
            None => match self.logarithm(a) {
                Some(log) => {
                    let power = self.mul(b, log);
                    self.one(Function::Exp, power)
                }
                None => self.two(Operation::Pow, a, b),
            },
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
}
