//! A Rust file with a module of Burn 0.22.

use super::super::{Binary, Unary};
use super::{Module, RUST, Tree, number, rows, single};

pub(super) fn source(module: &Module) -> String {
    let tree = Tree::new(module.formula);
    let code = match piece(&tree) {
        Piece::Tensor(code) if tree.has_prediction() => code,
        Piece::Tensor(code) => format!("(y.clone() * 0.0 + {code})"),
        Piece::Scalar(code) => format!("(y.clone() * 0.0).add_scalar({code})"),
    };
    let code = bare(&code);
    let mut inside = String::new();
    if code.contains("y.") {
        inside += PROBABILITY;
    }
    if tree.uses(&Tree::X) {
        inside += "        let x: Tensor<2> = target.one_hot::<2>(classes).float();\n";
    }
    if tree.uses(&Tree::N) {
        inside += "        let n = classes as f64;\n";
    }
    let classes =
        if !tree.uses(&Tree::X) && !tree.uses(&Tree::N) { "" } else { "        let classes = logits.dims()[1];\n" };
    let target = if tree.uses(&Tree::X) { "target" } else { "_target" };
    let nonzero = if code.contains("nonzero(") { NONZERO } else { "" };
    let example = &module.example;
    format!(
        r#"{head}
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{{Int, Tensor}};

/// `{formula}`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct {class};

impl {class} {{
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]`.
    pub fn forward(&self, logits: Tensor<2>, {target}: Tensor<1, Int>) -> Tensor<1> {{
{classes}        let u = log_softmax(logits, 1);
{inside}        let loss: Tensor<2> = {code};
        loss.sum_dim(1).mean()
    }}
}}
{nonzero}
#[cfg(test)]
mod tests {{
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn value_and_gradient_are_those_that_lossmith_computed() {{
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats({logits}, &device).require_grad();
        let target = Tensor::<1, Int>::from_ints({labels:?}, &device);
        let loss = {class}.forward(logits.clone(), target);
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-5 + 1e-4 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), {value}));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = {gradient}.concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{{gradient:?}}");
    }}
}}
"#,
        head = module.head("//"),
        class = module.type_name(),
        formula = module.formula_text(),
        logits = rows(&example.logits, RUST[0], RUST[1]),
        labels = example.labels.iter().map(|l| *l as i32).collect::<Vec<_>>(),
        value = single(example.value as f32, RUST[0], RUST[1]),
        gradient = rows(&example.gradient, RUST[0], RUST[1]),
    )
}

const PROBABILITY: &str =
    "        // No probability is less than the least normal number, but gradients pass as if it could be.
        let lift = (u.clone().clamp_min(f32::MIN_POSITIVE.ln()) - u.clone()).detach();
        let y = (u.clone() + lift).exp();
";

const NONZERO: &str = r"
/// The same, but for exact zeros, which have no logarithm and no inverse.
fn nonzero(a: Tensor<2>) -> Tensor<2> {
    let zeros = a.clone().equal_elem(0.0);
    a.mask_fill(zeros, f32::MIN_POSITIVE)
}
";

/// Code of one number, or of a number for every row and class.
enum Piece {
    Scalar(String),
    Tensor(String),
}

fn piece(tree: &Tree) -> Piece {
    match tree {
        Tree::Number(v) => Piece::Scalar(number(*v, "f64::INFINITY", "f64::NAN").0),
        Tree::N => Piece::Scalar("n".to_owned()),
        Tree::X => Piece::Tensor("x.clone()".to_owned()),
        Tree::Y => Piece::Tensor("y.clone()".to_owned()),
        Tree::LogY => Piece::Tensor("u.clone()".to_owned()),
        Tree::Unary(op, a) => unary(*op, a),
        Tree::Binary(op, a, b) => binary(*op, a, b),
    }
}

/// Code without the brackets around the whole of it.
fn bare(code: &str) -> &str {
    let Some(inner) = code.strip_prefix('(').and_then(|c| c.strip_suffix(')')) else { return code };
    let mut depth = 0;
    let closes_early = inner.chars().any(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth < 0
    });
    if closes_early { code } else { inner }
}

/// Code that a method may be called on: in brackets where it is an operation. Operations are the only code with spaces
/// outside brackets, and they carry their brackets already.
fn held(code: &str) -> String {
    if code.starts_with('-') { format!("({code})") } else { code.to_owned() }
}

/// A tensor that is never 0 by the guard, or is not anyway.
fn guarded(tree: &Tree, code: String) -> String {
    if tree.is_never_zero() { code } else { format!("nonzero({})", bare(&code)) }
}

fn unary(op: Unary, a: &Tree) -> Piece {
    let method = match op {
        Unary::Neg => "neg",
        Unary::Log => "log",
        Unary::Exp => "exp",
        Unary::Sqrt => "sqrt",
        Unary::Square => "square",
        Unary::Abs => "abs",
        Unary::Tanh => "tanh",
    };
    match piece(a) {
        Piece::Scalar(code) if op == Unary::Neg => Piece::Scalar(format!("(-{code})")),
        Piece::Scalar(code) if op == Unary::Square => Piece::Scalar(format!("({code}).powi(2)")),
        Piece::Scalar(code) => {
            let method = if op == Unary::Log { "ln" } else { method };
            Piece::Scalar(format!("({code}).{method}()"))
        }
        Piece::Tensor(code) => {
            let code = if op == Unary::Log { guarded(a, code) } else { code };
            Piece::Tensor(format!("{}.{method}()", held(&code)))
        }
    }
}

fn binary(op: Binary, left: &Tree, right: &Tree) -> Piece {
    let (a, b) = (piece(left), piece(right));
    let sign = match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::Pow => return power(a, b),
        Binary::Max => return extreme("max", a, b),
        Binary::Min => return extreme("min", a, b),
    };
    match (a, b) {
        (Piece::Scalar(a), Piece::Scalar(b)) => Piece::Scalar(format!("({a} {sign} {b})")),
        (Piece::Tensor(a), Piece::Scalar(b)) => Piece::Tensor(format!("({a} {sign} ({b}))")),
        (Piece::Scalar(a), Piece::Tensor(b)) => Piece::Tensor(match op {
            Binary::Sub => format!("{}.neg().add_scalar({a})", held(&b)),
            Binary::Div => format!("{}.recip().mul_scalar({a})", held(&guarded(right, b))),
            _ => format!("({b} {sign} ({a}))"),
        }),
        (Piece::Tensor(a), Piece::Tensor(b)) => {
            let b = if op == Binary::Div { guarded(right, b) } else { b };
            Piece::Tensor(format!("({a} {sign} {b})"))
        }
    }
}

fn power(a: Piece, b: Piece) -> Piece {
    match (a, b) {
        (Piece::Scalar(a), Piece::Scalar(b)) => Piece::Scalar(format!("f64::powf({a}, {b})")),
        (Piece::Tensor(a), Piece::Scalar(b)) => Piece::Tensor(format!("{}.powf_scalar({b})", held(&a))),
        (Piece::Scalar(a), Piece::Tensor(b)) => Piece::Tensor(format!("y.full_like({a}).powf({})", bare(&b))),
        (Piece::Tensor(a), Piece::Tensor(b)) => Piece::Tensor(format!("{}.powf({})", held(&a), bare(&b))),
    }
}

fn extreme(which: &str, a: Piece, b: Piece) -> Piece {
    match (a, b) {
        (Piece::Scalar(a), Piece::Scalar(b)) => Piece::Scalar(format!("f64::{which}({a}, {b})")),
        (Piece::Tensor(t), Piece::Scalar(s)) | (Piece::Scalar(s), Piece::Tensor(t)) => {
            Piece::Tensor(format!("{}.{which}_pair(y.full_like({s}))", held(&t)))
        }
        (Piece::Tensor(a), Piece::Tensor(b)) => Piece::Tensor(format!("{}.{which}_pair({})", held(&a), bare(&b))),
    }
}
