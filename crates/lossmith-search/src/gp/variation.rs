//! Making trees: at random, from two others, and by small changes of one.

use lossmith::expr::{Expr, Node};
use rand::RngExt;

use super::primitives::Primitives;
use super::{Mutation, Size};
use crate::Stream;

impl Size {
    /// The tree of these nodes, if it is not too large.
    pub(super) fn admit(&self, nodes: Vec<Node>) -> Option<Expr> {
        let expr = Expr::from_nodes(nodes).ok()?;
        (expr.nodes().len() <= self.nodes && expr.depth() <= self.depth).then_some(expr)
    }
}

/// A random tree with an operator at its root and at most `depth` operators above one another.
pub(super) fn random_tree(primitives: &Primitives, depth: usize, rng: &mut Stream) -> Vec<Node> {
    let root = primitives.operator(rng);
    grow(primitives, root, depth, rng)
}

/// A node with its operands: those of a binary node are drawn from all kinds while depth is left; all others are leaves.
fn grow(primitives: &Primitives, node: Node, depth: usize, rng: &mut Stream) -> Vec<Node> {
    let mut nodes = vec![node];
    for _ in 0..node.arity() {
        if node.arity() == 2 && depth > 1 {
            let child = primitives.any(rng);
            nodes.extend(grow(primitives, child, depth - 1, rng));
        } else {
            nodes.push(primitives.leaf(rng));
        }
    }
    nodes
}

/// Swaps a random subtree of one parent with a random subtree of the other. A child that is too large is replaced by the
/// parent whose root it has.
pub(super) fn crossover(a: &Expr, b: &Expr, size: &Size, rng: &mut Stream) -> [Expr; 2] {
    let at_a = rng.random_range(0..a.nodes().len());
    let at_b = rng.random_range(0..b.nodes().len());
    let child = |base: &Expr, at: usize, other: &Expr, from: usize| {
        let end = base.subtree_end(at);
        let donated = &other.nodes()[from..other.subtree_end(from)];
        let nodes = [&base.nodes()[..at], donated, &base.nodes()[end..]].concat();
        size.admit(nodes).unwrap_or_else(|| base.clone())
    };
    [child(a, at_a, b, at_b), child(b, at_b, a, at_a)]
}

/// Changes every node with small probability, operands before their operator. A result that is too large is not taken.
pub(super) fn mutate(expr: &Expr, primitives: &Primitives, rates: &Mutation, size: &Size, rng: &mut Stream) -> Expr {
    let mut rest = expr.nodes();
    let nodes = mutate_subtree(&mut rest, primitives, rates, rng);
    size.admit(nodes).unwrap_or_else(|| expr.clone())
}

/// Mutates the subtree at the head of `rest` and takes it off.
fn mutate_subtree(rest: &mut &[Node], primitives: &Primitives, rates: &Mutation, rng: &mut Stream) -> Vec<Node> {
    let Some((&node, tail)) = rest.split_first() else { return Vec::new() };
    *rest = tail;
    let mut nodes = vec![node];
    for _ in 0..node.arity() {
        nodes.extend(mutate_subtree(rest, primitives, rates, rng));
    }
    // A change of the structure comes first; only where there is none does the node's kind change.
    if node.arity() > 0 && rng.random_bool(rates.shrink) {
        return vec![primitives.leaf(rng)];
    }
    if node.arity() == 0 && rng.random_bool(rates.grow) {
        let root = primitives.any(rng);
        return grow(primitives, root, 1, rng);
    }
    if rng.random_bool(rates.replace) {
        nodes[0] = primitives.like(node, rng);
    }
    if let Node::Num(value) = &mut nodes[0]
        && value.fract() == 0.0
        && rng.random_bool(rates.nudge)
    {
        *value += if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    }
    nodes
}

#[cfg(test)]
mod tests {
    use lossmith::expr::{CLASS_VARIABLES, Unary};

    use super::super::Settings;
    use super::*;

    const NO_MUTATION: Mutation = Mutation { nudge: 0.0, replace: 0.0, shrink: 0.0, grow: 0.0 };

    fn primitives() -> Primitives {
        let Settings { operators, leaves, .. } = Settings::default();
        Primitives::new(&operators, &leaves, CLASS_VARIABLES).unwrap()
    }

    fn parse(text: &str) -> Expr {
        Expr::parse(text, CLASS_VARIABLES).unwrap()
    }

    fn text(expr: &Expr) -> String {
        expr.display(CLASS_VARIABLES).to_string()
    }

    #[test]
    fn random_trees_keep_their_depth_and_unary_nodes_their_leaf() {
        let mut rng = Stream::new(1, 0);
        let mut deepest = 0;
        for _ in 0..2_000 {
            let tree = Expr::from_nodes(random_tree(&primitives(), 2, &mut rng)).unwrap();
            deepest = deepest.max(tree.depth());
            assert!(tree.nodes()[0].arity() > 0);
            for pair in tree.nodes().windows(2) {
                assert!(!matches!(pair[0], Node::Unary(_)) || pair[1].arity() == 0, "{}", text(&tree));
            }
        }
        assert_eq!(deepest, 3, "two operators and a leaf");
    }

    /// The published code rewires parents only and so exchanges nothing; here both children hold both parents' material.
    #[test]
    fn crossover_exchanges_the_two_subtrees() {
        let (a, b) = (parse("log(x)"), parse("sqrt(y)"));
        let mut seen = std::collections::BTreeSet::new();
        let mut rng = Stream::new(2, 0);
        for _ in 0..200 {
            let [c, d] = crossover(&a, &b, &Size::default(), &mut rng);
            assert_eq!(c.nodes().len() + d.nodes().len(), 4, "nothing is lost");
            seen.insert((text(&c), text(&d)));
        }
        let expected = [("log(sqrt(y))", "x"), ("log(y)", "sqrt(x)"), ("sqrt(y)", "log(x)"), ("y", "sqrt(log(x))")];
        assert_eq!(seen, expected.map(|(c, d)| (c.to_owned(), d.to_owned())).into());
    }

    #[test]
    fn a_child_that_is_too_large_is_replaced_by_its_parent() {
        let (a, b) = (parse("log(log(log(x)))"), parse("y"));
        let size = Size { nodes: 4, depth: 4 };
        let mut rng = Stream::new(3, 0);
        for _ in 0..100 {
            let [c, d] = crossover(&a, &a, &size, &mut rng);
            assert!(c.nodes().len() <= 4 && d.nodes().len() <= 4);
            let grown = mutate(
                &b,
                &primitives(),
                &Mutation { grow: 1.0, ..NO_MUTATION },
                &Size { nodes: 1, depth: 1 },
                &mut rng,
            );
            assert_eq!(grown.nodes().len(), 1);
        }
    }

    #[test]
    fn each_mutation_does_what_its_name_says() {
        let mut rng = Stream::new(4, 0);
        let mut mutated = |expr: &str, rates: Mutation| {
            text(&mutate(&parse(expr), &primitives(), &rates, &Size::default(), &mut rng))
        };
        for _ in 0..50 {
            assert_eq!(mutated("log(y) - x/y", NO_MUTATION), "log(y) - x/y");
            let nudged = mutated("3", Mutation { nudge: 1.0, ..NO_MUTATION });
            assert!(["2", "4"].contains(&nudged.as_str()), "{nudged}");
            assert_eq!(mutated("0.5*x", Mutation { nudge: 1.0, ..NO_MUTATION }), "0.5*x", "only integers are nudged");
            assert_eq!(parse(&mutated("x + log(y)", Mutation { shrink: 1.0, ..NO_MUTATION })).nodes().len(), 1);
            let replaced = parse(&mutated("x + log(y)", Mutation { replace: 1.0, ..NO_MUTATION }));
            let arities: Vec<usize> = replaced.nodes().iter().map(|n| n.arity()).collect();
            assert_eq!(arities, [2, 0, 1, 0]);
            let grown = parse(&mutated("square(x)", Mutation { grow: 1.0, ..NO_MUTATION }));
            assert_eq!(grown.nodes()[0], Node::Unary(Unary::Square));
            assert!((2..=4).contains(&grown.nodes().len()));
        }
    }

    #[test]
    fn rates_are_kept() {
        let mut rng = Stream::new(5, 0);
        let rates = Mutation { shrink: 0.25, ..NO_MUTATION };
        let shrunk = (0..4_000)
            .filter(|_| mutate(&parse("log(x)"), &primitives(), &rates, &Size::default(), &mut rng).nodes().len() == 1)
            .count();
        assert!((900..1_100).contains(&shrunk), "{shrunk} of 4000");
    }
}
