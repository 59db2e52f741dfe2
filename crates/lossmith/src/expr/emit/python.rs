//! Formulas as Python: the same for PyTorch and JAX but for the names of the functions.

use super::super::{Binary, Unary};
use super::{Binding, Leaf, PYTHON, Steps, Tree, number};

/// How Python code calls the functions of the formula language.
pub(super) struct Python {
    /// The module of the functions, `torch` or `jnp`.
    pub module: &'static str,
    /// A number as an array.
    pub number: fn(f64) -> String,
    /// The helper functions by name, in the order of their definition.
    pub helpers: &'static [(&'static str, &'static str)],
    /// The lines that compute the label's part of the loss, and those of all other classes.
    pub own_lines: fn(&Steps) -> String,
    pub other_lines: fn(&Steps) -> String,
}

/// The code of a loss.
pub(super) struct Code {
    /// Whether it needs the number of classes.
    pub uses_classes: bool,
    /// The lines that compute its parts.
    pub lines: String,
    /// The sum of its parts.
    pub sum: &'static str,
    /// What it calls.
    pub functions: String,
}

impl Python {
    /// The code of a loss; a part that is 0 is left out.
    pub(super) fn code(&self, [own, others]: &[Steps; 2]) -> Code {
        let mut functions = helpers(own, others, self.helpers);
        functions += &self.function("_own", "The loss of the label's class.", own);
        let (mut lines, mut sum) = ((self.own_lines)(own), "own");
        if !others.is_zero() {
            functions += "\n\n";
            functions += &self.function("_other", "The loss of a class that is not the label.", others);
            lines += &(self.other_lines)(others);
            sum = "own + other";
        }
        let uses_classes = own.uses(Leaf::Classes) || others.uses(Leaf::Classes);
        Code { uses_classes, lines, sum, functions }
    }

    /// A function of the formula for one kind of class, from the logarithms that it needs to one number for each.
    fn function(&self, name: &str, doc: &str, steps: &Steps) -> String {
        let mut lines = Vec::new();
        for (leaf, line) in [
            (Leaf::Probability, "y = _probability(u)"),
            (Leaf::Inverse, "inverse = _inverse(u)  # 1 / y"),
            (Leaf::Missed, "missed = _probability(v)  # 1 - y"),
            (Leaf::InverseMissed, "inverse_missed = _inverse(v)  # 1 / (1 - y)"),
        ] {
            if steps.uses(leaf) {
                lines.push(line.to_owned());
            }
        }
        for (at, step) in steps.shared.iter().enumerate() {
            lines.push(format!("{} = {}", step_name(at), self.piece(step).0));
        }
        let (code, _) = self.piece(&steps.result);
        lines.push(format!("return {}", if steps.has_prediction() { code } else { format!("0.0 * u + ({code})") }));
        let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        format!("def {name}({}):\n    \"\"\"{doc}\"\"\"\n{lines}", arguments(steps).join(", "))
    }

    fn piece(&self, tree: &Tree) -> (String, Binding) {
        let name = |text: &str| (text.to_owned(), Binding::Atom);
        match tree {
            Tree::Number(v) => number(*v, PYTHON[0], PYTHON[1]),
            Tree::Step(at) => (step_name(*at), Binding::Atom),
            Tree::Leaf(leaf) => name(match leaf {
                Leaf::Classes => "n",
                Leaf::Probability => "y",
                Leaf::Log => "u",
                Leaf::Inverse => "inverse",
                Leaf::Missed => "missed",
                Leaf::LogMissed => "v",
                Leaf::InverseMissed => "inverse_missed",
            }),
            Tree::Unary(Unary::Neg, a) => (format!("-{}", self.within(a, Binding::Product)), Binding::Sign),
            Tree::Unary(Unary::Square, a) => (format!("{}**2", self.within(a, Binding::Atom)), Binding::Power),
            Tree::Unary(op, a) => (format!("{}.{}({})", self.module, op.name(), self.piece(a).0), Binding::Atom),
            Tree::Guarded(a, b) => (self.call("_power", a, b), Binding::Atom),
            Tree::Binary(Binary::Max, a, b) => (self.call(&format!("{}.maximum", self.module), a, b), Binding::Atom),
            Tree::Binary(Binary::Min, a, b) => (self.call(&format!("{}.minimum", self.module), a, b), Binding::Atom),
            Tree::Binary(Binary::Add, a, b) => self.infix(a, " + ", self.within(b, Binding::Product), Binding::Sum),
            Tree::Binary(Binary::Sub, a, b) => self.infix(a, " - ", self.within(b, Binding::Product), Binding::Sum),
            Tree::Binary(Binary::Mul, a, b) => self.infix(a, " * ", self.within(b, Binding::Power), Binding::Product),
            Tree::Binary(Binary::Div, a, b) => self.infix(a, " / ", self.within(b, Binding::Power), Binding::Product),
            Tree::Binary(Binary::Pow, a, b) => {
                (format!("{}**{}", self.within(a, Binding::Atom), self.within(b, Binding::Power)), Binding::Power)
            }
        }
    }

    fn within(&self, tree: &Tree, least: Binding) -> String {
        let (code, binding) = self.piece(tree);
        if binding < least { format!("({code})") } else { code }
    }

    fn infix(&self, left: &Tree, sign: &str, right: String, binding: Binding) -> (String, Binding) {
        (format!("{}{sign}{right}", self.within(left, binding)), binding)
    }

    fn call(&self, function: &str, a: &Tree, b: &Tree) -> String {
        let operand = |tree: &Tree| match tree {
            Tree::Number(v) => (self.number)(*v),
            other => self.piece(other).0,
        };
        format!("{function}({}, {})", operand(a), operand(b))
    }
}

/// What a function of the formula is given, by the names in the code.
pub(super) fn arguments(steps: &Steps) -> Vec<&'static str> {
    let mut names = vec!["u"];
    if steps.uses_any(&[Leaf::Missed, Leaf::LogMissed, Leaf::InverseMissed]) {
        names.push("v");
    }
    if steps.uses(Leaf::Classes) {
        names.push("n");
    }
    names
}

/// `a`, `b`, ..., `a1`, `b1`, ...: the names of what is used more than once.
fn step_name(at: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklm";
    let letter = char::from(LETTERS[at % LETTERS.len()]);
    match at / LETTERS.len() {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// The helper functions that the code calls, in the order of their definition.
fn helpers(own: &Steps, others: &Steps, all: &[(&str, &str)]) -> String {
    let uses = |leaf: Leaf| own.uses(leaf) || others.uses(leaf);
    let needed = |name: &str| match name {
        "_power" => own.has_guard() || others.has_guard(),
        "_probability" => uses(Leaf::Probability) || uses(Leaf::Missed),
        "_inverse" => uses(Leaf::Inverse) || uses(Leaf::InverseMissed),
        "_log_probability" => others.has_prediction(),
        "_log_missed" => arguments(others).contains(&"v"),
        _ => true,
    };
    all.iter().filter(|(name, _)| needed(name)).map(|(_, code)| format!("{code}\n\n")).collect()
}
