//! A Rust file with a module of Burn 0.22.

use super::super::{Binary, Unary};
use super::{Leaf, Module, RUST, Steps, Tree, number, rows, single};

pub(super) fn source(module: &Module) -> String {
    let [own, others] = module.steps();
    let needs_n = own.uses(Leaf::Classes) || others.uses(Leaf::Classes);
    let n = if needs_n { "        let n = classes as f64;\n" } else { "" };
    let mut functions = function("own", "The loss of the label's class.", &own);
    let (mut inside, mut result) = (call("own", &own, "margin"), "own");
    if !others.is_zero() {
        functions += &function("other", "The loss of a class that is not the label.", &others);
        inside += &other_lines(&others);
        result = "(own + other)";
    }
    let helpers: String = [
        (true, MARGIN),
        (others.has_prediction(), MARGINS),
        (true, LOG_SIGMOID),
        (has(&own, &others, &[Leaf::Probability, Leaf::Missed]), PROBABILITY),
        (has(&own, &others, &[Leaf::Inverse, Leaf::InverseMissed]), INVERSE),
        (own.has_guard() || others.has_guard(), POWER),
    ]
    .iter()
    .filter(|(needed, _)| *needed)
    .map(|(_, code)| *code)
    .collect();
    let example = &module.example;
    format!(
        r#"{head}
use burn::module::Module;
use burn::tensor::{{Bool, Int, Tensor}};

/// `{formula}`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct {class};

impl {class} {{
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]` from 0 to C - 1.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {{
        let [rows, classes] = logits.dims();
        assert_eq!(target.dims(), [rows], "one label for every row of logits");
        let label = target.one_hot::<2>(classes).equal_elem(1);
        let margin = margin(logits.clone(), label.clone());
{n}{inside}        {result}.mean()
    }}
}}

{functions}{helpers}
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
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-6 + 1e-5 * should.abs();
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

fn has(own: &Steps, others: &Steps, leaves: &[Leaf]) -> bool {
    own.uses_any(leaves) || others.uses_any(leaves)
}

/// The arguments of a function of the formula: name, type, and what it is called with.
fn arguments(steps: &Steps, margin: &str) -> Vec<[String; 3]> {
    let argument = |name: &str, kind: &str, value: String| [name.to_owned(), kind.to_owned(), value];
    let mut all = vec![argument("u", "Tensor<2>", format!("log_sigmoid({margin}.clone())"))];
    if steps.uses_any(&[Leaf::Missed, Leaf::LogMissed, Leaf::InverseMissed]) {
        all.push(argument("v", "Tensor<2>", format!("log_sigmoid({margin}.clone().neg())")));
    }
    if steps.uses(Leaf::Classes) {
        all.push(argument("n", "f64", "n".to_owned()));
    }
    all
}

fn call(name: &str, steps: &Steps, margin: &str) -> String {
    let values: Vec<String> = arguments(steps, margin).into_iter().map(|[_, _, value]| value).collect();
    format!("        let {name} = {name}({});\n", values.join(", "))
}

fn other_lines(others: &Steps) -> String {
    if !others.has_prediction() {
        return format!("{}        let other = other * (classes as f64 - 1.0);\n", call("other", others, "margin"));
    }
    let mut lines = "        // The label's place is taken by a number that does no harm, and its loss is left out.
        let margins = margins(logits).mask_fill(label.clone(), 0.0);
"
    .to_owned();
    lines += &call("other", others, "margins");
    lines + "        let other = other.mask_fill(label, 0.0).sum_dim(1);\n"
}

/// A function of the formula for one kind of class.
fn function(name: &str, doc: &str, steps: &Steps) -> String {
    let parameters: Vec<String> =
        arguments(steps, "").into_iter().map(|[name, kind, _]| format!("{name}: {kind}")).collect();
    let mut lines = String::new();
    for (leaf, line) in [
        (Leaf::Probability, "let y = probability(u.clone());"),
        (Leaf::Inverse, "let inverse = inverse(u.clone()); // 1 / y"),
        (Leaf::Missed, "let missed = probability(v.clone()); // 1 - y"),
        (Leaf::InverseMissed, "let inverse_missed = inverse(v.clone()); // 1 / (1 - y)"),
    ] {
        if steps.uses(leaf) {
            lines += &format!("    {line}\n");
        }
    }
    let mut printer = Printer::default();
    for (at, step) in steps.shared.iter().enumerate() {
        let piece = printer.piece(step);
        let (Piece::Scalar(code) | Piece::Tensor(code)) = &piece;
        lines += &format!("    let s{at} = {};\n", bare(code));
        printer.scalars.push(matches!(piece, Piece::Scalar(_)));
    }
    let code = match printer.piece(&steps.result) {
        Piece::Tensor(code) => code,
        Piece::Scalar(code) => format!("(u.clone() * 0.0).add_scalar({code})"),
    };
    format!("/// {doc}\nfn {name}({}) -> Tensor<2> {{\n{lines}    {}\n}}\n\n", parameters.join(", "), bare(&code))
}

const MARGIN: &str = r#"/// `log(y / (1 - y))` of the class of every row that is marked; exact however close y is to 0 or 1.
fn margin(logits: Tensor<2>, marked: Tensor<2, Bool>) -> Tensor<2> {
    if logits.dims()[1] == 1 {
        return (logits * 0.0).add_scalar(f32::MAX);
    }
    let others = logits.clone().mask_fill(marked.clone(), f32::MIN);
    let most = others.clone().max_dim(1).detach();
    let sum = (others - most.clone()).exp().sum_dim(1).log() + most;
    logits.mask_fill(marked.bool_not(), 0.0).sum_dim(1) - sum
}

"#;

const MARGINS: &str = r#"/// The same of every class.
fn margins(logits: Tensor<2>) -> Tensor<2> {
    let [rows, classes] = logits.dims();
    let largest = logits.clone().argmax(1).reshape([rows]).one_hot::<2>(classes).equal_elem(1);
    let top = margin(logits.clone(), largest.clone());
    // That of a class that is not the largest needs no care: log y - log(1 - y).
    let most = logits.clone().mask_fill(largest.clone().bool_not(), 0.0).sum_dim(1);
    let u = logits - most + log_sigmoid(top.clone());
    let u = u.mask_fill(largest.clone(), -1.0);
    let margins = u.clone() - u.exp().neg().log1p();
    margins.mask_where(largest, top.expand([rows, classes]))
}

"#;

const LOG_SIGMOID: &str = r#"/// `-log(1 + exp(-a))`
fn log_sigmoid(a: Tensor<2>) -> Tensor<2> {
    a.clone().clamp_max(0.0) - a.abs().neg().exp().log1p()
}

"#;

const PROBABILITY: &str = r#"/// `exp(log)`, but no less than the least normal f32; the slope is that of an exponential everywhere.
fn probability(log: Tensor<2>) -> Tensor<2> {
    let held = log.clone().detach();
    held.clone().exp().clamp_min(f32::MIN_POSITIVE) * (log - held).exp()
}

"#;

const INVERSE: &str = r#"/// `1 / probability(log)`, with a slope that stays in range.
fn inverse(log: Tensor<2>) -> Tensor<2> {
    let held = log.clone().detach();
    held.clone().exp().clamp_min(f32::MIN_POSITIVE).recip() * (held - log).exp()
}

"#;

const POWER: &str = r#"/// `a^b`; where a is 0 the slope is taken as 0.
fn power(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let zero = a.clone().equal_elem(0.0);
    let of_zero = a.zeros_like().powf(b.clone().detach());
    a.mask_fill(zero.clone(), 1.0).powf(b).mask_where(zero, of_zero)
}

"#;

/// Code of one number, or of a number for every row and class.
enum Piece {
    Scalar(String),
    Tensor(String),
}

/// Writes pieces; it knows which steps are single numbers.
#[derive(Default)]
struct Printer {
    scalars: Vec<bool>,
}

impl Printer {
    fn piece(&self, tree: &Tree) -> Piece {
        let name = |name: &str| Piece::Tensor(format!("{name}.clone()"));
        match tree {
            Tree::Number(v) => Piece::Scalar(number(*v, "f64::INFINITY", "f64::NAN").0),
            Tree::Step(at) if self.scalars[*at] => Piece::Scalar(format!("s{at}")),
            Tree::Step(at) => name(&format!("s{at}")),
            Tree::Leaf(leaf) => match leaf {
                Leaf::Classes => Piece::Scalar("n".to_owned()),
                Leaf::Probability => name("y"),
                Leaf::Log => name("u"),
                Leaf::Inverse => name("inverse"),
                Leaf::Missed => name("missed"),
                Leaf::LogMissed => name("v"),
                Leaf::InverseMissed => name("inverse_missed"),
            },
            Tree::Unary(op, a) => unary(*op, self.piece(a)),
            Tree::Binary(op, a, b) => binary(*op, self.piece(a), self.piece(b)),
            Tree::Guarded(a, b) => guarded_power(self.piece(a), self.piece(b)),
        }
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

fn unary(op: Unary, a: Piece) -> Piece {
    let method = match op {
        Unary::Neg => "neg",
        Unary::Log => "log",
        Unary::Exp => "exp",
        Unary::Sqrt => "sqrt",
        Unary::Square => "square",
        Unary::Abs => "abs",
        Unary::Tanh => "tanh",
    };
    match a {
        Piece::Scalar(code) if op == Unary::Neg => Piece::Scalar(format!("(-{code})")),
        Piece::Scalar(code) if op == Unary::Square => Piece::Scalar(format!("({code}).powi(2)")),
        Piece::Scalar(code) => {
            let method = if op == Unary::Log { "ln" } else { method };
            Piece::Scalar(format!("({code}).{method}()"))
        }
        Piece::Tensor(code) => Piece::Tensor(format!("{}.{method}()", held(&code))),
    }
}

fn binary(op: Binary, a: Piece, b: Piece) -> Piece {
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
            Binary::Div => format!("{}.recip().mul_scalar({a})", held(&b)),
            _ => format!("({b} {sign} ({a}))"),
        }),
        (Piece::Tensor(a), Piece::Tensor(b)) => Piece::Tensor(format!("({a} {sign} {b})")),
    }
}

fn power(a: Piece, b: Piece) -> Piece {
    match (a, b) {
        (Piece::Scalar(a), Piece::Scalar(b)) => Piece::Scalar(format!("f64::powf({a}, {b})")),
        (Piece::Tensor(a), Piece::Scalar(b)) => Piece::Tensor(format!("{}.powf_scalar({b})", held(&a))),
        (Piece::Scalar(a), Piece::Tensor(b)) => Piece::Tensor(format!("u.full_like({a}).powf({})", bare(&b))),
        (Piece::Tensor(a), Piece::Tensor(b)) => Piece::Tensor(format!("{}.powf({})", held(&a), bare(&b))),
    }
}

/// A power whose slope is 0 where the base is.
fn guarded_power(a: Piece, b: Piece) -> Piece {
    let tensor = |piece: Piece| match piece {
        Piece::Scalar(code) => format!("u.full_like({code})"),
        Piece::Tensor(code) => bare(&code).to_owned(),
    };
    Piece::Tensor(format!("power({}, {})", tensor(a), tensor(b)))
}

fn extreme(which: &str, a: Piece, b: Piece) -> Piece {
    match (a, b) {
        (Piece::Scalar(a), Piece::Scalar(b)) => Piece::Scalar(format!("f64::{which}({a}, {b})")),
        (Piece::Tensor(t), Piece::Scalar(s)) | (Piece::Scalar(s), Piece::Tensor(t)) => {
            Piece::Tensor(format!("{}.{which}_pair(u.full_like({s}))", held(&t)))
        }
        (Piece::Tensor(a), Piece::Tensor(b)) => Piece::Tensor(format!("{}.{which}_pair({})", held(&a), bare(&b))),
    }
}
