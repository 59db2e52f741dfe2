use ndarray::{Array3, Array4, ArrayD, IxDyn};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::loss::Spec;

/// The paper's loss by its formula, in f64, pixel by pixel.
fn oracle(x: &Array4<f32>, labels: &Array3<i64>, delta_v: f64, delta_d: f64) -> f64 {
    let (images, channels, height, width) = x.dim();
    let mut total = 0.0;
    for b in 0..images {
        let mut clusters: std::collections::BTreeMap<i64, Vec<Vec<f64>>> = Default::default();
        for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
            if labels[[b, i, j]] > 0 {
                let pixel = (0..channels).map(|e| f64::from(x[[b, e, i, j]])).collect();
                clusters.entry(labels[[b, i, j]]).or_default().push(pixel);
            }
        }
        let norm = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let mean = |p: &[Vec<f64>]| -> Vec<f64> {
            (0..channels).map(|e| p.iter().map(|v| v[e]).sum::<f64>() / p.len() as f64).collect()
        };
        let centres: Vec<Vec<f64>> = clusters.values().map(|p| mean(p)).collect();
        let count = centres.len() as f64;
        for (pixels, mu) in clusters.values().zip(&centres) {
            let pull: f64 = pixels.iter().map(|x| (norm(x, mu) - delta_v).max(0.0).powi(2)).sum();
            total += pull / pixels.len() as f64 / count + 0.001 * norm(mu, &vec![0.0; channels]) / count;
            for other in centres.iter().filter(|o| !std::ptr::eq(*o, mu)) {
                total += (2.0 * delta_d - norm(mu, other)).max(0.0).powi(2) / (count * (count - 1.0));
            }
        }
    }
    total / images as f64
}

#[derive(Deserialize)]
struct Fixture {
    shape: Vec<usize>,
    embedding: Vec<f32>,
    labels: Vec<i64>,
    classes: Vec<i64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    spec: String,
    classes: bool,
    value: f64,
    parts: std::collections::BTreeMap<String, f64>,
    grad: Vec<f64>,
}

#[test]
fn agrees_with_pytorch() {
    let f: Fixture = serde_json::from_str(include_str!("../../../tests/fixtures/discriminative.json")).unwrap();
    let labels_shape = [f.shape[0], f.shape[2], f.shape[3]];
    let inputs = Inputs::new()
        .with("embedding", ArrayD::from_shape_vec(IxDyn(&f.shape), f.embedding).unwrap())
        .with("labels", ArrayD::from_shape_vec(IxDyn(&labels_shape), f.labels).unwrap());
    let classed = inputs.clone().with("classes", ArrayD::from_shape_vec(IxDyn(&labels_shape), f.classes).unwrap());
    for case in &f.cases {
        let loss = Spec::parse(&case.spec).unwrap().build().unwrap();
        let found = loss.evaluate(if case.classes { &classed } else { &inputs }).unwrap();
        let what = format!("{} with classes: {}", case.spec, case.classes);
        assert!((found.value - case.value).abs() < 1e-6 * case.value, "{what}: {} {}", found.value, case.value);
        for (name, part) in &found.parts {
            assert!((part - case.parts[*name]).abs() < 1e-6, "{what}: {name}");
        }
        for (ours, theirs) in found.grad.iter().zip(&case.grad) {
            assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{what}: {ours} {theirs}");
        }
    }
}

fn small(x: [f32; 8], labels: [i64; 4]) -> (Array4<f32>, Array3<i64>) {
    // Given pixel by pixel; stored channel by channel.
    let rows: Vec<f32> = (0..2).flat_map(|e| x.into_iter().skip(e).step_by(2)).collect();
    (Array4::from_shape_vec((1, 2, 1, 4), rows).unwrap(), Array3::from_shape_vec((1, 1, 4), labels.to_vec()).unwrap())
}

fn evaluate(loss: &Discriminative, x: &Array4<f32>, labels: &Array3<i64>) -> Evaluation {
    loss.value_and_gradient(x.view(), labels.view(), None).unwrap()
}

#[test]
fn value_and_gradient_by_hand() {
    let (x, labels) = small([0., 0., 1., 0., 0., 1., 0., 3.], [1, 1, 2, 2]);
    let found = evaluate(&Discriminative::default(), &x, &labels);
    assert!((found.value - 1.0069331231470182).abs() < 1e-9);
    let expected_parts = [("var", 0.125), ("dist", 0.8806831231470184), ("reg", 1.25)];
    for (part, expected) in found.parts.iter().zip(expected_parts) {
        assert!(part.0 == expected.0 && (part.1 - expected.1).abs() < 1e-9, "{part:?} {expected:?}");
    }
    let rows = [-0.2273568751, -0.2273568751, 0.2276068751, 0.2276068751];
    let columns = [0.9104275004, 0.9104275004, -1.1601775004, -0.6601775004];
    for (g, e) in found.grad.iter().zip(rows.iter().chain(&columns)) {
        assert!((f64::from(*g) - e).abs() < 1e-7, "{g} {e}");
    }
}

#[test]
fn corners_are_finite() {
    let loss = Discriminative { background_weight: 1.0, ..Discriminative::default() };
    let (x, none) = small([0.; 8], [0; 4]);
    let empty = evaluate(&loss, &x, &none);
    assert_eq!((empty.value, empty.grad.iter().any(|g| *g != 0.0)), (0.0, false));

    // One instance: no push.
    let (x, one) = small([0., 0., 4., 0., 0., 0., 4., 0.], [5; 4]);
    let found = evaluate(&Discriminative::default(), &x, &one);
    assert_eq!(found.parts, [("var", 2.25), ("dist", 0.0), ("reg", 2.0)]);

    // Coincident centres at the origin, and pixels on their centre.
    let (x, two) = small([0.; 8], [1, 1, 2, 0]);
    let found = evaluate(&loss, &x, &two);
    assert_eq!(found.parts, [("var", 0.0), ("dist", 9.0), ("reg", 0.0), ("background", 2.25)]);
    assert!(found.grad.iter().all(|g| *g == 0.0), "{:?}", found.grad);

    // The authors leave out instances of one pixel: then a single one is left, and its var is not divided.
    let (x, two) = small([0., 0., 4., 0., 9., 0., 7., 7.], [1, 1, 2, 0]);
    let authors = Discriminative { normalisation: Normalisation::Authors, ..Discriminative::default() };
    assert_eq!(evaluate(&authors, &x, &two).parts, [("var", 2.25), ("dist", 0.0), ("reg", 0.0)]);
}

#[test]
fn bad_input_is_named() {
    let (mut x, mut labels) = small([0.; 8], [1, 1, 2, 0]);
    let loss = Discriminative::default();
    let error =
        |x: &Array4<f32>, l: &Array3<i64>| loss.value_and_gradient(x.view(), l.view(), None).unwrap_err().to_string();
    let wide = Array3::zeros((1, 1, 5));
    assert_eq!(error(&x, &wide), "input 'labels': expected shape [1, 1, 4] as the embedding's, found [1, 1, 5]");
    assert!(error(&Array4::zeros((0, 2, 1, 4)), &labels).contains("at least one image"));
    // Background counts too: it would hide a network that has diverged.
    x[[0, 1, 0, 3]] = f32::NAN;
    assert_eq!(error(&x, &labels), "input 'embedding': NaN at [0, 1, 0, 3]; every number must be finite");
    labels[[0, 0, 2]] = -1;
    assert_eq!(
        error(&x, &labels),
        "input 'labels': -1 at [0, 0, 2]; expected 0 for background or a positive instance id"
    );
    for (spec, part) in [
        ("discriminative(pull=\"d\", delta_v=1)", "one of the two"),
        ("discriminative(push=\"d\", delta_d=1)", "one of the two"),
        ("discriminative(pull=\"x\")", "unknown name 'x'"),
        ("discriminative(delta_v=-1)", "from 0"),
    ] {
        let error = Spec::parse(spec).and_then(|s| s.build()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn published_kernels_equal_their_formulas() {
    let text = "discriminative(pull=\"max(d - 0.5, 0)^2\", push=\"max(3 - d, 0)^2\", regularise=\"d\")";
    let by_formula = Spec::parse(text).unwrap().build().unwrap();
    let by_hand = Spec::parse("discriminative").unwrap().build().unwrap();
    let inputs = (ENTRY.example)(3);
    let (a, b) = (by_formula.evaluate(&inputs).unwrap(), by_hand.evaluate(&inputs).unwrap());
    assert!((a.value - b.value).abs() < 1e-6);
    assert!(a.grad.iter().zip(&b.grad).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (height, width) = (90, 70);
    let labels = Array3::from_shape_fn((1, height, width), |(_, i, j)| ((i / 13) * 7 + j / 11) as i64 % 23);
    let x =
        Array4::from_shape_fn((1, 5, height, width), |(_, e, i, j)| ((e * 7 + i * 31 + j * 17) % 101) as f32 * 0.05);
    let loss = Discriminative { background_weight: 0.5, ..Discriminative::default() };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&loss, &x, &labels))
    };
    let one = with(1);
    assert_eq!(one, with(3));
    // More than one block of pixels, so that sums over blocks are tested too.
    let plain = evaluate(&Discriminative::default(), &x, &labels).value;
    assert!((plain - oracle(&x, &labels, 0.5, 1.5)).abs() < 1e-6 * plain);
}

#[test]
fn zero_loss_means_that_a_threshold_around_any_pixel_finds_the_instances() {
    // Within delta_v of the centre, centres 2 delta_d apart: same-cluster pairs are at most 1, others at least 2 away.
    let (x, labels) = small([0., 0.5, 0., -0.5, 3., 0.5, 3., -0.5], [1, 1, 2, 2]);
    let loss = Discriminative { gamma: 0.0, ..Discriminative::default() };
    let found = evaluate(&loss, &x, &labels);
    assert_eq!(found.value, 0.0);
    for (p, q) in (0..4).flat_map(|p| (0..4).map(move |q| (p, q))) {
        let away = (0..2).map(|e| (x[[0, e, 0, p]] - x[[0, e, 0, q]]).powi(2)).sum::<f32>().sqrt();
        assert_eq!(away < 1.5, labels[[0, 0, p]] == labels[[0, 0, q]]);
    }
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(
        (labels, x) in (1usize..9, 1usize..9, 1usize..4).prop_flat_map(|(h, w, e)| (
            prop::collection::vec(0i64..5, h * w).prop_map(move |l| Array3::from_shape_vec((1, h, w), l).unwrap()),
            prop::collection::vec(-3f32..3.0, e * h * w).prop_map(move |x| Array4::from_shape_vec((1, e, h, w), x).unwrap()),
        )),
    ) {
        let value = evaluate(&Discriminative::default(), &x, &labels).value;
        prop_assert!((value - oracle(&x, &labels, 0.5, 1.5)).abs() < 1e-5 * (1.0 + value));
    }
}
