//! An equation for LaTeX with `amsmath`.

use super::super::{Binary, Unary};
use super::{Binding, Module, Tree, number};

pub(super) fn source(module: &Module) -> String {
    let (code, binding) = piece(&Tree::new(module.formula));
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

fn piece(tree: &Tree) -> (String, Binding) {
    let atom = |text: &str| (text.to_owned(), Binding::Atom);
    match tree {
        Tree::Number(v) => {
            let (text, binding) = number(*v, "\\infty", "\\mathrm{NaN}");
            let text = text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
            match text.split_once('e') {
                Some((digits, exponent)) => (format!("{digits} \\cdot 10^{{{exponent}}}"), Binding::Product),
                None => (text, binding),
            }
        }
        Tree::X => atom("x_{ij}"),
        Tree::Y => atom("y_{ij}"),
        Tree::N => atom("n"),
        Tree::LogY => (format!("\\log {}", piece(&Tree::Y).0), Binding::Product),
        Tree::Unary(op, a) => unary(*op, a),
        Tree::Binary(op, a, b) => binary(*op, a, b),
    }
}

fn within(tree: &Tree, least: Binding) -> String {
    let (code, binding) = piece(tree);
    if binding < least { format!("\\left( {code} \\right)") } else { code }
}

fn unary(op: Unary, a: &Tree) -> (String, Binding) {
    let inner = || piece(a).0;
    match op {
        Unary::Neg => (format!("-{}", within(a, Binding::Product)), Binding::Sign),
        Unary::Log => (format!("\\log \\left( {} \\right)", inner()), Binding::Product),
        Unary::Exp => (format!("\\exp \\left( {} \\right)", inner()), Binding::Product),
        Unary::Tanh => (format!("\\tanh \\left( {} \\right)", inner()), Binding::Product),
        Unary::Sqrt => (format!("\\sqrt{{{}}}", inner()), Binding::Atom),
        Unary::Abs => (format!("\\left| {} \\right|", inner()), Binding::Atom),
        Unary::Square => (format!("{}^{{2}}", within(a, Binding::Atom)), Binding::Power),
    }
}

fn binary(op: Binary, a: &Tree, b: &Tree) -> (String, Binding) {
    match op {
        Binary::Add => (format!("{} + {}", within(a, Binding::Sum), within(b, Binding::Product)), Binding::Sum),
        Binary::Sub => (format!("{} - {}", within(a, Binding::Sum), within(b, Binding::Product)), Binding::Sum),
        Binary::Mul => (format!("{} \\, {}", within(a, Binding::Product), within(b, Binding::Power)), Binding::Product),
        Binary::Div => (format!("\\frac{{{}}}{{{}}}", piece(a).0, piece(b).0), Binding::Atom),
        Binary::Pow => (format!("{}^{{{}}}", within(a, Binding::Atom), piece(b).0), Binding::Power),
        Binary::Max => (format!("\\max \\left( {}, {} \\right)", piece(a).0, piece(b).0), Binding::Atom),
        Binary::Min => (format!("\\min \\left( {}, {} \\right)", piece(a).0, piece(b).0), Binding::Atom),
    }
}
