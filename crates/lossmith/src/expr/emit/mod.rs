//! Class losses as source text for other tools: PyTorch, JAX, Burn, LaTeX.
//!
//! Every module carries its formula, where it comes from, and a test value. The code is made from the graph that the engine
//! computes: one piece for the class that is the label, one for all others, from logarithms of probabilities that are exact
//! for every finite logit. So it says what the engine says, also where probabilities round to 0 or 1.

mod burn;
mod jax;
mod latex;
mod python;
mod pytorch;
mod steps;

use super::graph::probability::LEAST_PROBABILITY;
use super::{CLASS_VARIABLES, Expr};
use steps::{Leaf, Steps, Tree};

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

    /// The formula where the class is the label, and where it is not.
    fn steps(&self) -> [Steps; 2] {
        [1.0, 0.0].map(|x| Steps::new(self.formula, x))
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

/// How tightly a piece of code holds together, loosest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Sum,
    Product,
    Sign,
    Power,
    Atom,
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
