//! An equation for LaTeX with `amsmath`.

use super::super::{Binary, Expr, Kernel, Node, Unary};
use super::{Binding, Module, number};

pub(super) fn source(module: &Module) -> String {
    let (code, binding) = piece(module.formula, 0);
    let code = code.replace(" + -", " - ");
    let code = if binding == Binding::Sum { format!("\\left[ {code} \\right]") } else { code };
    let example = &module.example;
    format!(
        "{head}%\n% Test value: {value:?} for logits {logits:?}, labels {labels:?}.\n\\begin{{equation}}\n  \\mathcal{{L}} = \
         \\frac{{1}}{{N}} \\sum_{{j=1}}^{{N}} \\sum_{{i=1}}^{{n}} {code}\n\\end{{equation}}\n",
        head = module.head("%"),
        value = example.value as f32,
        logits = example.logits,
        labels = example.labels,
    )
}

const VARIABLES: [&str; 3] = ["x_{ij}", "y_{ij}", "n"];

/// The subtree at `at`; constants are folded.
fn piece(formula: &Expr, at: usize) -> (String, Binding) {
    let constant = formula.nodes()[at..formula.subtree_end(at)].iter().all(|n| !matches!(n, Node::Var(_)));
    match formula.nodes()[at] {
        _ if constant => constant_piece(Kernel::new(&formula.subtree(at)).at(&[]).value),
        Node::Num(v) => constant_piece(v),
        Node::Var(i) => (VARIABLES[usize::from(i)].to_owned(), Binding::Atom),
        Node::Unary(op) => unary(op, formula, at + 1),
        Node::Binary(op) => binary(op, formula, at + 1, formula.subtree_end(at + 1)),
    }
}

fn constant_piece(v: f64) -> (String, Binding) {
    let (text, binding) = number(v, "\\infty", "\\mathrm{NaN}");
    let text = text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    match text.split_once('e') {
        Some((digits, exponent)) => (format!("{digits} \\cdot 10^{{{exponent}}}"), Binding::Product),
        None => (text, binding),
    }
}

fn within(formula: &Expr, at: usize, least: Binding) -> String {
    let (code, binding) = piece(formula, at);
    if binding < least { format!("\\left( {code} \\right)") } else { code }
}

fn unary(op: Unary, formula: &Expr, at: usize) -> (String, Binding) {
    let inner = || piece(formula, at).0;
    match op {
        Unary::Neg => (format!("-{}", within(formula, at, Binding::Product)), Binding::Sign),
        Unary::Log if formula.nodes()[at] == Node::Var(1) => (format!("\\log {}", VARIABLES[1]), Binding::Product),
        Unary::Log => (format!("\\log \\left( {} \\right)", inner()), Binding::Product),
        Unary::Exp => (format!("\\exp \\left( {} \\right)", inner()), Binding::Product),
        Unary::Tanh => (format!("\\tanh \\left( {} \\right)", inner()), Binding::Product),
        Unary::Sqrt => (format!("\\sqrt{{{}}}", inner()), Binding::Atom),
        Unary::Abs => (format!("\\left| {} \\right|", inner()), Binding::Atom),
        Unary::Square => (format!("{}^{{2}}", within(formula, at, Binding::Atom)), Binding::Power),
    }
}

fn binary(op: Binary, formula: &Expr, a: usize, b: usize) -> (String, Binding) {
    let inner = |at| piece(formula, at).0;
    let held = |at, least| within(formula, at, least);
    match op {
        Binary::Add => (format!("{} + {}", held(a, Binding::Sum), held(b, Binding::Product)), Binding::Sum),
        Binary::Sub => (format!("{} - {}", held(a, Binding::Sum), held(b, Binding::Product)), Binding::Sum),
        Binary::Mul => (format!("{} \\, {}", held(a, Binding::Product), held(b, Binding::Power)), Binding::Product),
        Binary::Div => (format!("\\frac{{{}}}{{{}}}", inner(a), inner(b)), Binding::Atom),
        Binary::Pow => (format!("{}^{{{}}}", held(a, Binding::Atom), inner(b)), Binding::Power),
        Binary::Max => (format!("\\max \\left( {}, {} \\right)", inner(a), inner(b)), Binding::Atom),
        Binary::Min => (format!("\\min \\left( {}, {} \\right)", inner(a), inner(b)), Binding::Atom),
    }
}
