//! A formula as a tree: operations above, what they work on below.

use lossmith::expr::{Expr, Node, Variables};

use super::{Anchor, Drawing, append, line, number, short, text, text_width};

const LEVEL: f64 = 44.0;
const HEIGHT: f64 = 24.0;
const GAP: f64 = 10.0;

/// Draws the tree of a formula.
pub fn tree(formula: &Expr, variables: Variables) -> Drawing {
    let mut placed = Vec::with_capacity(formula.nodes().len());
    let mut free = 0.0;
    place(formula, variables, 0, 0, &mut free, &mut placed);
    let mut body = String::new();
    for node in &placed {
        for &child in &node.children {
            line(&mut body, "edge", node.centre(), placed[child].centre());
        }
    }
    for node in &placed {
        let (x, y) = node.centre();
        let class = if node.children.is_empty() { "leaf" } else { "inner" };
        append(
            &mut body,
            format_args!(
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"12\"/>",
                short(x - node.width / 2.0),
                short(y - HEIGHT / 2.0),
                short(node.width)
            ),
        );
        text(&mut body, (x, y + 4.0), Anchor::Middle, "node", &node.text);
    }
    let deepest = placed.iter().map(|n| n.depth).max().unwrap_or(0);
    let right = placed.iter().map(|n| n.x + n.width / 2.0).fold(0.0, f64::max);
    let label = format!("Tree of the formula {}", formula.display(variables));
    Drawing { width: right + 2.0, height: LEVEL * deepest as f64 + HEIGHT + 4.0, label, body }
}

struct Placed {
    text: String,
    width: f64,
    x: f64,
    depth: usize,
    children: Vec<usize>,
}

impl Placed {
    fn centre(&self) -> (f64, f64) {
        (self.x, 2.0 + HEIGHT / 2.0 + LEVEL * self.depth as f64)
    }
}

/// Places the subtree at `start`: leaves from left to right, a parent in the middle above its children. Returns the index of
/// its root among the placed nodes. The depth is limited by the formula language.
fn place(
    e: &Expr,
    variables: Variables,
    start: usize,
    depth: usize,
    free: &mut f64,
    placed: &mut Vec<Placed>,
) -> usize {
    let text = name(e.nodes()[start], variables);
    let width = text_width(&text).max(12.0) + 14.0;
    let before = *free;
    let me = placed.len();
    placed.push(Placed { text, width, x: 0.0, depth, children: Vec::new() });
    let mut next = start + 1;
    let mut children = Vec::new();
    for _ in 0..e.nodes()[start].arity() {
        children.push(place(e, variables, next, depth + 1, free, placed));
        next = e.subtree_end(next);
    }
    placed[me].x = match (children.first(), children.last()) {
        (Some(&first), Some(&last)) => f64::midpoint(placed[first].x, placed[last].x).max(before + 2.0 + width / 2.0),
        _ => before + 2.0 + width / 2.0,
    };
    *free = free.max(placed[me].x + width / 2.0 + GAP);
    placed[me].children = children;
    me
}

fn name(node: Node, variables: Variables) -> String {
    match node {
        Node::Num(value) => number(value),
        Node::Var(index) => variables.get(usize::from(index)).map_or("?", |v| v).to_owned(),
        Node::Unary(op) => if op.name() == "-" { "−" } else { op.name() }.to_owned(),
        Node::Binary(op) => match op.name() {
            "-" => "−".to_owned(),
            "*" => "×".to_owned(),
            "/" => "÷".to_owned(),
            other => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lossmith::expr::CLASS_VARIABLES;

    #[test]
    fn every_node_is_drawn_and_none_covers_another() {
        for text in
            ["-(log(y) - x/y)", "x", "max(x*log(y), 2.7279*(0.9863 - 1.5352*y))^2 + sqrt(abs(tanh(exp(min(x, y)))))"]
        {
            let formula = Expr::parse(text, CLASS_VARIABLES).unwrap();
            let mut placed = Vec::new();
            place(&formula, CLASS_VARIABLES, 0, 0, &mut 0.0, &mut placed);
            assert_eq!(placed.len(), formula.nodes().len());
            assert_eq!(placed.iter().map(|n| n.children.len()).sum::<usize>(), placed.len() - 1);
            for (i, a) in placed.iter().enumerate() {
                assert!(a.x - a.width / 2.0 >= 0.0);
                for b in placed[..i].iter().filter(|b| b.depth == a.depth) {
                    assert!((a.x - b.x).abs() >= (a.width + b.width) / 2.0, "{text}: {} on {}", a.text, b.text);
                }
            }
            assert_eq!(tree(&formula, CLASS_VARIABLES).inline().matches("<rect").count(), placed.len());
        }
    }
}
