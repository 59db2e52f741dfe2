//! The class losses against their references.

use super::*;
use crate::expr::Kernel;

fn loss(text: &str) -> ClassLoss {
    ClassLoss::from_spec(&Spec::parse(text).unwrap()).unwrap()
}

#[test]
#[expect(clippy::approx_constant, reason = "published figures as they are printed")]
fn baikal_of_two_classes_has_the_published_values() {
    for (y, baikal, cma) in
        [(0.01, 52.3076, 252.7226), (0.5, 1.6931, 5.6650), (0.7071, 1.4944, 4.4674), (0.999, 3.9549, 10.6199)]
    {
        let logits = [f32::ln(y / (1.0 - y)), 0.0];
        assert!((loss("baikal").value(&logits, &[0], 2) - baikal).abs() < 1e-3);
        assert!((loss("baikal-cma").value(&logits, &[0], 2) - cma).abs() < 1e-3);
    }
}

#[test]
fn every_named_loss_equals_its_formula() {
    for text in ["cross-entropy", "baikal", "baikal-cma", "poly-loss(epsilon=-0.5)", "label-smoothing(epsilon=0.2)"] {
        let named = loss(text);
        let formula = ClassLoss::from_formula(named.formula().clone());
        let (logits, labels) = ([0.3, -1.0, 2.0, 0.0, 0.5, -3.0], [2, 1]);
        let (mut a, mut b) = ([0.0; 6], [0.0; 6]);
        let (va, vb) = (
            named.value_and_gradient(&logits, &labels, 3, &mut a),
            formula.value_and_gradient(&logits, &labels, 3, &mut b),
        );
        assert!((va - vb).abs() < 1e-6 * va.abs(), "{text}: {va} {vb}");
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{text}: {a:?} {b:?}");
    }
}

/// Value and gradient of one row in f64 by the tree itself, for ordinary logits: the oracle of the reference.
fn oracle(formula: &Expr, logits: &[f32], label: usize) -> (f64, Vec<f64>) {
    let kernel = Kernel::new(formula);
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
    let y: Vec<f64> = logits.iter().map(|&z| (f64::from(z) - max).exp() / sum).collect();
    let at = |j: usize| kernel.at(&[f64::from(u8::from(j == label)), y[j], y.len() as f64]);
    let t: Vec<f64> = (0..y.len()).map(|j| y[j] * at(j).slope[1]).collect();
    let total: f64 = t.iter().sum();
    ((0..y.len()).map(|j| at(j).value).sum(), t.iter().zip(&y).map(|(t, y)| t - y * total).collect())
}

/// Value and gradient of one row against the reference: 1e-6 of the value, and of the largest number of the gradient; more
/// by the gap where the inverse of a probability is taken, and by what the formula itself makes of rounding.
fn check(loss: &ClassLoss, logits: &[f32], label: usize) -> Result<(), String> {
    let mut gradient = vec![f32::NAN; logits.len()];
    let value = loss.value_and_gradient(logits, &[label as u32], logits.len(), &mut gradient);
    let wide: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
    let reference = loss.reference(&wide, label, Rounding::F32);
    let most = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let gap = (most - wide[label]).min(87.0);
    let text = loss.formula().display(CLASS_VARIABLES).to_string();
    let inverse = text.contains('/') || text.contains("^-");
    let share = 1e-6 * if inverse { 1.0 + gap } else { 1.0 };
    let near = |is: f64, should: f64, scale: f64, error: f64| {
        (is - should).abs() <= share * scale + error + 1e-37 * wide.len() as f64
    };
    if !near(value, reference.value, reference.value.abs(), reference.value_error) {
        return Err(format!("{text}: value {value}, not {} at a gap of {gap}", reference.value));
    }
    let scale = reference.gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    for (at, (is, should)) in gradient.iter().zip(&reference.gradient).enumerate() {
        if !near(f64::from(*is), *should, scale, reference.gradient_error) {
            return Err(format!("{text}: gradient {is}, not {should} at [{at}], gap {gap}, largest {scale}"));
        }
    }
    Ok(())
}

const FORMULAS: &[&str] = &[
    "cross-entropy",
    "baikal",
    "baikal-cma",
    "poly-loss",
    "label-smoothing",
    "-x*log(y)",
    "-x*log(y) - (1 - x)*log(1.1 - y)",
    "-x*log(y) - (1 - x)*log(1 - y)",
    "(x - y)^2",
    "-(log(1.5*y) - x/y)/n",
    "tanh(x - y)*max(y, 0.3)",
    "n",
    "x*(1 - y)^1.5 + abs(y - 0.25)*exp(-x)",
    "y^y - sqrt(y)/(x + n)",
    "-x*(1 - y)^0.5*log(y)",
    "x*(1 - y)^0*(-log(y))",
    "sqrt((x - y)^2)",
    "x/y^2/n",
    "-log(y)/(1 - y)",
    "x*y/(1 - y)",
    "-log(1 - y*y)",
];

#[test]
fn the_reference_equals_the_tree_on_ordinary_logits() {
    for classes in [2, 3, 10, 100] {
        let logits: Vec<f32> = (0..classes).map(|i| 3.0 * (i as f32 * 1.7).sin()).collect();
        let wide: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
        for text in FORMULAS {
            let loss = loss(text);
            for label in [0, classes - 1] {
                let reference = loss.reference(&wide, label, Rounding::NONE);
                let (value, gradient) = oracle(loss.formula(), &logits, label);
                assert!((reference.value - value).abs() <= 1e-11 * value.abs(), "{text}: {} {value}", reference.value);
                let largest = gradient.iter().fold(1e-3, |m: f64, g| m.max(g.abs()));
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-11 * largest;
                assert!(
                    reference.gradient.iter().zip(&gradient).all(near),
                    "{text}: {:?} {gradient:?}",
                    reference.gradient
                );
            }
        }
    }
}

#[test]
fn rows_equal_the_reference_at_every_gap() {
    for classes in [1, 2, 3, 10, 17, 100, 1300] {
        for gap in [0.0, 1e-3, 0.7, 5.0, 16.5, 20.0, 40.0, 44.5, 69.0, 80.0, 88.0, 103.0, 150.0, 1e4] {
            for label in [0, classes / 2] {
                let mut logits: Vec<f32> = (0..classes).map(|i| 2.0 * (i as f32 * 1.7).sin() - gap).collect();
                logits[0] = 1.0;
                for text in FORMULAS {
                    // Powers of the inverse leave the range of f32.
                    if text.contains("y^2/") && gap > 40.0 {
                        continue;
                    }
                    check(&loss(text), &logits, label).unwrap();
                }
            }
        }
    }
}

#[test]
fn sums_over_many_classes_keep_their_digits() {
    let normal = |at: usize| {
        let u =
            |k: usize| ((at * 2 + k) as u32).wrapping_mul(2_654_435_761).wrapping_add(12_345) as f32 / 4_294_967_296.0;
        4.0 * (-2.0 * (u(0) + 1e-9).ln()).sqrt() * (std::f32::consts::TAU * u(1)).cos()
    };
    for classes in [50_257, 250_000, 1_000_000] {
        let mut far = vec![-17.0; classes];
        far[0] = 0.0;
        let random: Vec<f32> = (0..classes).map(normal).collect();
        for text in
            ["cross-entropy", "label-smoothing", "baikal", "-x*log(y)", "-(log(y) - x/y)/n", "x*log(y)^2 + (1 - x)*y"]
        {
            let loss = loss(text);
            check(&loss, &far, 0).unwrap();
            check(&loss, &random, 1).unwrap();
        }
    }
    let mut far = vec![-17.0; 50_257];
    far[0] = 0.0;
    let value = loss("cross-entropy").value(&far, &[0], far.len());
    let should = (50_256.0 * (-17f64).exp()).ln_1p();
    assert!((value / should - 1.0).abs() < 1e-6, "{value}, not {should}");
}

#[test]
fn batches_are_the_mean_of_their_rows() {
    for (rows, classes) in [(1, 1), (1, 2), (7, 3), (128, 10), (129, 10), (40, 100), (3, 1300)] {
        let logits: Vec<f32> = (0..rows * classes).map(|i| 6.0 * (i as f32 * 1.7).sin()).collect();
        let labels: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
        for text in FORMULAS {
            let loss = loss(text);
            let mut grad = vec![f32::NAN; logits.len()];
            let value = loss.value_and_gradient(&logits, &labels, classes, &mut grad);
            assert_eq!(value, loss.value(&logits, &labels, classes));
            let mut sum = 0.0;
            for (r, label) in labels.iter().enumerate() {
                let row = r * classes..(r + 1) * classes;
                let mut alone = vec![f32::NAN; classes];
                sum += loss.value_and_gradient(&logits[row.clone()], &[*label], classes, &mut alone);
                let largest = alone.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
                let near = |(a, b): (&f32, &f32)| (a * rows as f32 - b).abs() <= 2e-6 * largest;
                assert!(grad[row.clone()].iter().zip(&alone).all(near), "{text} {rows}x{classes}");
            }
            let mean = sum / rows as f64;
            assert!((value - mean).abs() <= 1e-12 * mean.abs().max(1.0), "{text} {rows}x{classes}: {value} {mean}");
        }
    }
}

/// Where a slope is infinite and its factor 0 there is a limit, and it is what the loss says.
#[test]
fn slopes_of_zero_times_infinity_have_their_limits() {
    let at = |text: &str, logits: &[f32]| {
        let mut grad = vec![f32::NAN; logits.len()];
        (loss(text).value_and_gradient(logits, &[0], logits.len(), &mut grad), grad)
    };
    for text in [
        "x*(1 - y)^0*(-log(y))",
        "-x*(1 - y)^0.5*log(y)",
        "sqrt((x - y)^2)",
        "sqrt(square(x - y) + square(x - y))",
        "exp(-1/(1 - y)^2)",
    ] {
        for logits in [[0.0, -30.0, -31.0], [0.0, -300.0, -310.0], [0.0, 0.0, 0.0]] {
            let (value, grad) = at(text, &logits);
            assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{text} {logits:?}: {value} {grad:?}");
            check(&loss(text), &logits, 0).unwrap();
        }
    }
    // Two answers of the same row: the label is certain, then anything but.
    let binary = "-x*log(y) - (1 - x)*log(1 - y)";
    let (value, grad) = at(binary, &[0.0, -100.0]);
    assert!(value < 1e-37 && grad.iter().all(|g| g.abs() < 1e-37), "{value} {grad:?}");
    let (value, grad) = at(binary, &[-100.0, 0.0]);
    assert!(
        (value - 200.0).abs() < 1e-4 && (grad[0] + 2.0).abs() < 1e-6 && (grad[1] - 2.0).abs() < 1e-6,
        "{value} {grad:?}"
    );
}

#[test]
fn finite_logits_as_far_apart_as_can_be_give_no_nan() {
    for text in ["cross-entropy", "label-smoothing", "baikal", "poly-loss", "-x*log(y)", "-log(y)"] {
        for logits in [[3e38, -3e38], [-3e38, 3e38], [1.5e38, -1.5e38]] {
            let mut grad = [f32::NAN; 2];
            let value = loss(text).value_and_gradient(&logits, &[0], 2, &mut grad);
            assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{text} {logits:?}: {value} {grad:?}");
        }
    }
    assert_eq!(loss("cross-entropy").value(&[-3e38, 3e38], &[0], 2), f64::from(3e38f32) * 2.0);
}

#[test]
fn vector_widths_and_threads_do_not_change_a_bit() {
    let (rows, classes) = (20_000, 10);
    let logits: Vec<f32> = (0..rows * classes).map(|i| 9.0 * (i as f32 * 0.7).sin()).collect();
    let labels: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
    for text in ["baikal", "tanh(x - y)*log(y) + exp(y)/sqrt(y + n)"] {
        let loss = loss(text);
        let programs = loss.programs(classes);
        let kind = loss.fused.as_ref().map_or(Kind::Formula(&programs), Kind::Fused);
        let results = Level::all().iter().map(|&level| {
            let mut grad = vec![0.0; logits.len()];
            let slab = Slab { logits: &logits, labels: &labels, classes, scale: 1.0 };
            (tile::sum(level, kind, &slab, Some(&mut grad)), grad)
        });
        let results: Vec<_> = results.collect();
        assert!(results.windows(2).all(|w| w[0] == w[1]), "{text}");
        let threaded = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut grad = vec![0.0; logits.len()];
            (pool.install(|| loss.value_and_gradient(&logits, &labels, classes, &mut grad)), grad)
        });
        assert_eq!(threaded[0], threaded[1], "{text}");
    }
}

#[test]
fn extreme_logits_give_finite_results() {
    for text in ["cross-entropy", "baikal", "baikal-cma", "-x*log(y)", "-(log(y) - x/y)", "x/y - log(2*y)"] {
        for logits in [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4; 3], [-88.0, 0.0, 100.0]] {
            let mut grad = [f32::NAN; 3];
            let value = loss(text).value_and_gradient(&logits, &[0], 3, &mut grad);
            assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{text} {logits:?}: {value} {grad:?}");
        }
    }
}

#[test]
fn a_factor_of_zero_hides_nothing_that_is_undefined() {
    assert!(loss("x*log(y - 0.5)").value(&[0.0, 0.0, 0.0], &[0], 3).is_nan());
}

#[test]
fn bad_labels_and_numbers_are_named() {
    let logits = |v: Vec<f32>| shaped(&[1, 2], v);
    let target = |l: i64| shaped(&[1], vec![l]);
    for (inputs, message) in [
        (
            Inputs::new().with("logits", logits(vec![0.0, 1.0])).with("target", target(2)),
            "input 'target': label 2 at [0]; expected 0 to 1",
        ),
        (
            Inputs::new().with("logits", logits(vec![0.0, f32::NAN])).with("target", target(0)),
            "input 'logits': NaN at [0, 1]; every number must be finite",
        ),
    ] {
        assert_eq!(loss("baikal").evaluate(&inputs).unwrap_err().to_string(), message);
    }
}
