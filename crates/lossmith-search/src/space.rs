//! What is searched: the variables of a formula, the loss that it stands for, and the points and trials that judge it cheaply.

use lossmith::expr::{Binary, CLASS_VARIABLES, Expr, Node, Unary, Variables};
use lossmith::loss::catalogue::{Entry, ParamKind};
use serde::{Deserialize, Serialize};

use crate::filters::{GradientPrint, Probe, RawPredictions};

/// The formulas of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Trees `T` of label x and prediction y; the loss is `-T/n`, summed over the n classes (GLO's fixed wrapper).
    Class {
        /// The classes of the data.
        classes: usize,
    },
    /// Kernels in one slot of a loss of the catalogue.
    Kernel {
        /// The loss.
        loss: String,
        /// The slot.
        slot: String,
        /// What the slot's variables can be, one range for all or one for each: the formula must be finite there.
        ranges: Vec<[f64; 2]>,
    },
}

impl Space {
    /// The slot of a loss of the catalogue.
    ///
    /// # Errors
    /// No such loss or slot, or neither one range nor as many as variables, in words.
    pub fn kernel(loss: &str, slot: &str, ranges: Vec<[f64; 2]>) -> Result<Self, String> {
        let (_, variables) = slot_of(loss, slot)?;
        if ranges.len() != 1 && ranges.len() != variables.len() {
            let names = variables.join(", ");
            return Err(format!("expected one range or one for each of {names}, found {}", ranges.len()));
        }
        Ok(Self::Kernel { loss: loss.to_owned(), slot: slot.to_owned(), ranges })
    }

    /// The names that a formula may use; none for a slot that does not exist.
    pub fn variables(&self) -> Variables {
        match self {
            Self::Class { .. } => CLASS_VARIABLES,
            Self::Kernel { loss, slot, .. } => slot_of(loss, slot).map_or(&[], |(_, variables)| variables),
        }
    }

    /// What a formula is built of beside the constants 1 and -1.
    pub fn leaves(&self) -> &'static [&'static str] {
        match self {
            Self::Class { .. } => &CLASS_VARIABLES[..2],
            Self::Kernel { .. } => self.variables(),
        }
    }

    /// The kernel that the slot was published with.
    pub fn published(&self) -> Option<&'static str> {
        match self {
            Self::Class { .. } => None,
            Self::Kernel { loss, slot, .. } => slot_of(loss, slot).ok().map(|(published, _)| published),
        }
    }

    /// The formula that is minimised, simplified, with numbers of four digits as they are printed in papers. What is printed is
    /// what is trained.
    pub fn formula(&self, tree: &Expr) -> Expr {
        match self {
            Self::Class { .. } => class_formula(tree),
            Self::Kernel { .. } => rounded(&tree.canonical()).unwrap_or_else(|| tree.clone()),
        }
    }

    /// The loss of a tree, as text.
    pub fn loss(&self, tree: &Expr) -> String {
        let formula = self.formula(tree).display(self.variables()).to_string();
        match self {
            Self::Class { .. } => formula,
            Self::Kernel { loss, slot, .. } => format!("{loss}({slot}=\"{formula}\")"),
        }
    }

    /// The points of the static rejection.
    pub fn probe(&self) -> Probe {
        match self {
            Self::Class { classes } => Probe::class(*classes),
            Self::Kernel { ranges, .. } => {
                let each = self.variables().iter().enumerate().map(|(at, _)| ranges[at.min(ranges.len() - 1)]);
                Probe::kernel(&each.collect::<Vec<_>>())
            }
        }
    }

    /// The print of a formula's gradients.
    pub fn print(&self, formula: &Expr) -> Option<GradientPrint> {
        match self {
            Self::Class { classes } => GradientPrint::of_class_loss(formula, *classes),
            Self::Kernel { .. } => GradientPrint::of_kernel(formula, &self.probe().points),
        }
    }

    /// The trial on raw predictions; a kernel's structure is its task's, so there is none.
    pub fn raw_predictions(&self) -> Option<RawPredictions> {
        match self {
            Self::Class { classes } => Some(RawPredictions { classes: *classes, ..RawPredictions::default() }),
            Self::Kernel { .. } => None,
        }
    }
}

/// Published kernel and variables of a slot.
fn slot_of(loss: &str, slot: &str) -> Result<(&'static str, Variables), String> {
    let entry = Entry::find(loss).ok_or_else(|| format!("there is no loss '{loss}'"))?;
    let mut slots = Vec::new();
    for param in entry.params {
        if let ParamKind::Kernel { default, variables } = param.kind {
            if param.name == slot {
                return Ok((default, variables));
            }
            slots.push(param.name);
        }
    }
    Err(format!(
        "{loss} has no slot '{slot}'; it has: {}",
        if slots.is_empty() { "none".to_owned() } else { slots.join(", ") }
    ))
}

/// `-T/n`.
fn class_formula(tree: &Expr) -> Expr {
    const CLASSES: u8 = 2;
    let negated = [&[Node::Unary(Unary::Neg)], tree.nodes()].concat();
    let simple = Expr::from_nodes(negated).map_or_else(|_| tree.clone(), |e| e.canonical());
    let simple = rounded(&simple).unwrap_or(simple);
    let nodes = [&[Node::Binary(Binary::Div)], simple.nodes(), &[Node::Var(CLASSES)]].concat();
    // A tree of the search is far below the limits of a formula.
    Expr::from_nodes(nodes).unwrap_or_else(|_| tree.clone())
}

fn rounded(formula: &Expr) -> Option<Expr> {
    let four_digits = |v: f64| format!("{v:.3e}").parse().unwrap_or(v);
    let round = |node: &Node| match node {
        Node::Num(v) => Node::Num(four_digits(*v)),
        other => *other,
    };
    Expr::from_nodes(formula.nodes().iter().map(round).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_wrapped_as_published() {
        let space = Space::Class { classes: 10 };
        let text = |tree: &str| space.loss(&Expr::parse(tree, CLASS_VARIABLES).unwrap());
        assert_eq!(text("log(y) - x/y"), "(x/y - log(y))/n");
        assert_eq!(text("2.71828*log(1*y) - 0.33333*x/y"), "(0.3333*x/y - 2.718*log(y))/n");
    }

    #[test]
    fn a_kernel_stands_in_its_slot() {
        let space = Space::kernel("discriminative", "pull", vec![[0.0, 3.0]]).unwrap();
        assert_eq!(
            (space.variables(), space.leaves(), space.published()),
            (&["d"][..], &["d"][..], Some("max(d - 0.5, 0)^2"))
        );
        let tree = Expr::parse("square(d)*1 + 0", space.variables()).unwrap();
        let text = space.loss(&tree);
        assert_eq!(text, "discriminative(pull=\"d^2\")");
        lossmith::loss::Spec::parse(&text).unwrap().build().unwrap();
        let error = Space::kernel("discriminative", "margin", vec![[0.0, 1.0]]).unwrap_err();
        assert_eq!(error, "discriminative has no slot 'margin'; it has: pull, push, regularise");
        assert!(Space::kernel("nothing", "pull", vec![[0.0, 1.0]]).is_err());
        let two = Space::kernel("discriminative", "pull", vec![[0.0, 1.0]; 2]).unwrap_err();
        assert_eq!(two, "expected one range or one for each of d, found 2");
        let equal = |a: &str, b: &str| {
            let print = |text: &str| space.print(&Expr::parse(text, space.variables()).unwrap()).unwrap();
            print(a).distance(&print(b)) < 1e-9
        };
        assert!(equal("square(d)", "d*d + 3") && equal("square(d)", "2*square(d)") && !equal("square(d)", "d"));
    }
}
