//! Class losses and elementary losses against PyTorch; `fixtures/class_and_pointwise.py` made the values. And what is
//! known of Baikal exactly.

// Published figures are written as they are printed.
#![allow(clippy::unwrap_used, clippy::approx_constant)]

use lossmith::loss::{Array, ClassLoss, Inputs, Spec};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/class_and_pointwise.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn singles(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|v| v as f32).collect()
}

fn array<T: Clone>(shape: &[usize], numbers: Vec<T>) -> Array
where
    Array: From<ndarray::ArrayD<T>>,
{
    ndarray::ArrayD::from_shape_vec(shape.to_vec(), numbers).unwrap().into()
}

fn check(reference: &Value, inputs: &Inputs) {
    let name = reference["loss"].as_str().unwrap();
    let ours = Spec::parse(name).unwrap().build().unwrap().evaluate(inputs).unwrap();
    let value = reference["value"].as_f64().unwrap();
    assert!((ours.value - value).abs() <= 2e-6 * value.abs(), "{name}: {} and {value}", ours.value);
    let gradient = numbers(&reference["gradient"]);
    let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    for (a, b) in ours.grad.iter().zip(&gradient) {
        assert!((f64::from(*a) - b).abs() <= 2e-6 * largest, "{name}: {a} and {b}");
    }
}

#[test]
fn class_losses_are_those_of_pytorch() {
    let fixture = fixture();
    let (logits, labels) = (singles(&fixture["logits"]), numbers(&fixture["labels"]));
    let labels: Vec<i64> = labels.into_iter().map(|l| l as i64).collect();
    let shape = [labels.len(), fixture["classes"].as_u64().unwrap() as usize];
    let inputs = Inputs::new().with("logits", array(&shape, logits)).with("target", array(&shape[..1], labels));
    fixture["class"].as_array().unwrap().iter().for_each(|reference| check(reference, &inputs));
}

#[test]
fn elementary_losses_are_those_of_pytorch() {
    let fixture = fixture();
    let [prediction, target] = ["prediction", "target"].map(|name| singles(&fixture[name]));
    let shape = [target.len()];
    let inputs = Inputs::new().with("prediction", array(&shape, prediction)).with("target", array(&shape, target));
    fixture["pointwise"].as_array().unwrap().iter().for_each(|reference| check(reference, &inputs));
}

/// Value and gradient where the label has probability `y` and all others share the rest.
fn at(loss: &str, classes: usize, y: f64) -> (f64, Vec<f32>) {
    let loss = ClassLoss::from_spec(&Spec::parse(loss).unwrap()).unwrap();
    let mut logits = vec![((1.0 - y) / (classes - 1) as f64).ln() as f32; classes];
    logits[0] = y.ln() as f32;
    let mut gradient = vec![0.0; classes];
    (loss.value_and_gradient(&logits, &[0], classes, &mut gradient), gradient)
}

#[test]
fn baikal_is_least_where_it_must_be() {
    // y* = (-(r - 1) + sqrt((r - 1)^2 + 4 C r)) / (2 C): r = 1 for Baikal, c3 c4/(c1 c5) for BaikalCMA.
    for (classes, baikal, cma) in [(2, 0.707_107, 0.771_946), (10, 0.316_228, 0.389_077), (100, 0.1, 0.131_545)] {
        for (loss, y) in [("baikal", baikal), ("baikal-cma", cma)] {
            let (least, gradient) = at(loss, classes, y);
            assert!(gradient.iter().all(|g| g.abs() < 2e-5), "{loss}, {classes} classes: {gradient:?}");
            assert!(at(loss, classes, y * 1.05).0 > least && at(loss, classes, y * 0.95).0 > least);
        }
    }
}

#[test]
fn baikal_of_two_classes_draws_the_published_curves() {
    for (y, log, baikal, cma) in [
        (0.01, 2.3026, 52.3076, 252.7226),
        (0.10, 1.1513, 6.2040, 26.8527),
        (0.25, 0.6931, 2.8370, 11.0053),
        (0.50, 0.3466, 1.6931, 5.6650),
        (0.7071, 0.1733, 1.4944, 4.4674),
        (0.75, 0.1438, 1.5037, 4.4008),
        (0.771_946, 0.1294, 1.5162, 4.3918),
        (0.90, 0.0527, 1.7595, 4.8379),
        (0.99, 0.0050, 2.8127, 7.5571),
        (0.999, 0.0005, 3.9549, 10.6199),
    ] {
        // The published log loss carries the factor 1/n, too.
        for (loss, value) in [("-x*log(y)/n", log), ("baikal", baikal), ("baikal-cma", cma)] {
            let ours = at(loss, 2, y).0;
            assert!((ours - value).abs() < 6e-5 + 1e-5 * value, "{loss} at {y}: {ours}, not {value}");
        }
    }
}
