//! Convolution and pooling against naive oracles, over sizes that meet every rim of the register tiles.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use lossmith_nets::kernel::conv::{Conv, Layout, Packed, Scratch, Window};
use lossmith_nets::kernel::pool::MaxPool;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Numbers in [-1, 1), from a seed.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// Copies images without margin into a layout.
fn place(layout: &Layout, images: &[f32]) -> Vec<f32> {
    let (pixels, c) = (layout.pixels(), layout.channels);
    let count = images.len() / (pixels * c);
    let mut buffer = vec![0.0; count * layout.len()];
    for (i, pixel) in images.chunks_exact(c).enumerate() {
        let (n, p) = (i / pixels, i % pixels);
        let at = n * layout.len() + layout.at(p / layout.width, p % layout.width);
        buffer[at..at + c].copy_from_slice(pixel);
    }
    buffer
}

/// Copies images out of a layout.
fn take(layout: &Layout, buffer: &[f32], count: usize) -> Vec<f32> {
    let pixel = |n: usize, p: usize| n * layout.len() + layout.at(p / layout.width, p % layout.width);
    let at = (0..count).flat_map(|n| (0..layout.pixels()).map(move |p| pixel(n, p)));
    at.flat_map(|at| buffer[at..at + layout.channels].to_vec()).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    height: usize,
    width: usize,
    channels: usize,
    out: usize,
    window: Window,
}

impl Case {
    /// Calls `f(n, output index, input index or none, weight index)` for each product of the convolution.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let Window { kernel, stride, pad } = self.window;
        let (oh, ow) = (self.window.count(self.height), self.window.count(self.width));
        for n in 0..self.images {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for (ky, kx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    let (y, x) = ((oy * stride + ky).wrapping_sub(pad), (ox * stride + kx).wrapping_sub(pad));
                    if y >= self.height || x >= self.width {
                        continue;
                    }
                    for i in 0..self.channels {
                        let input = ((n * self.height + y) * self.width + x) * self.channels + i;
                        for o in 0..self.out {
                            let output = ((n * oh + oy) * ow + ox) * self.out + o;
                            f(output, input, ((ky * kernel + kx) * self.channels + i) * self.out + o);
                        }
                    }
                }
            }
        }
    }
}

fn close(fast: &[f32], oracle: &[f64], what: &str) {
    assert_eq!(fast.len(), oracle.len(), "{what}");
    for (i, (f, o)) in fast.iter().zip(oracle).enumerate() {
        assert!((f64::from(*f) - o).abs() < 1e-4 * (1.0 + o.abs()), "{what}[{i}]: {f} is not {o}");
    }
}

/// A sum, and that of its terms' magnitudes, by which the error of any order of summing is judged.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    value: f64,
    size: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }

    fn positive(self) -> Self {
        Self { value: self.value.max(0.0), ..self }
    }
}

fn near(fast: &[f32], oracle: &[Sum], error: f64, what: &str) {
    assert_eq!(fast.len(), oracle.len(), "{what}");
    let largest = oracle.iter().map(|o| o.size).fold(1.0, f64::max);
    for (i, (f, o)) in fast.iter().zip(oracle).enumerate() {
        assert!((f64::from(*f) - o.value).abs() < error * largest, "{what}[{i}]: {f} is not {o:?}");
    }
}

fn check(case: Case) {
    let Case { images, height, width, channels, out, window } = case;
    let inner = Some(Layout::padded(height, width, channels, 1));
    let conv = Conv::new((height, width, channels), out, window, 2, inner, images);
    // Tiles lose most in the gradient of the weights, where they mix sums of few terms with their neighbours' of many.
    let error = if conv.by_tiles() { 1e-5 } else { 1e-6 };
    let outputs = images * conv.output.pixels() * out;
    let input = noise(1, images * height * width * channels);
    let (weights, bias, gradient) = (noise(2, conv.weights()), noise(3, out), noise(4, outputs));

    let mut value = vec![Sum::default(); outputs];
    value.iter_mut().zip(bias.iter().cycle()).for_each(|(v, b)| v.add(f64::from(*b)));
    let (mut d_input, mut d_weights) = (vec![Sum::default(); input.len()], vec![Sum::default(); weights.len()]);
    case.each(|o, i, w| {
        value[o].add(f64::from(input[i]) * f64::from(weights[w]));
        d_input[i].add(f64::from(gradient[o]) * f64::from(weights[w]));
        d_weights[w].add(f64::from(gradient[o]) * f64::from(input[i]));
    });
    let d_bias: Vec<f64> =
        (0..out).map(|o| gradient.iter().skip(o).step_by(out).map(|g| f64::from(*g)).sum()).collect();

    let (mut packed, mut scratch) = (Packed::default(), Scratch::default());
    conv.pack_forward(&weights, &mut packed, &mut scratch);
    let (laid_input, mut laid_output) = (place(&conv.input, &input), vec![0.0; images * conv.output.len()]);
    conv.forward(images, &laid_input, &packed, &bias, false, &mut laid_output, &mut scratch);
    near(&take(&conv.output, &laid_output, images), &value, error, "output");
    let inside: f32 = take(&conv.output, &laid_output, images).iter().map(|v| v.abs()).sum();
    assert!((laid_output.iter().map(|v| v.abs()).sum::<f32>() - inside).abs() <= 1e-4 * inside, "margin written");

    conv.forward(images, &laid_input, &packed, &bias, true, &mut laid_output, &mut scratch);
    let positive: Vec<Sum> = value.into_iter().map(Sum::positive).collect();
    near(&take(&conv.output, &laid_output, images), &positive, error, "relu of the output");

    let laid_gradient = place(&conv.gradient, &gradient);
    let mut laid = vec![0.0; images * conv.input_gradient.len()];
    conv.pack_backward(&weights, &mut packed, &mut scratch);
    conv.backward_input(images, &laid_gradient, &packed, &mut laid, &mut scratch);
    near(&take(&conv.input_gradient, &laid, images), &d_input, error, "gradient of the input");

    let (mut fast_weights, mut fast_bias) = (vec![1.0; weights.len()], vec![0.0; out]);
    conv.backward_weights(
        images,
        &laid_input,
        &laid_gradient,
        false,
        (&mut fast_weights, &mut fast_bias),
        &mut scratch,
    );
    d_weights.iter_mut().for_each(|w| w.add(1.0));
    near(&fast_weights, &d_weights, error, "gradient of the weights, added to 1");
    let fast_bias: Vec<f32> = fast_bias.iter().map(|b: &f64| *b as f32).collect();
    close(&fast_bias, &d_bias, "gradient of the bias");
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..4usize, 1..9usize, 1..9usize, 1..8usize);
    let outs = prop_oneof![1..20usize, Just(32), Just(64), Just(70), Just(97)];
    let windows = (1..6usize, 1..4usize).prop_flat_map(|(k, s)| (Just(k), Just(s), 0..k));
    (sizes, outs, windows).prop_filter_map("no window fits", |((images, height, width, channels), out, w)| {
        let window = Window { kernel: w.0, stride: w.1, pad: w.2 };
        let fits = window.count(height) * window.count(width) > 0;
        fits.then_some(Case { images, height, width, channels, out, window })
    })
}

/// Sizes that meet every rim of the tiles and of the register tiles.
fn cases_by_tiles() -> impl Strategy<Value = Case> {
    let channels = || prop_oneof![Just(16), Just(33), 12..40usize];
    (1..4usize, 4..12usize, 4..12usize, channels(), channels(), prop_oneof![Just(3), Just(5)], 0..3usize)
        .prop_filter_map("the direct sum is less work", |(images, height, width, channels, out, kernel, pad)| {
            let window = Window { kernel, stride: 1, pad };
            let fits = window.count(height) * window.count(width) > 0;
            let case = Case { images, height, width, channels, out, window };
            (fits && Conv::new((height, width, channels), out, window, 0, None, 1).by_tiles()).then_some(case)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn convolution_is_the_naive_one(case in cases()) {
        check(case);
    }

    #[test]
    fn convolution_by_tiles_is_the_naive_one(case in cases_by_tiles()) {
        check(case);
    }

    #[test]
    fn pooling_is_the_naive_one(
        images in 1..3usize, height in 2..9usize, width in 2..9usize, channels in 1..20usize,
        kernel in 2..4usize, stride in 1..4usize, relu: bool, seed: u64,
    ) {
        let window = Window { kernel, stride, pad: 0 };
        prop_assume!(window.count(height) * window.count(width) > 0);
        let (layout, inner) = (Layout::padded(height, width, channels, 1), Layout::padded(height, width, channels, 2));
        let pool = MaxPool::new(layout, window, relu, 1, inner);
        // Few different values, so that ties are met.
        let input: Vec<f32> = noise(seed, images * height * width * channels).iter().map(|v| (v * 3.0).round() + 0.0).collect();
        let (oh, ow) = (pool.output.height, pool.output.width);
        let gradient = noise(seed ^ 1, images * oh * ow * channels);

        let (mut value, mut d_input) = (Vec::new(), vec![0.0f64; input.len()]);
        for (i, g) in gradient.iter().enumerate() {
            let (c, p, n) = (i % channels, i / channels % (oh * ow), i / channels / (oh * ow));
            let at = |t: usize| {
                let (y, x) = (p / ow * stride + t / kernel, p % ow * stride + t % kernel);
                ((n * height + y) * width + x) * channels + c
            };
            let first = (0..kernel * kernel).rev().max_by(|a, b| input[at(*a)].total_cmp(&input[at(*b)])).unwrap();
            let most = input[at(first)];
            value.push(f64::from(if relu { most.max(0.0) } else { most }));
            if !relu || most > 0.0 {
                d_input[at(first)] += f64::from(*g);
            }
        }

        let (mut output, mut places) = (vec![0.0; images * pool.output.len()], vec![0; images * pool.places()]);
        pool.forward(images, &place(&layout, &input), &mut output, &mut places);
        close(&take(&pool.output, &output, images), &value, "output");
        let mut laid = vec![0.0; images * inner.len()];
        pool.backward(images, &place(&pool.output, &gradient), &output, &places, &mut laid);
        close(&take(&inner, &laid, images), &d_input, "gradient of the input");
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let conv = Conv::new((3, 3, 1), 2, Window { kernel: 3, stride: 1, pad: 1 }, 0, None, 1);
    let (mut packed, mut scratch) = (Packed::default(), Scratch::default());
    conv.pack_forward(&noise(1, conv.weights()), &mut packed, &mut scratch);
    let mut input = vec![0.0; conv.input.len()];
    input[conv.input.at(1, 1)] = f32::NAN;
    let mut output = vec![0.0; conv.output.len()];
    conv.forward(1, &input, &packed, &[0.0; 2], true, &mut output, &mut scratch);
    assert!(output.iter().all(|v| v.is_nan()));

    let pool = MaxPool::new(conv.output, Window { kernel: 2, stride: 1, pad: 0 }, true, 0, conv.output);
    let mut pooled = vec![0.0; pool.output.len()];
    output[1..].fill(1.0);
    pool.forward(1, &output, &mut pooled, &mut vec![0; pool.places()]);
    assert!(pooled[0].is_nan() && pooled[1..].iter().all(|v| *v == 1.0));
}
