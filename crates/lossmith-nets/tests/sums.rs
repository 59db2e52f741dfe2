//! Sums over very many rows, pixels and classes against f64. Products of matrices, which sum in f32, are not among them.

#![allow(clippy::unwrap_used)]

use lossmith_nets::kernel::conv::{Conv, Scratch, Window};
use lossmith_nets::kernel::{dense, softmax};
use lossmith_nets::nchw::Conv2d;

/// Positive numbers without a pattern, about 0.1.
fn numbers(count: usize) -> Vec<f32> {
    (1..=count as u32).map(|i| 0.05 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 * 6e-9).collect()
}

fn near(found: f32, wanted: f64, what: &str) {
    assert!((f64::from(found) - wanted).abs() <= 1e-6 * wanted.abs(), "{what}: {found:e}, not {wanted:e}");
}

#[test]
fn biases_of_a_dense_layer() {
    for (rows, outputs) in [(1_000_000, 3), (20_000, 70)] {
        let gradient = numbers(rows * outputs);
        let mut bias = vec![0.0; outputs];
        dense::sum_rows(&gradient, &mut bias);
        for (output, found) in bias.iter().enumerate() {
            let wanted: f64 = gradient.iter().skip(output).step_by(outputs).map(|g| f64::from(*g)).sum();
            near(*found, wanted, "dense");
        }
    }
}

#[test]
fn biases_of_a_convolution() {
    let (side, images, out) = (300, 12, 2);
    let window = Window { kernel: 1, stride: 1, pad: 0 };
    let conv = Conv::new((side, side, 1), out, window, 0, None, images);
    let gradient = numbers(images * side * side * out);
    let sum = |of: &dyn Fn(usize) -> usize, o: usize| -> f64 {
        (0..gradient.len()).filter(|i| of(*i) == o).map(|i| f64::from(gradient[i])).sum()
    };
    let input = vec![0.0; images * side * side];
    let (mut weights, mut bias) = (vec![0.0; out], vec![0.0; out]);
    let sums = (&mut weights[..], &mut bias[..]);
    conv.backward_weights(images, &input, &gradient, true, sums, &mut Scratch::default());
    for (o, found) in bias.iter().enumerate() {
        near(*found as f32, sum(&|i| i % out, o), "channels last");
    }
    let conv = Conv2d::new([images, 1, side, side], [out, 1, 1, 1], 1, 0).unwrap();
    for (o, found) in conv.backward(&input, &[0.0; 2], &gradient, false).bias.iter().enumerate() {
        near(*found, sum(&|i| i / (side * side) % out, o), "channels first");
    }
}

#[test]
fn log_probabilities() {
    for (classes, ahead, behind) in [(50_257, 0.0f32, -17.0f32), (250_000, 0.0, -17.0), (1_000_000, 1e4, 1e4 - 30.0)] {
        let mut logits = vec![behind; classes];
        logits[3] = ahead;
        let mut output = vec![0.0; classes];
        softmax::log_softmax(&logits, classes, &mut output);
        let gap = f64::from(behind) - f64::from(ahead);
        let log = -((classes - 1) as f64 * gap.exp()).ln_1p();
        near(output[3], log, "the class ahead");
        near(output[5], gap + log, "a class behind");
    }
    let mut output = [0.0; 3];
    softmax::log_softmax(&[3e38, -3e38, 3e38], 3, &mut output);
    near(output[0], 0.5f64.ln(), "the ends of f32");
    assert!(output[1] == f32::NEG_INFINITY || output[1] < -3e38);
    softmax::log_softmax(&[f32::NAN, 1.0, 2.0], 3, &mut output);
    assert!(output.iter().all(|v| v.is_nan()));
}
