//! What trees are made of: weighted operators and leaves.

use std::collections::BTreeMap;

use lossmith::expr::{Binary, Expr, Node, Unary, Variables};
use rand::RngExt;

use super::GpError;
use crate::Stream;

/// Nodes to draw from, each with its weight.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Primitives {
    leaves: Vec<(Node, f64)>,
    unary: Vec<(Node, f64)>,
    binary: Vec<(Node, f64)>,
}

impl Primitives {
    pub fn new(
        operators: &BTreeMap<String, f64>,
        leaves: &BTreeMap<String, f64>,
        variables: Variables,
    ) -> Result<Self, GpError> {
        let mut primitives = Self { leaves: Vec::new(), unary: Vec::new(), binary: Vec::new() };
        for (name, &weight) in operators {
            check_weight(name, weight)?;
            let node = operator(name)?;
            let list = if node.arity() == 1 { &mut primitives.unary } else { &mut primitives.binary };
            list.push((node, weight));
        }
        for (text, &weight) in leaves {
            check_weight(text, weight)?;
            primitives.leaves.push((leaf(text, variables)?, weight));
        }
        if total(&primitives.leaves) <= 0.0 || total(&primitives.unary) + total(&primitives.binary) <= 0.0 {
            return Err(GpError("at least one operator and one leaf need a weight above 0".to_owned()));
        }
        Ok(primitives)
    }

    pub fn leaf(&self, rng: &mut Stream) -> Node {
        draw(&[&self.leaves], rng)
    }

    pub fn operator(&self, rng: &mut Stream) -> Node {
        draw(&[&self.unary, &self.binary], rng)
    }

    pub fn any(&self, rng: &mut Stream) -> Node {
        draw(&[&self.leaves, &self.unary, &self.binary], rng)
    }

    /// A node with as many operands as this one; itself where no other has a weight.
    pub fn like(&self, node: Node, rng: &mut Stream) -> Node {
        let list = match node.arity() {
            0 => &self.leaves,
            1 => &self.unary,
            _ => &self.binary,
        };
        if total(list) > 0.0 { draw(&[list], rng) } else { node }
    }
}

fn total(list: &[(Node, f64)]) -> f64 {
    list.iter().map(|(_, w)| w).sum()
}

/// Draws from several lists as from one; their weights sum to more than 0.
fn draw(lists: &[&[(Node, f64)]], rng: &mut Stream) -> Node {
    let all = || lists.iter().flat_map(|list| list.iter()).filter(|(_, w)| *w > 0.0);
    let mut rest = rng.random::<f64>() * all().map(|(_, w)| w).sum::<f64>();
    let mut last = Node::Num(1.0);
    for (node, weight) in all() {
        last = *node;
        if rest < *weight {
            break;
        }
        rest -= weight;
    }
    last
}

fn check_weight(name: &str, weight: f64) -> Result<(), GpError> {
    if weight.is_finite() && weight >= 0.0 {
        return Ok(());
    }
    Err(GpError(format!("the weight of '{name}' must be a number from 0 up, found {weight}")))
}

/// `-` is the subtraction; the negation is written `neg` here.
fn operator(name: &str) -> Result<Node, GpError> {
    let unary = Unary::ALL.iter().map(|(op, n)| (Node::Unary(*op), if *op == Unary::Neg { "neg" } else { *n }));
    let binary = Binary::ALL.iter().map(|(op, n)| (Node::Binary(*op), *n));
    let all: Vec<(Node, &str)> = binary.chain(unary).collect();
    all.iter().find(|(_, n)| *n == name).map(|(node, _)| *node).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(_, n)| *n).collect();
        GpError(format!("unknown operator '{name}': expected one of {}", names.join(" ")))
    })
}

fn leaf(text: &str, variables: Variables) -> Result<Node, GpError> {
    let expr = Expr::parse(text, variables).map_err(|e| GpError(format!("leaf '{text}': {e}")))?;
    match expr.nodes() {
        [node] => Ok(*node),
        _ => Err(GpError(format!("leaf '{text}' is no single variable or number"))),
    }
}
