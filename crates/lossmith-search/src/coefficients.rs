//! Coefficients: one number per node of a formula, which multiplies the node, for CMA-ES to tune.
//!
//! The coefficients stand in prefix order and start at 1, where the formula is the one that was found. Baikal, `log(y) - x/y`,
//! has six nodes, and `c0*(c1*log(c2*y) - c3*(c4*x)/(c5*y))` with GLO's six numbers is BaikalCMA.
//!
//! ```
//! use lossmith::expr::{CLASS_VARIABLES, Expr};
//! use lossmith_search::coefficients::{Coefficients, Places};
//! let baikal = Expr::parse("log(y) - x/y", CLASS_VARIABLES).unwrap();
//! let coefficients = Coefficients::new(&baikal, Places::EveryNode);
//! assert_eq!(coefficients.start(), [1.0; 6]);
//! let tuned = coefficients.apply(&[2.0, 1.0, 3.0, 1.0, 1.0, 1.0]).unwrap();
//! assert_eq!(tuned.display(CLASS_VARIABLES).to_string(), "2*(log(3*y) - x/y)");
//! ```

use lossmith::expr::{Binary, Expr, Node, ShapeError, Unary};
use serde::{Deserialize, Serialize};

/// Which nodes get a coefficient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Places {
    /// Every node, as in GLO's printed result.
    #[default]
    EveryNode,
    /// No node whose coefficient the one above it can take over: operands of `*`, `/`, negation, `abs`, `square` and `sqrt`.
    Absorbed,
}

/// A formula and the nodes that have a coefficient.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficients {
    formula: Expr,
    /// Indices of nodes, ascending.
    nodes: Vec<usize>,
}

impl Coefficients {
    /// Chooses the nodes.
    pub fn new(formula: &Expr, places: Places) -> Self {
        let nodes = match places {
            Places::EveryNode => (0..formula.nodes().len()).collect(),
            Places::Absorbed => not_absorbed(formula),
        };
        Self { formula: formula.clone(), nodes }
    }

    /// The nodes that have a coefficient, as indices into [`Expr::nodes`].
    pub fn nodes(&self) -> &[usize] {
        &self.nodes
    }

    /// A one for every coefficient: the formula as it was found.
    pub fn start(&self) -> Vec<f64> {
        vec![1.0; self.nodes.len()]
    }

    /// The formula with these coefficients. A coefficient of exactly 1 is not written, and that of a number is multiplied
    /// into it.
    ///
    /// # Errors
    /// More nodes or levels than a formula may have, or a coefficient that is not finite. Trees within
    /// [`crate::gp::Size::LARGEST`] always fit.
    ///
    /// # Panics
    /// If there are not as many values as coefficients.
    pub fn apply(&self, values: &[f64]) -> Result<Expr, ShapeError> {
        assert_eq!(values.len(), self.nodes.len(), "one value per coefficient");
        let mut values = self.nodes.iter().zip(values).peekable();
        let mut nodes = Vec::with_capacity(3 * self.formula.nodes().len());
        for (i, node) in self.formula.nodes().iter().enumerate() {
            let coefficient = values.next_if(|(at, _)| **at == i).map_or(1.0, |(_, value)| *value);
            match node {
                Node::Num(value) => nodes.push(Node::Num(coefficient * value)),
                _ if coefficient == 1.0 => nodes.push(*node),
                _ => nodes.extend([Node::Binary(Binary::Mul), Node::Num(coefficient), *node]),
            }
        }
        Expr::from_nodes(nodes)
    }
}

fn not_absorbed(formula: &Expr) -> Vec<usize> {
    let mut absorbed = vec![false; formula.nodes().len()];
    for (i, node) in formula.nodes().iter().enumerate() {
        match node {
            Node::Binary(Binary::Mul | Binary::Div) => {
                absorbed[i + 1] = true;
                absorbed[formula.subtree_end(i + 1)] = true;
            }
            Node::Unary(Unary::Neg | Unary::Abs | Unary::Square | Unary::Sqrt) => absorbed[i + 1] = true,
            _ => {}
        }
    }
    (0..absorbed.len()).filter(|i| !absorbed[*i]).collect()
}

#[cfg(test)]
mod tests {
    use lossmith::expr::{CLASS_VARIABLES, Kernel, Variables};
    use proptest::prelude::*;

    use super::*;
    use crate::gp::{Gp, Settings, Size};

    fn parse(text: &str) -> Expr {
        Expr::parse(text, CLASS_VARIABLES).unwrap()
    }

    /// The binary case of GLO's Fig. 6: the true class has label 1 and probability `y`, the other 0 and `1 - y`.
    fn binary_loss(formula: &Expr, y: f64) -> f64 {
        let kernel = Kernel::new(formula);
        -0.5 * (kernel.at(&[1.0, y]).value + kernel.at(&[0.0, 1.0 - y]).value)
    }

    #[test]
    fn baikal_with_the_published_coefficients_is_baikal_cma() {
        let coefficients = Coefficients::new(&parse("log(y) - x/y"), Places::EveryNode);
        let cma = coefficients.apply(&[2.7279, 0.9863, 1.5352, -1.1135, 1.3716, -0.8411]).unwrap();
        for (y, expected) in [(0.01, 252.7226), (0.5, 5.6650), (0.771946, 4.3918), (0.999, 10.6199)] {
            let found = binary_loss(&cma, y);
            assert!((found - expected).abs() < 6e-5, "{y}: {found}, computed from the paper {expected}");
        }
    }

    #[test]
    fn the_start_is_the_formula_itself() {
        for text in ["log(y) - x/y", "x*log(y)", "3", "-(x - 2)^2", "max(1 - x*y, 0)"] {
            for places in [Places::EveryNode, Places::Absorbed] {
                let coefficients = Coefficients::new(&parse(text), places);
                assert_eq!(coefficients.apply(&coefficients.start()).unwrap(), parse(text));
            }
        }
    }

    #[test]
    fn what_the_node_above_can_carry_is_absorbed() {
        for (text, nodes) in [
            ("log(y) - x/y", vec![0, 1, 2, 3]),
            ("x*log(y)", vec![0, 3]),
            ("sqrt(x + y)*square(x)", vec![0, 3, 4]),
            ("abs(-x)", vec![0]),
            ("x^y", vec![0, 1, 2]),
        ] {
            assert_eq!(Coefficients::new(&parse(text), Places::Absorbed).nodes(), nodes, "{text}");
        }
    }

    proptest! {
        /// The bound that genetic programming keeps is tight enough for the tuned formula to be written and read again.
        #[test]
        fn any_tree_of_the_evolution_takes_coefficients_and_reads_back(seed in 0u64..1_000) {
            let mut settings = Settings { population: 6, initial_depth: 7, ..Settings::default() };
            settings.mutation.grow = 0.2;
            settings.mutation.shrink = 0.0;
            let mut gp = Gp::new(settings, CLASS_VARIABLES, seed).unwrap();
            for _ in 0..12 {
                // The largest trees are the fittest, so that the limits are reached.
                let fitness: Vec<f64> = gp.generation().iter().map(|t| (t.nodes().len() * t.depth()) as f64).collect();
                gp.tell(&fitness).unwrap();
            }
            for tree in gp.generation() {
                let coefficients = Coefficients::new(tree, Places::EveryNode);
                let values: Vec<f64> = (0..tree.nodes().len()).map(|i| -1.25 - 1e-7 * i as f64).collect();
                let tuned = coefficients.apply(&values).unwrap();
                let text = tuned.display(CLASS_VARIABLES).to_string();
                prop_assert!(Expr::parse(&text, CLASS_VARIABLES).as_ref() == Ok(&tuned), "{} nodes, depth {}: {text}", tree.nodes().len(), tree.depth());
            }
        }
    }

    /// The deepest tree of every single operator, which random trees need not reach.
    #[test]
    fn the_deepest_trees_take_coefficients_and_read_back() {
        let names: Variables = CLASS_VARIABLES;
        for (op, _) in Unary::ALL {
            deepest(Node::Unary(op), names);
        }
        for (op, _) in Binary::ALL {
            deepest(Node::Binary(op), names);
        }
    }

    fn deepest(node: Node, names: Variables) {
        let links = Size::LARGEST.depth - 1;
        let left = [vec![node; links], vec![Node::Var(0); links * (node.arity() - 1) + 1]].concat();
        let right: Vec<Node> = (0..links)
            .flat_map(|_| if node.arity() == 2 { vec![node, Node::Var(0)] } else { vec![node] })
            .chain([Node::Var(1)])
            .collect();
        for nodes in [left, right] {
            let tree = Expr::from_nodes(nodes).unwrap();
            let coefficients = Coefficients::new(&tree, Places::EveryNode);
            let tuned = coefficients.apply(&vec![-2.5; tree.nodes().len()]).unwrap();
            let text = tuned.display(names).to_string();
            assert_eq!(Expr::parse(&text, names).as_ref(), Ok(&tuned), "{node:?}: {text}");
        }
    }
}
