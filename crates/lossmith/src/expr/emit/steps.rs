//! A class formula as steps of code: the graph that the engine computes, for the class that is the label and for one that is
//! not, with names for what is used more than once.

use super::super::graph::probability::{CLASSES, LOG, LOG_MISSED, MISSED, PROBABILITY};
use super::super::graph::{Function, Graph, Id, Op, Operation};
use super::super::{Binary, Expr, Unary};

/// What the code is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The number of classes.
    Classes,
    /// `y`
    Probability,
    /// `log y`
    Log,
    /// `1/y`
    Inverse,
    /// `1 - y`
    Missed,
    /// `log(1 - y)`
    LogMissed,
    /// `1/(1 - y)`
    InverseMissed,
}

/// A piece of code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Number(f64),
    Leaf(Leaf),
    /// The step of this index.
    Step(usize),
    Unary(Unary, Box<Tree>),
    Binary(Binary, Box<Tree>, Box<Tree>),
    /// A power of what may be 0, where its slope is to be 0 instead of infinite.
    Guarded(Box<Tree>, Box<Tree>),
}

/// The formula for one kind of class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steps {
    /// What is used more than once, each in terms of those before it.
    pub shared: Vec<Tree>,
    pub result: Tree,
}

impl Steps {
    /// The formula where `x` is this.
    pub(super) fn new(formula: &Expr, x: f64) -> Self {
        let (graph, result) = Graph::of_any_classes(formula, x);
        let mut builder =
            Builder { uses: uses(&graph, result), places: vec![None; graph.len()], shared: Vec::new(), graph };
        let result = builder.tree(result);
        Self { shared: builder.shared, result }
    }

    /// Whether a leaf occurs.
    pub(super) fn uses(&self, leaf: Leaf) -> bool {
        self.shared.iter().chain([&self.result]).any(|tree| tree.uses(&|l| l == leaf))
    }

    /// Whether any of these leaves occurs.
    pub(super) fn uses_any(&self, leaves: &[Leaf]) -> bool {
        leaves.iter().any(|leaf| self.uses(*leaf))
    }

    /// Whether it depends on the prediction.
    pub(super) fn has_prediction(&self) -> bool {
        self.shared.iter().chain([&self.result]).any(|tree| tree.uses(&|l| l != Leaf::Classes))
    }

    /// Whether any power is guarded.
    pub(super) fn has_guard(&self) -> bool {
        self.shared.iter().chain([&self.result]).any(Tree::has_guard)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.result == Tree::Number(0.0)
    }
}

impl Tree {
    fn uses(&self, is: &impl Fn(Leaf) -> bool) -> bool {
        match self {
            Self::Leaf(leaf) => is(*leaf),
            Self::Unary(_, a) => a.uses(is),
            Self::Binary(_, a, b) | Self::Guarded(a, b) => a.uses(is) || b.uses(is),
            Self::Number(_) | Self::Step(_) => false,
        }
    }

    fn has_guard(&self) -> bool {
        match self {
            Self::Unary(_, a) => a.has_guard(),
            Self::Binary(_, a, b) => a.has_guard() || b.has_guard(),
            Self::Guarded(..) => true,
            Self::Number(_) | Self::Leaf(_) | Self::Step(_) => false,
        }
    }
}

/// How often every node is read on the way to the result; a square reads once.
fn uses(graph: &Graph, result: Id) -> Vec<u32> {
    let mut uses = vec![0; graph.len()];
    uses[result.index()] = 1;
    for at in (0..graph.len()).rev().filter(|at| *at <= result.index()) {
        if uses[at] == 0 {
            continue;
        }
        match graph.ops[at] {
            Op::One(_, a) => uses[a.index()] += 1,
            Op::Two(_, a, b) if a == b => uses[a.index()] += 1,
            Op::Two(_, a, b) => {
                uses[a.index()] += 1;
                uses[b.index()] += 1;
            }
            Op::Number(_) | Op::Input(_) => {}
        }
    }
    uses
}

struct Builder {
    graph: Graph,
    uses: Vec<u32>,
    /// The step that holds a node.
    places: Vec<Option<usize>>,
    shared: Vec<Tree>,
}

impl Builder {
    fn tree(&mut self, id: Id) -> Tree {
        if let Some(step) = self.places[id.index()] {
            return Tree::Step(step);
        }
        let tree = match self.graph.ops[id.index()] {
            Op::Number(v) => return Tree::Number(v),
            Op::Input(i) => return Tree::Leaf(leaf(i)),
            Op::One(function, a) => self.one(function, a),
            Op::Two(operation, a, b) => self.two(operation, a, b),
        };
        if self.uses[id.index()] < 2 || matches!(tree, Tree::Leaf(_)) {
            return tree;
        }
        self.shared.push(tree);
        self.places[id.index()] = Some(self.shared.len() - 1);
        Tree::Step(self.shared.len() - 1)
    }

    fn one(&mut self, function: Function, a: Id) -> Tree {
        let guarded = function == Function::Sqrt && !self.graph.excludes_zero(a);
        let a = Box::new(self.tree(a));
        let op = match function {
            Function::Neg => Unary::Neg,
            Function::Log => Unary::Log,
            Function::Exp => Unary::Exp,
            Function::Sqrt if guarded => return Tree::Guarded(a, Box::new(Tree::Number(0.5))),
            Function::Sqrt => Unary::Sqrt,
            Function::Abs => Unary::Abs,
            Function::Tanh => Unary::Tanh,
            Function::Sign | Function::SqrtSlope => unreachable!("only slopes have it"),
        };
        Tree::Unary(op, a)
    }

    fn two(&mut self, operation: Operation, left: Id, right: Id) -> Tree {
        let a = self.tree(left);
        if operation == Operation::Mul && left == right {
            return Tree::Unary(Unary::Square, Box::new(a));
        }
        let b = self.tree(right);
        let op = match operation {
            Operation::Add => return sum(a, b),
            Operation::Sub => Binary::Sub,
            Operation::Mul => Binary::Mul,
            Operation::Div => return quotient(a, b),
            Operation::Pow if self.has_endless_slope(left, right) => {
                return Tree::Guarded(Box::new(a), Box::new(b));
            }
            Operation::Pow => return power(a, b),
            Operation::Max => Binary::Max,
            Operation::Min => Binary::Min,
            Operation::PowSlope | Operation::PowLog | Operation::Chain | Operation::Above => {
                unreachable!("only slopes have it")
            }
        };
        Tree::Binary(op, Box::new(a), Box::new(b))
    }

    /// Whether a power may have an infinite slope where it is finite.
    fn has_endless_slope(&self, base: Id, exponent: Id) -> bool {
        let steep = match self.graph.ops[exponent.index()] {
            Op::Number(exponent) => exponent > 0.0 && exponent < 1.0,
            _ => true,
        };
        steep && !self.graph.excludes_zero(base)
    }
}

fn leaf(input: u8) -> Leaf {
    match input {
        LOG => Leaf::Log,
        PROBABILITY => Leaf::Probability,
        MISSED => Leaf::Missed,
        LOG_MISSED => Leaf::LogMissed,
        CLASSES => Leaf::Classes,
        _ => unreachable!("a class formula has no other input"),
    }
}

/// `a + b`, as a difference where it is one.
fn sum(a: Tree, b: Tree) -> Tree {
    match (a, b) {
        (a, Tree::Unary(Unary::Neg, b)) => Tree::Binary(Binary::Sub, Box::new(a), b),
        (Tree::Unary(Unary::Neg, a), b) => Tree::Binary(Binary::Sub, Box::new(b), a),
        (a, Tree::Number(v)) if v < 0.0 => Tree::Binary(Binary::Sub, Box::new(a), Box::new(Tree::Number(-v))),
        (a, b) => Tree::Binary(Binary::Add, Box::new(a), Box::new(b)),
    }
}

/// `a/b`, by the inverse where it is given: the slope of a quotient squares it, and leaves the range of f32.
fn quotient(a: Tree, b: Tree) -> Tree {
    let inverse = match &b {
        Tree::Unary(Unary::Sqrt, root) => inverse(root).map(|inverse| Tree::Unary(Unary::Sqrt, Box::new(inverse))),
        b => inverse(b),
    };
    match (a, inverse) {
        (Tree::Number(1.0), Some(inverse)) => inverse,
        (a, Some(inverse)) => Tree::Binary(Binary::Mul, Box::new(a), Box::new(inverse)),
        (a, None) => Tree::Binary(Binary::Div, Box::new(a), Box::new(b)),
    }
}

/// The leaf that is the inverse of a leaf.
fn inverse(tree: &Tree) -> Option<Tree> {
    match tree {
        Tree::Leaf(Leaf::Probability) => Some(Tree::Leaf(Leaf::Inverse)),
        Tree::Leaf(Leaf::Missed) => Some(Tree::Leaf(Leaf::InverseMissed)),
        _ => None,
    }
}

/// `a^b`, by the inverse where the exponent is negative, for the same reason as in [`quotient`].
fn power(a: Tree, b: Tree) -> Tree {
    let (a, b) = match (inverse(&a), b) {
        (Some(inverse), Tree::Number(exponent)) if exponent < 0.0 => (inverse, Tree::Number(-exponent)),
        (_, b) => (a, b),
    };
    Tree::Binary(Binary::Pow, Box::new(a), Box::new(b))
}

#[cfg(test)]
mod tests {
    use super::super::super::CLASS_VARIABLES;
    use super::*;

    fn steps(text: &str, x: f64) -> Steps {
        Steps::new(&Expr::parse(text, CLASS_VARIABLES).unwrap(), x)
    }

    #[test]
    fn a_label_switches_off_what_is_multiplied_by_zero() {
        assert!(steps("-x*log(y)", 0.0).is_zero());
        assert_eq!(steps("x/y", 1.0).result, Tree::Leaf(Leaf::Inverse));
        assert!(!steps("1/n", 0.0).has_prediction() && steps("1/n", 0.0).uses(Leaf::Classes));
    }

    #[test]
    fn what_is_used_twice_is_a_step() {
        let found = steps("exp(y)*log(1 + exp(y))", 1.0);
        assert_eq!(found.shared, [Tree::Unary(Unary::Exp, Box::new(Tree::Leaf(Leaf::Probability)))]);
        assert!(steps("square(y - 0.2)", 1.0).shared.is_empty());
        assert!(steps("sqrt(max(y - 0.5, 0))", 1.0).has_guard());
        assert!(!steps("sqrt(1 - y) + y^0.3", 1.0).has_guard());
    }
}
