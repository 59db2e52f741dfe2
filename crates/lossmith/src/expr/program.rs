//! A [`Graph`] as a list of steps over registers, run on blocks of [`BLOCK`] numbers at a time.
//!
//! One step is one loop over a block that lies in the first-level cache, so the interpreter costs little (style notes
//! A14), and a loop over a fixed number of elements becomes vectors without a remainder.

use super::graph::{Function, Graph, Id, Op, Operation};
use super::math;
use crate::simd::{self, Level};

/// How many numbers a step works on.
pub(crate) const BLOCK: usize = 256;
/// The numbers of one register, input or output.
pub(crate) type Block = [f32; BLOCK];

/// Straight-line code for the outputs of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    outputs: Vec<Operand>,
    registers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    what: What,
    into: u16,
}

#[derive(Clone, Copy, Debug)]
enum What {
    One(Function, Operand),
    Two(Operation, Operand, Operand),
}

#[derive(Clone, Copy, Debug)]
enum Operand {
    Register(u16),
    Input(u8),
    Number(f32),
}

/// An operand's numbers.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// One for each element.
    Block(&'a Block),
    /// The same for all.
    Number(f32),
}

impl Program {
    /// Code for these nodes of the graph, in this order.
    pub(crate) fn new(graph: &Graph, outputs: &[Id]) -> Self {
        let last_use = last_uses(graph, outputs);
        let mut place: Vec<Operand> = Vec::with_capacity(graph.ops.len());
        let mut free: Vec<u16> = Vec::new();
        let mut program = Self { steps: Vec::new(), outputs: Vec::new(), registers: 0 };
        for (at, op) in graph.ops.iter().enumerate() {
            let what = match *op {
                Op::Number(v) => {
                    place.push(Operand::Number(v as f32));
                    continue;
                }
                Op::Input(i) => {
                    place.push(Operand::Input(i));
                    continue;
                }
                // Nothing reads it.
                _ if last_use[at] == 0 => {
                    place.push(Operand::Number(0.0));
                    continue;
                }
                Op::One(f, a) => What::One(f, place[a.index()]),
                Op::Two(f, a, b) => What::Two(f, place[a.index()], place[b.index()]),
            };
            // The register is taken before those of the operands are given back: a step never writes what it reads.
            let into = free.pop().unwrap_or_else(|| {
                program.registers += 1;
                (program.registers - 1) as u16
            });
            place.push(Operand::Register(into));
            program.steps.push(Step { what, into });
            let operands = match *op {
                Op::One(_, a) => [a, a],
                Op::Two(_, a, b) => [a, b],
                Op::Number(_) | Op::Input(_) => continue,
            };
            let distinct = if operands[0] == operands[1] { &operands[..1] } else { &operands[..] };
            for id in distinct {
                if let (true, Operand::Register(r)) = (last_use[id.index()] == at, place[id.index()]) {
                    free.push(r);
                }
            }
        }
        program.outputs = outputs.iter().map(|id| place[id.index()]).collect();
        program
    }

    /// How many registers [`run`] needs.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Whether the input of this index is read.
    pub(crate) fn reads(&self, input: u8) -> bool {
        let is = |operand: &Operand| matches!(operand, Operand::Input(i) if *i == input);
        self.outputs.iter().any(is)
            || self.steps.iter().any(|step| match &step.what {
                What::One(_, a) => is(a),
                What::Two(_, a, b) => is(a) || is(b),
            })
    }

    /// The output of this index, after [`run`] on the same inputs and registers.
    #[inline(always)]
    pub(crate) fn output<'a>(&self, index: usize, inputs: &[&'a Block], registers: &'a [Block]) -> Source<'a> {
        match self.outputs[index] {
            Operand::Register(r) => Source::Block(&registers[usize::from(r)]),
            Operand::Input(i) => Source::Block(inputs[usize::from(i)]),
            Operand::Number(v) => Source::Number(v),
        }
    }
}

/// For every node, the last node that reads it: 0 for none, the number of nodes for an output.
fn last_uses(graph: &Graph, outputs: &[Id]) -> Vec<usize> {
    let mut last = vec![0; graph.ops.len()];
    for id in outputs {
        last[id.index()] = graph.ops.len();
    }
    for (at, op) in graph.ops.iter().enumerate().rev() {
        let operands = match *op {
            Op::One(_, a) => [a, a],
            Op::Two(_, a, b) => [a, b],
            Op::Number(_) | Op::Input(_) => continue,
        };
        if last[at] > 0 {
            for id in operands {
                last[id.index()] = last[id.index()].max(at);
            }
        }
    }
    last
}

impl Source<'_> {
    /// Copies the numbers into a slice of up to a block.
    pub(crate) fn copy_to(self, into: &mut [f32]) {
        match self {
            Self::Block(block) => into.copy_from_slice(&block[..into.len()]),
            Self::Number(v) => into.fill(v),
        }
    }
}

/// Runs all steps on one block of inputs.
pub(crate) fn run(level: Level, program: &Program, inputs: &[&Block], registers: &mut [Block]) {
    simd::at(
        level,
        #[inline(always)]
        || run_steps(program, inputs, registers),
    );
}

#[inline(always)]
fn run_steps(program: &Program, inputs: &[&Block], registers: &mut [Block]) {
    for step in &program.steps {
        let (before, rest) = registers.split_at_mut(usize::from(step.into));
        let Some((into, after)) = rest.split_first_mut() else { return };
        let (before, after) = (&*before, &*after);
        let source = |operand: Operand| match operand {
            Operand::Register(r) if r < step.into => Source::Block(&before[usize::from(r)]),
            Operand::Register(r) => Source::Block(&after[usize::from(r - step.into) - 1]),
            Operand::Input(i) => Source::Block(inputs[usize::from(i)]),
            Operand::Number(v) => Source::Number(v),
        };
        match step.what {
            What::One(function, a) => one(function, source(a), into),
            What::Two(operation, a, b) => two(operation, source(a), source(b), into),
        }
    }
}

#[inline(always)]
fn one(function: Function, a: Source, into: &mut Block) {
    // A graph folds functions of numbers, so there is always a block.
    let Source::Block(a) = a else { return };
    match function {
        Function::Neg => map(a, into, |a| -a),
        Function::Log => map(a, into, math::log),
        Function::Exp => map(a, into, math::exp),
        Function::Sqrt => map(a, into, f32::sqrt),
        Function::SqrtSlope => map(a, into, |a| if a == 0.0 { 0.0 } else { 0.5 / a.sqrt() }),
        Function::Abs => map(a, into, f32::abs),
        Function::Tanh => map(a, into, math::tanh),
        Function::Sign => map(a, into, |a| {
            if a > 0.0 {
                1.0
            } else if a < 0.0 {
                -1.0
            } else {
                a
            }
        }),
    }
}

#[inline(always)]
fn map(a: &Block, into: &mut Block, f: impl Fn(f32) -> f32) {
    for (o, a) in into.iter_mut().zip(a) {
        *o = f(*a);
    }
}

#[inline(always)]
fn two(operation: Operation, a: Source, b: Source, into: &mut Block) {
    match operation {
        Operation::Add => zip(a, b, into, |a, b| a + b),
        Operation::Sub => zip(a, b, into, |a, b| a - b),
        Operation::Mul => zip(a, b, into, |a, b| a * b),
        Operation::Chain => zip(a, b, into, |a, b| if a == 0.0 || b == 0.0 { 0.0 } else { a * b }),
        Operation::Div => zip(a, b, into, |a, b| a / b),
        Operation::Max => zip(a, b, into, |a, b| {
            if a > b {
                a
            } else if a <= b {
                b
            } else {
                f32::NAN
            }
        }),
        Operation::Min => zip(a, b, into, |a, b| {
            if a < b {
                a
            } else if a >= b {
                b
            } else {
                f32::NAN
            }
        }),
        Operation::Above => zip(a, b, into, |a, b| {
            if a > b {
                1.0
            } else if a < b {
                0.0
            } else {
                0.5
            }
        }),
        Operation::Pow => zip(a, b, into, f32::powf),
        Operation::PowSlope => {
            zip(
                a,
                b,
                into,
                |a, b| if b == 0.0 || (a == 0.0 && b > 0.0 && b < 1.0) { 0.0 } else { b * a.powf(b - 1.0) },
            );
        }
        Operation::PowLog => zip(a, b, into, |a, b| if a == 0.0 && b >= 0.0 { 0.0 } else { a.powf(b) * math::log(a) }),
    }
}

#[inline(always)]
fn zip(a: Source, b: Source, into: &mut Block, f: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        (Source::Block(a), Source::Block(b)) => {
            for ((o, a), b) in into.iter_mut().zip(a).zip(b) {
                *o = f(*a, *b);
            }
        }
        (Source::Block(a), Source::Number(b)) => map(a, into, |a| f(a, b)),
        (Source::Number(a), Source::Block(b)) => map(b, into, |b| f(a, b)),
        (Source::Number(a), Source::Number(b)) => into.fill(f(a, b)),
    }
}
