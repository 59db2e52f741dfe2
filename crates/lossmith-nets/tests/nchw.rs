//! Convolution in the frameworks' order against the naive one.

#![allow(clippy::unwrap_used)]

use lossmith_nets::nchw::Conv2d;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

fn assert_close(fast: &[f32], oracle: &[f64], what: &str) {
    assert_eq!(fast.len(), oracle.len(), "{what}");
    for (i, (f, o)) in fast.iter().zip(oracle).enumerate() {
        assert!((f64::from(*f) - o).abs() < 1e-4 * (1.0 + o.abs()), "{what}[{i}]: {f} is not {o}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn it_is_the_naive_one(
        n in 1..7usize, channels in 1..20usize, out in 1..20usize, height in 3..9usize, width in 3..9usize,
        kernel in 1..4usize, stride in 1..3usize, pad in 0..3usize,
    ) {
        prop_assume!(pad < kernel);
        let conv = Conv2d::new([n, channels, height, width], [out, channels, kernel, kernel], stride, pad).unwrap();
        let [_, _, oh, ow] = conv.output();
        let (input, weights) = (noise(1, n * channels * height * width), noise(2, out * channels * kernel * kernel));
        let (bias, gradient) = (noise(3, out), noise(4, n * out * oh * ow));
        let mut value: Vec<f64> = (0..gradient.len()).map(|i| f64::from(bias[i / (oh * ow) % out])).collect();
        let (mut d_input, mut d_weights) = (vec![0.0; input.len()], vec![0.0; weights.len()]);
        for at in 0..gradient.len() * channels * kernel * kernel {
            let (o, c, tap) = (at / (channels * kernel * kernel), at / (kernel * kernel) % channels, at % (kernel * kernel));
            let (image, filter, pixel) = (o / (out * oh * ow), o / (oh * ow) % out, o % (oh * ow));
            let y = (pixel / ow * stride + tap / kernel).wrapping_sub(pad);
            let x = (pixel % ow * stride + tap % kernel).wrapping_sub(pad);
            if y < height && x < width {
                let (i, w) = (((image * channels + c) * height + y) * width + x, (filter * channels + c) * kernel * kernel + tap);
                value[o] += f64::from(input[i]) * f64::from(weights[w]);
                d_input[i] += f64::from(gradient[o]) * f64::from(weights[w]);
                d_weights[w] += f64::from(gradient[o]) * f64::from(input[i]);
            }
        }
        let d_bias: Vec<f64> = (0..out)
            .map(|b| gradient.iter().enumerate().filter(|(i, _)| i / (oh * ow) % out == b).map(|(_, g)| f64::from(*g)).sum())
            .collect();
        assert_close(&conv.forward(&input, &weights, Some(&bias)), &value, "output");
        let found = conv.backward(&input, &weights, &gradient, true);
        assert_close(&found.input, &d_input, "gradient of the input");
        assert_close(&found.weights, &d_weights, "gradient of the weights");
        assert_close(&found.bias, &d_bias, "gradient of the bias");
        let less = conv.backward(&input, &weights, &gradient, false);
        prop_assert_eq!((less.input.len(), less.weights), (0, found.weights));
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let new = |input, weights, stride, pad| Conv2d::new(input, weights, stride, pad).is_ok();
    assert!(new([1, 2, 5, 5], [3, 2, 3, 3], 1, 1));
    assert!(!new([1, 2, 5, 5], [3, 1, 3, 3], 1, 1));
    assert!(!new([1, 2, 5, 5], [3, 2, 3, 2], 1, 1));
    assert!(!new([1, 2, 5, 5], [3, 2, 3, 3], 0, 1));
    assert!(!new([1, 2, 5, 5], [3, 2, 3, 3], 1, 3));
    assert!(!new([1, 2, 2, 2], [3, 2, 3, 3], 1, 0));
    assert!(!new([0, 2, 5, 5], [3, 2, 3, 3], 1, 1));
}
