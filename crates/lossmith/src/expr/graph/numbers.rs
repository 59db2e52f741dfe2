//! What each node computes, number by number in f64: the definition that blocks and emitted code are tested against.

use super::{Function, Graph, Id, Op, Operation};

impl Function {
    pub(in crate::expr) fn of(self, a: f64) -> f64 {
        match self {
            Self::Neg => -a,
            Self::Log => a.ln(),
            Self::Exp => a.exp(),
            Self::Sqrt => a.sqrt(),
            Self::SqrtSlope => {
                if a == 0.0 {
                    0.0
                } else {
                    0.5 / a.sqrt()
                }
            }
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

    /// The derivative, for the growth of errors.
    fn slope(self, a: f64) -> f64 {
        match self {
            Self::Neg => -1.0,
            Self::Log => 1.0 / a,
            Self::Exp => a.exp(),
            Self::Sqrt => 0.5 / a.sqrt(),
            Self::SqrtSlope => -0.25 / (a * a.sqrt()),
            Self::Abs => 1.0,
            Self::Tanh => 1.0 - a.tanh() * a.tanh(),
            Self::Sign => 0.0,
        }
    }
}

impl Operation {
    pub(in crate::expr) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Chain => {
                if a == 0.0 || b == 0.0 {
                    0.0
                } else {
                    a * b
                }
            }
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Max | Self::Min if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::PowSlope => {
                if b == 0.0 || (a == 0.0 && b > 0.0 && b < 1.0) {
                    0.0
                } else {
                    b * a.powf(b - 1.0)
                }
            }
            Self::PowLog => {
                if a == 0.0 && b >= 0.0 {
                    0.0
                } else {
                    a.powf(b) * a.ln()
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

    /// The two derivatives, for the growth of errors.
    fn slopes(self, a: f64, b: f64) -> [f64; 2] {
        match self {
            Self::Add | Self::Sub | Self::Max | Self::Min => [1.0, 1.0],
            Self::Mul | Self::Chain => [b, a],
            Self::Div => [1.0 / b, a / b / b],
            Self::Pow => [Self::PowSlope.of(a, b), Self::PowLog.of(a, b)],
            Self::PowSlope => [b * (b - 1.0) * a.powf(b - 2.0), a.powf(b - 1.0) * (1.0 + b * a.ln())],
            Self::PowLog => [Self::PowSlope.of(a, b) * a.ln() + a.powf(b - 1.0), a.powf(b) * a.ln() * a.ln()],
            Self::Above => [0.0, 0.0],
        }
    }
}

impl Graph {
    /// The value of every node.
    pub(crate) fn values(&self, inputs: &[f64]) -> Vec<f64> {
        let mut values: Vec<f64> = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            let of = |id: Id| values[id.index()];
            values.push(match *op {
                Op::Number(v) => v,
                Op::Input(i) => inputs[usize::from(i)],
                Op::One(f, a) => f.of(of(a)),
                Op::Two(f, a, b) => f.of(of(a), of(b)),
            });
        }
        values
    }

    /// How far off every node may be, to first order, in an arithmetic that rounds each result to within `unit` of itself,
    /// from inputs that are off by so much.
    pub(crate) fn errors(&self, values: &[f64], inputs: &[f64], unit: f64) -> Vec<f64> {
        let mut errors: Vec<f64> = Vec::with_capacity(self.ops.len());
        for (op, value) in self.ops.iter().zip(values) {
            let of = |id: Id| values[id.index()];
            let carried = |id: Id, slope: f64| match errors[id.index()] {
                0.0 => 0.0,
                error => error * slope.abs(),
            };
            let error = match *op {
                Op::Number(v) => {
                    errors.push(v.abs() * unit);
                    continue;
                }
                Op::Input(i) => {
                    errors.push(inputs[usize::from(i)]);
                    continue;
                }
                // A comparison that rounding may decide otherwise.
                Op::One(Function::Sign, a) => {
                    if of(a).abs() <= errors[a.index()] {
                        2.0
                    } else {
                        0.0
                    }
                }
                Op::Two(Operation::Above, a, b) => {
                    let undecided = (of(a) - of(b)).abs() <= errors[a.index()] + errors[b.index()];
                    if undecided { 1.0 } else { 0.0 }
                }
                Op::One(f, a) => carried(a, f.slope(of(a))),
                Op::Two(f, a, b) => {
                    let [da, db] = f.slopes(of(a), of(b));
                    carried(a, da) + carried(b, db)
                }
            };
            errors.push(error + value.abs() * unit);
        }
        errors
    }
}
