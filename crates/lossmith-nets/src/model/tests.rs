//! The gradient of a network with bf16 operands, by each unit that can be tried here.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernel::bf16::Unit;

const SHAPE: Shape = Shape { height: 8, width: 8, channels: 1 };

/// Convolutions directly, by tiles and by positions, and dense layers large and small.
fn layers() -> Vec<Layer> {
    let conv = |out| Layer::Conv { out, kernel: 3, stride: 1, pad: 1 };
    // No maximum: which of two near values is larger may change.
    let halve = Layer::Conv { out: 24, kernel: 3, stride: 2, pad: 1 };
    let dense = [Layer::Dense { out: 40 }, Layer::Relu];
    let features = [conv(18), Layer::Relu, conv(34), Layer::Relu, halve, halve, conv(22), Layer::Relu];
    [features.as_slice(), &dense].concat()
}

fn images() -> Dataset {
    let pixels: Vec<u8> = (0..37 * 64_u32).map(|i| (i * i % 251 + i % 5) as u8).collect();
    let labels: Vec<u8> = (0..37).map(|i| i % 3).collect();
    Dataset::new(SHAPE, 3, &pixels, &labels, &[(0.5, 0.25)]).unwrap()
}

/// A loss whose gradients, all of one sign, do not cancel.
fn weighted(logits: &[f32], _: &[u32], _: usize, gradient: &mut [f32]) -> f64 {
    let weight = |i: usize| 1.0 + (i % 5) as f32 / 4.0;
    gradient.iter_mut().enumerate().for_each(|(i, g)| *g = weight(i));
    logits.iter().enumerate().map(|(i, z)| f64::from(weight(i) * z)).sum()
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}

#[test]
fn gradients_with_bf16_operands_are_near_those_in_f32() {
    let mut model = Model::new(&layers(), SHAPE, 3, 5).unwrap();
    let (value, wanted) = model.gradient(&images(), &weighted).unwrap();
    let units: Vec<Unit> = [Some(Unit::Model), Unit::detect()].into_iter().flatten().collect();
    let gradients = units.iter().map(|unit| {
        model.network.multiplying_by(Some(*unit));
        let (rounded, gradient) = model.gradient(&images(), &weighted).unwrap();
        assert!(rounded != value && (rounded - value).abs() < 0.05 * value.abs(), "{unit}: {rounded} {value}");
        for (found, wanted) in gradient.iter().zip(&wanted) {
            let away = norm(found.values.iter().zip(&wanted.values).map(|(a, b)| a - b));
            let size = norm(wanted.values.iter().copied());
            // 2 % a convolution by tiles, and units of ReLU that turn.
            assert!(away < 0.12 * size, "{unit}: {}: {away:e} of {size:e}", wanted.name);
        }
        gradient
    });
    // Units differ in the order of their sums, but what that changes is rounded again.
    let gradients: Vec<Weights> = gradients.collect();
    for other in &gradients[1..] {
        for (a, b) in gradients[0].iter().zip(other) {
            let away = norm(a.values.iter().zip(&b.values).map(|(a, b)| a - b));
            assert!(away < 0.1 * norm(a.values.iter().copied()), "{}: {away:e}", a.name);
        }
    }
}

#[test]
fn what_is_small_stays_in_f32() {
    let layers = [Layer::Dense { out: 31 }, Layer::Relu];
    let mut model = Model::new(&layers, SHAPE, 3, 5).unwrap();
    let wanted = model.gradient(&images(), &weighted).unwrap();
    model.network.multiplying_by(Some(Unit::Model));
    assert_eq!(model.gradient(&images(), &weighted).unwrap(), wanted);
}
