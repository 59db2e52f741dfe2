//! Formulas as a search draws them say the same everywhere: in blocks of f32 and in emitted code what the f64 reference says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lossmith::expr::emit::Language;
use lossmith::expr::{Binary, CLASS_VARIABLES, Expr, Node, Unary};
use lossmith::loss::{ClassLoss, Reference, Rounding};
use lossmith_search::Stream;
use lossmith_search::gp::{Gp, Settings};
use lossmith_search::space::Space;
use rand::RngExt;
use serde_json::json;

const FORMULAS: usize = 1_000;
const ROWS: usize = 3;

/// A formula and the rows it is tried on.
struct Case {
    loss: ClassLoss,
    text: String,
    classes: usize,
    logits: Vec<f32>,
    labels: Vec<u32>,
}

/// Draws formulas from the generations of a search that rewards nothing, with every function and with constants, and logits
/// whose gaps reach from none to 1e4.
fn cases() -> Vec<Case> {
    let names = |all: &[&str]| all.iter().map(|name| ((*name).to_owned(), 1.0)).collect::<BTreeMap<_, _>>();
    let settings = Settings {
        population: 100,
        initial_depth: 3,
        operators: names(&[
            "+", "-", "*", "/", "^", "max", "min", "log", "exp", "sqrt", "square", "abs", "tanh", "neg",
        ]),
        leaves: names(&["x", "y", "y", "1", "-1", "0.75", "2.5", "n"]),
        ..Settings::default()
    };
    let mut gp = Gp::new(settings, CLASS_VARIABLES, 14).unwrap();
    let mut rng = Stream::new(14, 1);
    let mut cases = Vec::new();
    while cases.len() < FORMULAS {
        let trees: Vec<Expr> = gp.generation().iter().filter(|tree| tree.uses(1)).cloned().collect();
        cases.extend(trees.iter().map(|tree| case(tree, &mut rng)));
        let fitness: Vec<f64> = gp.generation().iter().map(|_| rng.random()).collect();
        gp.tell(&fitness).unwrap();
    }
    cases.truncate(FORMULAS);
    cases
}

fn case(tree: &Expr, rng: &mut Stream) -> Case {
    let classes = [2, 3, 10][rng.random_range(0..3)];
    let text = Space::Class { classes }.loss(tree);
    let loss = ClassLoss::from_formula(Expr::parse(&text, CLASS_VARIABLES).unwrap());
    let mut logits = Vec::new();
    for _ in 0..ROWS {
        let reach = 10f32.powf(rng.random_range(-1.0..4.0));
        logits.extend((0..classes).map(|_| rng.random_range(-reach..reach)));
    }
    let labels = (0..ROWS).map(|_| rng.random_range(0..classes) as u32).collect();
    Case { loss, text, classes, logits, labels }
}

impl Case {
    /// The reference of every row, for an arithmetic that rounds like this.
    fn references(&self, rounding: Rounding) -> Vec<Reference> {
        let rows = self.logits.chunks(self.classes).zip(&self.labels);
        rows.map(|(row, label)| {
            let row: Vec<f64> = row.iter().map(|z| f64::from(*z)).collect();
            self.loss.reference(&row, *label as usize, rounding)
        })
        .collect()
    }

    /// How far the label's logit lies below the largest of the row.
    fn gap(&self, row: usize) -> f64 {
        let logits = &self.logits[row * self.classes..][..self.classes];
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        f64::from(most) - f64::from(logits[self.labels[row] as usize])
    }
}

fn is_finite(reference: &Reference) -> bool {
    let numbers = [reference.value, reference.value_error, reference.gradient_error];
    numbers.iter().chain(&reference.gradient).all(|number| number.is_finite())
}

#[test]
fn every_function_is_drawn_and_most_results_are_finite() {
    let cases = cases();
    for op in Unary::ALL.map(|(op, _)| Node::Unary(op)).into_iter().chain(Binary::ALL.map(|(op, _)| Node::Binary(op))) {
        let with = cases.iter().filter(|case| case.loss.formula().nodes().contains(&op)).count();
        // The search's own form writes a square as a power.
        assert!(with >= 20 || op == Node::Unary(Unary::Square), "{op:?} is in {with} formulas");
    }
    let finite = cases.iter().filter(|case| case.references(Rounding::NONE).iter().all(is_finite)).count();
    assert!(finite * 10 >= FORMULAS * 6, "only {finite} of {FORMULAS} are finite");
}

/// In every row: the value to 1e-6 of itself, the gradient to 1e-6 of its largest number, more by the gap for inverses of
/// probabilities, and by what rounding comes to in the formula itself.
#[test]
fn blocks_equal_the_reference() {
    let mut compared = 0;
    for case in cases() {
        for (row, reference) in case.references(Rounding::F32).iter().enumerate() {
            // What leaves the range of f32 on the way is not to be had in f32.
            let fits = reference.largest < f64::from(f32::MAX);
            if !is_finite(reference) || !fits {
                continue;
            }
            let logits = &case.logits[row * case.classes..][..case.classes];
            let mut gradient = vec![f32::NAN; case.classes];
            let value = case.loss.value_and_gradient(logits, &case.labels[row..=row], case.classes, &mut gradient);
            let share = if case.text.contains('/') { 1e-6 * (1.0 + case.gap(row).min(87.0)) } else { 1e-6 };
            let off = (value - reference.value).abs();
            let most = share * reference.value.abs() + 2.0 * reference.value_error + 1e-36;
            assert!(off <= most, "{}: {value}, not {}; {logits:?} {}", case.text, reference.value, case.labels[row]);
            let largest = reference.gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
            let most = share * largest + 2.0 * reference.gradient_error + 1e-36;
            for (is, should) in gradient.iter().zip(&reference.gradient) {
                let off = (f64::from(*is) - should).abs();
                assert!(
                    off <= most,
                    "{}: {gradient:?}, not {:?}; {logits:?} {}",
                    case.text,
                    reference.gradient,
                    case.labels[row]
                );
            }
            compared += 1;
        }
    }
    assert!(compared * 10 >= FORMULAS * ROWS * 5, "only {compared} rows were compared");
}

/// Runs emitted modules in f64 on the rows of their cases; each must say what the reference says, to 1e-9.
fn emitted_code_equals_the_reference(language: Language, module: &str) {
    let python = std::env::var("LOSSMITH_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("LOSSMITH_TEST_REQUIRE").is_none(), "{python} cannot import {module}");
        eprintln!("skipped: {python} cannot import {module}; set LOSSMITH_TEST_PYTHON to one that can");
        return;
    }
    let mut finite = Vec::new();
    for case in cases() {
        let unit = f64::EPSILON / 2.0;
        let largest = case.logits.iter().fold(0.0f32, |most, z| most.max(z.abs()));
        let references = case.references(Rounding { unit, logarithm: 2.0 * unit * f64::from(largest), least: 0.0 });
        if !references.iter().all(is_finite) {
            continue;
        }
        let mean = |of: fn(&Reference) -> f64| references.iter().map(of).sum::<f64>() / ROWS as f64;
        finite.push(json!({
            "formula": case.text,
            "source": case.loss.source(language, "found", "a test"),
            "logits": case.logits.chunks(case.classes).collect::<Vec<_>>(),
            "labels": case.labels,
            "value": mean(|r| r.value),
            "value_error": mean(|r| r.value_error),
            "gradients": references.iter().map(|r| &r.gradient).collect::<Vec<_>>(),
            "gradient_errors": references.iter().map(|r| r.gradient_error).collect::<Vec<_>>(),
        }));
    }
    assert!(finite.len() * 10 >= FORMULAS * 6);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&finite).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formulas.py");
    let output = Command::new(&python).arg(script).arg(module).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{} formulas", finite.len())), "{said}");
}

#[test]
fn pytorch_code_equals_the_reference() {
    emitted_code_equals_the_reference(Language::Pytorch, "torch");
}

#[test]
fn jax_code_equals_the_reference() {
    emitted_code_equals_the_reference(Language::Jax, "jax");
}
