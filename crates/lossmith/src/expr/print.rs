//! [`Expr`] to formula text, with no more brackets than are needed.

use std::fmt;

use super::{Binary, Expr, Node, Unary, Variables};

/// A formula that prints itself; made by [`Expr::display`].
#[derive(Clone, Copy, Debug)]
pub struct Display<'a> {
    expr: &'a Expr,
    variables: Variables,
}

impl<'a> Display<'a> {
    pub(super) fn new(expr: &'a Expr, variables: Variables) -> Self {
        Self { expr, variables }
    }
}

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.expr.nodes();
        f.write_str(&text(&mut rest, self.variables).0)
    }
}

/// How tightly a printed piece holds together, loosest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Sum,
    Product,
    Sign,
    Power,
    Atom,
}

/// Prints the subtree at the head of `rest` and takes it off.
fn text(rest: &mut &[Node], variables: Variables) -> (String, Binding) {
    let Some((node, tail)) = rest.split_first() else { return (String::new(), Binding::Atom) };
    *rest = tail;
    match *node {
        Node::Num(v) => (number(v), if v.is_sign_negative() { Binding::Sign } else { Binding::Atom }),
        Node::Var(i) => {
            (variables.get(usize::from(i)).map_or_else(|| format!("v{i}"), |v| (*v).to_owned()), Binding::Atom)
        }
        Node::Unary(Unary::Neg) => {
            let literal = matches!(rest.first(), Some(Node::Num(_)));
            let operand = text(rest, variables);
            // Without brackets "-3" would be read as the number -3.
            let operand = if literal { format!("({})", operand.0) } else { bracket(operand, Binding::Power) };
            (format!("-{operand}"), Binding::Sign)
        }
        Node::Unary(op) => (format!("{}({})", op.name(), text(rest, variables).0), Binding::Atom),
        Node::Binary(op) => {
            let left = text(rest, variables);
            let right = text(rest, variables);
            infix(op, left, right)
        }
    }
}

/// A number as short as it reads back exactly.
fn number(v: f64) -> String {
    if v == 0.0 || (1e-5..1e15).contains(&v.abs()) { format!("{v}") } else { format!("{v:e}") }
}

fn bracket((text, binding): (String, Binding), least: Binding) -> String {
    if binding < least { format!("({text})") } else { text }
}

fn infix(op: Binary, left: (String, Binding), right: (String, Binding)) -> (String, Binding) {
    let (least_left, least_right, space, binding) = match op {
        Binary::Max | Binary::Min => return (format!("{}({}, {})", op.name(), left.0, right.0), Binding::Atom),
        // A sign at the head of the right operand would read as two operators in a row.
        Binary::Add | Binary::Sub => (Binding::Sum, Binding::Product, " ", Binding::Sum),
        Binary::Mul | Binary::Div => (Binding::Product, Binding::Power, "", Binding::Product),
        Binary::Pow => (Binding::Atom, Binding::Power, "", Binding::Power),
    };
    let right = if right.0.starts_with('-') { format!("({})", right.0) } else { bracket(right, least_right) };
    (format!("{}{space}{}{space}{right}", bracket(left, least_left), op.name()), binding)
}
