//! Where the values of a node lie: what the rules of the graph may take for granted.

use super::{Function, Operation};

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

    /// Whether every value is a finite number in exact arithmetic. In f32 it may still overflow; a rule that leaves it out
    /// then gives the right result where the arithmetic would not.
    pub(super) fn is_finite(self) -> bool {
        !self.nan && self.low.is_finite() && self.high.is_finite()
    }

    /// Whether every value is finite in f32, too.
    pub(super) fn fits(self) -> bool {
        !self.nan && self.low >= Self::FINITE.low && self.high <= Self::FINITE.high
    }

    /// Whether it has neither zero nor anything that is not finite.
    pub(super) fn is_regular(self) -> bool {
        self.is_finite() && self.excludes_zero()
    }

    /// Whether 0 is not among the values, nor what f32 rounds to it.
    pub(super) fn excludes_zero(self) -> bool {
        const LEAST: f64 = f32::MIN_POSITIVE as f64;
        !self.nan && (self.low >= LEAST || self.high <= -LEAST)
    }

    pub(super) fn is_positive(self) -> bool {
        !self.nan && self.low > 0.0
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

impl Function {
    pub(super) fn range(self, a: Range) -> Range {
        match self {
            Self::Neg => Range { low: -a.high, high: -a.low, ..a },
            Self::Log | Self::Sqrt if a.low < 0.0 => Range::ANY,
            Self::Log | Self::Sqrt | Self::Exp | Self::Tanh => {
                Range { low: self.of(a.low), high: self.of(a.high), ..a }
            }
            Self::SqrtSlope if a.low > 0.0 => Range { low: self.of(a.high), high: self.of(a.low), ..a },
            Self::SqrtSlope => Range::ANY,
            Self::Abs => Range {
                low: if a.excludes_zero() { a.low.abs().min(a.high.abs()) } else { 0.0 },
                high: a.high.max(-a.low),
                ..a
            },
            Self::Sign => Range { low: -1.0, high: 1.0, ..a },
        }
    }
}

impl Operation {
    pub(super) fn range(self, a: Range, b: Range) -> Range {
        if a.nan || b.nan {
            return if self == Self::Above { Range::new(0.0, 1.0) } else { Range::ANY };
        }
        match self {
            Self::Add => a.of_corners(b, |a, b| a + b),
            Self::Sub => a.of_corners(b, |a, b| a - b),
            Self::Mul | Self::Chain => a.of_corners(b, |a, b| a * b),
            Self::Div if b.excludes_zero() => a.of_corners(b, |a, b| a / b),
            Self::Pow if a.is_positive() => a.of_corners(b, f64::powf),
            Self::Max => Range::new(a.low.max(b.low), a.high.max(b.high)),
            Self::Min => Range::new(a.low.min(b.low), a.high.min(b.high)),
            Self::Above => Range::new(0.0, 1.0),
            Self::Div | Self::Pow | Self::PowSlope | Self::PowLog => Range::ANY,
        }
    }
}
