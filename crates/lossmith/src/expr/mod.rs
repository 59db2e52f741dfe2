//! The formula language: small expressions of one to three variables that are losses, or kernels in a loss.
//!
//! An [`Expr`] is a list of [`Node`]s in prefix order: a parent stands before its operands, the left operand first.
//! Its identity is its canonical text: [`Expr::canonical`] then [`Expr::display`].
//!
//! ```
//! use lossmith::expr::{CLASS_VARIABLES, Expr};
//! let baikal = Expr::parse("-(log(y) - x/y)", CLASS_VARIABLES).unwrap();
//! assert_eq!(baikal.display(CLASS_VARIABLES).to_string(), "-(log(y) - x/y)");
//! ```

mod canonical;
pub mod emit;
mod eval;
pub(crate) mod graph;
pub(crate) mod math;
mod parse;
mod print;
pub(crate) mod program;

pub use eval::{Dual, Kernel, MAX_VARIABLES};
pub(crate) use graph::Slopes;
pub use parse::{ParseError, function_names, is_name};
pub use print::Display;

/// The longest formula text that is parsed, in bytes.
pub const MAX_TEXT: usize = 10_000;
/// The most nodes an expression may have.
pub const MAX_NODES: usize = 1_000;
/// The deepest nesting an expression may have.
pub const MAX_DEPTH: usize = 100;

/// The names of the variables of a formula; [`Node::Var`] is an index into it.
pub type Variables = &'static [&'static str];

/// `x`: target (one-hot label), `y`: prediction (class probability), `n`: number of classes.
pub const CLASS_VARIABLES: Variables = &["x", "y", "n"];

/// A function of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unary {
    /// `-a`
    Neg,
    /// Natural logarithm, `log(a)`.
    Log,
    /// `exp(a)`
    Exp,
    /// `sqrt(a)`; its derivative at 0, which is infinite, is taken as 0.
    Sqrt,
    /// `square(a)`, the same as `a^2`.
    Square,
    /// `abs(a)`; its derivative at 0 is taken as 0.
    Abs,
    /// `tanh(a)`
    Tanh,
}

/// A function of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a*b`
    Mul,
    /// `a/b`
    Div,
    /// `a^b`, for any real exponent; where `a` is 0 an infinite derivative of a finite power is taken as 0.
    Pow,
    /// `max(a, b)`; where both are equal each operand gets half the derivative, as in PyTorch and JAX.
    Max,
    /// `min(a, b)`; ties as in [`Binary::Max`].
    Min,
}

/// One node of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    /// A finite number.
    Num(f64),
    /// The variable at this index of the formula's [`Variables`].
    Var(u8),
    /// A function of the one subtree that follows.
    Unary(Unary),
    /// A function of the two subtrees that follow.
    Binary(Binary),
}

impl Node {
    /// How many subtrees follow this node.
    pub fn arity(self) -> usize {
        match self {
            Node::Num(_) | Node::Var(_) => 0,
            Node::Unary(_) => 1,
            Node::Binary(_) => 2,
        }
    }
}

impl Unary {
    /// Every function of one operand, with the name it is written by (`-` for [`Unary::Neg`]).
    pub const ALL: [(Unary, &'static str); 7] = [
        (Unary::Neg, "-"),
        (Unary::Log, "log"),
        (Unary::Exp, "exp"),
        (Unary::Sqrt, "sqrt"),
        (Unary::Square, "square"),
        (Unary::Abs, "abs"),
        (Unary::Tanh, "tanh"),
    ];

    /// The name it is written by.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl Binary {
    /// Every function of two operands, with the sign or name it is written by.
    pub const ALL: [(Binary, &'static str); 7] = [
        (Binary::Add, "+"),
        (Binary::Sub, "-"),
        (Binary::Mul, "*"),
        (Binary::Div, "/"),
        (Binary::Pow, "^"),
        (Binary::Max, "max"),
        (Binary::Min, "min"),
    ];

    /// The sign or name it is written by.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// An expression: nodes in prefix order, never empty, always one complete tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    nodes: Vec<Node>,
}

/// Why a list of nodes is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The nodes are not exactly one tree in prefix order.
    #[error("the nodes do not form one tree in prefix order")]
    NotOneTree,
    /// More nodes than [`MAX_NODES`].
    #[error("the formula has more than {MAX_NODES} nodes")]
    TooLong,
    /// Deeper than [`MAX_DEPTH`].
    #[error("the formula is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A number that is not finite.
    #[error("the formula holds a number that is not finite")]
    NotFinite,
}

impl Expr {
    /// An expression from nodes in prefix order.
    pub fn from_nodes(nodes: Vec<Node>) -> Result<Self, ShapeError> {
        if nodes.len() > MAX_NODES {
            return Err(ShapeError::TooLong);
        }
        if nodes.iter().any(|n| matches!(n, Node::Num(v) if !v.is_finite())) {
            return Err(ShapeError::NotFinite);
        }
        // `open` holds, per ancestor, how many of its subtrees are still to come.
        let mut open = vec![1usize];
        for node in &nodes {
            while open.last() == Some(&0) {
                open.pop();
            }
            let Some(left) = open.last_mut() else { return Err(ShapeError::NotOneTree) };
            *left -= 1;
            if node.arity() > 0 {
                open.push(node.arity());
                if open.len() > MAX_DEPTH {
                    return Err(ShapeError::TooDeep);
                }
            }
        }
        if open.iter().any(|&left| left > 0) {
            return Err(ShapeError::NotOneTree);
        }
        Ok(Self { nodes })
    }

    /// Parses a formula over the given variables.
    ///
    /// # Errors
    /// Unknown names, unbalanced brackets, numbers that are not finite, and anything past [`MAX_TEXT`], [`MAX_NODES`]
    /// or [`MAX_DEPTH`]; the error's text shows the formula with a caret under the fault.
    pub fn parse(text: &str, variables: Variables) -> Result<Self, ParseError> {
        parse::parse(text, variables)
    }

    /// The formula as text that parses back to the same expression.
    pub fn display(&self, variables: Variables) -> Display<'_> {
        Display::new(self, variables)
    }

    /// The nodes in prefix order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The index one past the subtree that starts at `start`.
    pub fn subtree_end(&self, start: usize) -> usize {
        let mut missing = 1;
        let mut at = start;
        while missing > 0 {
            missing = missing - 1 + self.nodes[at].arity();
            at += 1;
        }
        at
    }

    /// This expression with the subtree at `start` replaced by another expression.
    pub fn with_subtree(&self, start: usize, replacement: &Expr) -> Result<Self, ShapeError> {
        let mut nodes = self.nodes[..start].to_vec();
        nodes.extend_from_slice(&replacement.nodes);
        nodes.extend_from_slice(&self.nodes[self.subtree_end(start)..]);
        Self::from_nodes(nodes)
    }

    /// The subtree at `start`, by itself.
    pub fn subtree(&self, start: usize) -> Self {
        Self { nodes: self.nodes[start..self.subtree_end(start)].to_vec() }
    }

    /// The number of nodes on the longest way from the root to a leaf.
    pub fn depth(&self) -> usize {
        let mut open: Vec<usize> = Vec::new();
        let mut deepest = 0;
        for node in &self.nodes {
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            open.push(node.arity());
            deepest = deepest.max(open.len());
        }
        deepest
    }

    /// Whether the variable at this index occurs.
    pub fn uses(&self, variable: u8) -> bool {
        self.nodes.contains(&Node::Var(variable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_nodes_takes_exactly_one_tree() {
        let add = Node::Binary(Binary::Add);
        let one = Node::Num(1.0);
        assert!(Expr::from_nodes(vec![add, one, one]).is_ok());
        for bad in [vec![], vec![add, one], vec![one, one], vec![add, one, one, one]] {
            assert_eq!(Expr::from_nodes(bad), Err(ShapeError::NotOneTree));
        }
        assert_eq!(Expr::from_nodes(vec![Node::Num(f64::NAN)]), Err(ShapeError::NotFinite));
        let deep = [vec![Node::Unary(Unary::Neg); MAX_DEPTH], vec![one]].concat();
        assert_eq!(Expr::from_nodes(deep), Err(ShapeError::TooDeep));
    }

    #[test]
    fn subtrees_are_found_and_replaced() {
        let e = Expr::parse("log(y) - x/y", CLASS_VARIABLES).unwrap();
        assert_eq!((e.depth(), e.nodes().len()), (3, 6));
        assert_eq!(e.subtree(3).display(CLASS_VARIABLES).to_string(), "x/y");
        let swapped = e.with_subtree(1, &e.subtree(3)).unwrap();
        assert_eq!(swapped.display(CLASS_VARIABLES).to_string(), "x/y - x/y");
    }
}
