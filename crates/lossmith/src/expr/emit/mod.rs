//! Class losses as source text for other tools: PyTorch, JAX, Burn, LaTeX.
//!
//! Every module carries its formula, where it comes from, and a test value. Where a logarithm or an inverse would meet an
//! exact zero, the code puts the least normal number; everywhere else it computes the formula as it is written.

mod burn;
mod jax;
mod latex;
mod pytorch;

use super::{Binary, CLASS_VARIABLES, Expr, Kernel, Node, Unary};

/// What the source text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A Python file with an `nn.Module`.
    Pytorch,
    /// A Python file with a function.
    Jax,
    /// A Rust file with a module of Burn 0.22.
    Burn,
    /// An equation.
    Latex,
}

impl Language {
    /// Every language, by the name that users write.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Pytorch, "pytorch"), (Self::Jax, "jax"), (Self::Burn, "burn"), (Self::Latex, "latex")];

    /// The language of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(language, _)| *language)
    }
}

/// What a module is made of.
#[derive(Clone, Debug)]
pub struct Module<'a> {
    /// The name of the loss; what no identifier may hold is left out of it.
    pub name: &'a str,
    /// The formula over [`CLASS_VARIABLES`].
    pub formula: &'a Expr,
    /// Where the loss comes from: a paper, or a run and its seed.
    pub provenance: &'a str,
    /// A value to test the module with.
    pub example: Example,
}

/// A value and gradient that a module must reproduce.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Rows of class scores.
    pub logits: Vec<Vec<f32>>,
    /// The label of each row.
    pub labels: Vec<u32>,
    /// The loss.
    pub value: f64,
    /// Its gradient, row by row.
    pub gradient: Vec<Vec<f32>>,
}

impl Module<'_> {
    /// The source text.
    pub fn source(&self, language: Language) -> String {
        match language {
            Language::Pytorch => pytorch::source(self),
            Language::Jax => jax::source(self),
            Language::Burn => burn::source(self),
            Language::Latex => latex::source(self),
        }
    }

    fn formula_text(&self) -> String {
        self.formula.display(CLASS_VARIABLES).to_string()
    }

    /// The words of the name.
    fn words(&self) -> Vec<String> {
        let words = self.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let words: Vec<String> = words.map(str::to_lowercase).collect();
        if words.first().is_some_and(|w| w.starts_with(|c: char| c.is_ascii_alphabetic())) {
            return words;
        }
        [vec!["found".to_owned()], words].concat()
    }

    /// The name as a type: `BaikalCma`.
    fn type_name(&self) -> String {
        let words = self.words();
        let capital = |w: &String| format!("{}{}", w[..1].to_uppercase(), &w[1..]);
        let name: String = words.iter().map(capital).collect();
        if name.ends_with("Loss") { name } else { name + "Loss" }
    }

    /// The name as a function: `baikal_cma`.
    fn function_name(&self) -> String {
        let name = self.words().join("_");
        if name.ends_with("loss") { name } else { name + "_loss" }
    }

    /// Formula, meaning and provenance as comment lines.
    fn head(&self, comment: &str) -> String {
        let lines = format!(
            "{}: a class loss, written by lossmith {}.\n\nloss = {}\n\nsummed over the classes and averaged over the rows; \
             x is the one-hot label, y the softmax\nof the logits, n the number of classes.\n\nProvenance: {}",
            self.name,
            env!("CARGO_PKG_VERSION"),
            self.formula_text(),
            self.provenance
        );
        // Nothing in a name or a provenance ends the comment, or turns its letters around, which Rust refuses to compile.
        let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let clean =
            |line: &str| line.replace(|c: char| c.is_control() || turns(c) || "\u{2028}\u{2029}".contains(c), " ");
        lines.split('\n').map(|l| format!("{comment} {}", clean(l)).trim_end().to_owned() + "\n").collect()
    }
}

/// A formula with its constants folded and its logarithms of `y` found.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Number(f64),
    X,
    Y,
    N,
    LogY,
    Unary(Unary, Box<Tree>),
    Binary(Binary, Box<Tree>, Box<Tree>),
}

impl Tree {
    fn new(formula: &Expr) -> Self {
        Self::at(formula, &mut 0)
    }

    /// The subtree at `at`, which is moved past it.
    fn at(formula: &Expr, at: &mut usize) -> Self {
        let (start, end) = (*at, formula.subtree_end(*at));
        if formula.nodes()[start..end].iter().all(|n| !matches!(n, Node::Var(_))) {
            *at = end;
            return Self::Number(Kernel::new(&formula.subtree(start)).at(&[]).value);
        }
        *at += 1;
        match formula.nodes()[start] {
            Node::Num(v) => Self::Number(v),
            Node::Var(0) => Self::X,
            Node::Var(1) => Self::Y,
            Node::Var(_) => Self::N,
            Node::Unary(op) => match (op, Self::at(formula, at)) {
                (Unary::Log, Self::Y) => Self::LogY,
                (op, a) => Self::Unary(op, Box::new(a)),
            },
            Node::Binary(op) => {
                let a = Self::at(formula, at);
                Self::Binary(op, Box::new(a), Box::new(Self::at(formula, at)))
            }
        }
    }

    /// Whether it is never 0: no guard is needed for its logarithm or its inverse.
    fn is_never_zero(&self) -> bool {
        match self {
            Self::Number(v) => *v != 0.0,
            Self::Y | Self::N | Self::Unary(Unary::Exp, _) => true,
            Self::Binary(Binary::Mul | Binary::Div, a, b) => a.is_never_zero() && b.is_never_zero(),
            Self::Unary(Unary::Neg, a) => a.is_never_zero(),
            _ => false,
        }
    }

    /// Whether it depends on the prediction, so that there is a gradient to ask for.
    fn has_prediction(&self) -> bool {
        self.uses(&Self::Y) || self.uses(&Self::LogY)
    }

    fn uses(&self, leaf: &Self) -> bool {
        match self {
            Self::Unary(_, a) => a.uses(leaf),
            Self::Binary(_, a, b) => a.uses(leaf) || b.uses(leaf),
            other => other == leaf,
        }
    }
}

/// How tightly a piece of code holds together, loosest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Sum,
    Product,
    Sign,
    Power,
    Atom,
}

/// How Python code calls the functions of the formula language.
struct Python {
    /// The module of the functions, `torch` or `jnp`.
    module: &'static str,
    /// A number as an array.
    number: fn(f64) -> String,
}

impl Python {
    /// The formula as one value for every row and class.
    fn code(&self, tree: &Tree) -> String {
        let (code, _) = self.piece(tree);
        if tree.has_prediction() { code } else { format!("0.0 * y + ({code})") }
    }

    fn piece(&self, tree: &Tree) -> (String, Binding) {
        let name = |text: &str| (text.to_owned(), Binding::Atom);
        match tree {
            Tree::Number(v) => number(*v, PYTHON[0], PYTHON[1]),
            Tree::X => name("x"),
            Tree::Y => name("y"),
            Tree::N => name("n"),
            Tree::LogY => name("u"),
            Tree::Unary(Unary::Neg, a) => (format!("-{}", self.within(a, Binding::Power)), Binding::Sign),
            Tree::Unary(Unary::Square, a) => (format!("{}**2", self.within(a, Binding::Atom)), Binding::Power),
            Tree::Unary(op, a) => {
                let a = if *op == Unary::Log { self.nonzero(a, Binding::Sum) } else { self.piece(a).0 };
                (format!("{}.{}({a})", self.module, op.name()), Binding::Atom)
            }
            Tree::Binary(Binary::Max, a, b) => (self.call("maximum", a, b), Binding::Atom),
            Tree::Binary(Binary::Min, a, b) => (self.call("minimum", a, b), Binding::Atom),
            Tree::Binary(Binary::Add, a, b) => self.infix(a, " + ", self.within(b, Binding::Product), Binding::Sum),
            Tree::Binary(Binary::Sub, a, b) => self.infix(a, " - ", self.within(b, Binding::Product), Binding::Sum),
            Tree::Binary(Binary::Mul, a, b) => self.infix(a, " * ", self.within(b, Binding::Power), Binding::Product),
            Tree::Binary(Binary::Div, a, b) => self.infix(a, " / ", self.nonzero(b, Binding::Power), Binding::Product),
            Tree::Binary(Binary::Pow, a, b) => {
                (format!("{}**{}", self.within(a, Binding::Atom), self.within(b, Binding::Power)), Binding::Power)
            }
        }
    }

    fn within(&self, tree: &Tree, least: Binding) -> String {
        let (code, binding) = self.piece(tree);
        if binding < least { format!("({code})") } else { code }
    }

    fn nonzero(&self, tree: &Tree, least: Binding) -> String {
        if tree.is_never_zero() { self.within(tree, least) } else { format!("_nonzero({})", self.piece(tree).0) }
    }

    fn infix(&self, left: &Tree, sign: &str, right: String, binding: Binding) -> (String, Binding) {
        (format!("{}{sign}{right}", self.within(left, binding)), binding)
    }

    fn call(&self, function: &str, a: &Tree, b: &Tree) -> String {
        let operand = |tree: &Tree| match tree {
            Tree::Number(v) => (self.number)(*v),
            other => self.piece(other).0,
        };
        format!("{}.{function}({}, {})", self.module, operand(a), operand(b))
    }
}

/// A number as Python, Rust and LaTeX read it.
fn number(v: f64, infinity: &str, nan: &str) -> (String, Binding) {
    let sign = if v < 0.0 { "-" } else { "" };
    let text = match v {
        v if v.is_nan() => nan.to_owned(),
        v if v.is_infinite() => format!("{sign}{infinity}"),
        v => format!("{v:?}"),
    };
    (text, if v < 0.0 { Binding::Sign } else { Binding::Atom })
}

/// `[[1.0, 2.0], [3.0, 4.0]]`
fn rows(rows: &[Vec<f32>], infinity: &str, nan: &str) -> String {
    let row = |row: &Vec<f32>| row.iter().map(|v| single(*v, infinity, nan)).collect::<Vec<_>>().join(", ");
    let rows: Vec<String> = rows.iter().map(|r| format!("[{}]", row(r))).collect();
    format!("[{}]", rows.join(", "))
}

/// An f32 in as few digits as it needs.
fn single(v: f32, infinity: &str, nan: &str) -> String {
    if v.is_finite() { format!("{v:?}") } else { number(f64::from(v), infinity, nan).0 }
}

/// Infinity and NaN in Python.
const PYTHON: [&str; 2] = ["float(\"inf\")", "float(\"nan\")"];
/// Infinity and NaN of an f32 in Rust.
const RUST: [&str; 2] = ["f32::INFINITY", "f32::NAN"];
