//! What works with f32 on this processor, in words.
//!
//! Results differ between processors in their last digits. The kernels fuse multiply and add with AVX-512 and AVX2, without
//! them they cannot; `gemm` sums some products across the lanes of its vectors, and long ones in parts that fit the
//! first-level cache; the C library chooses among exponentials and logarithms. No list of features says all that, so some
//! products and functions are worked out, and what comes of them is part of the name.

use std::sync::OnceLock;

use super::conv::{Conv, Packed, Scratch, Window};
use super::dense::{self, Products};
use super::simd;

/// The vectors of the kernels, and a checksum of what they and the functions of the C library make of fixed numbers: equal
/// where results are. Worked out once per process, in a few milliseconds.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| format!("f32 by {} ({:08x})", simd::vectors(), checksum()))
}

/// FNV-1a of the bits of all results, folded.
fn checksum() -> u32 {
    let results = products().into_iter().chain([convolution()]).flatten().map(|v| u64::from(v.to_bits()));
    let hash = results
        .chain(functions())
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, bits| (hash ^ bits).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

/// Numbers from -1 to 1 without a pattern.
fn numbers(count: usize) -> Vec<f32> {
    let one = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0;
    (1..=count as u32).map(one).collect()
}

/// Products of all the kinds that `gemm` tells apart: large and deep, few rows and columns, one row.
fn products() -> Vec<Vec<f32>> {
    let mut results = Vec::new();
    for (images, inputs, outputs) in [(80, 2_100, 96), (10, 1_500, 10), (1, 700, 33)] {
        let products = Products::new(images, inputs, outputs, None);
        let (input, weights) = (numbers(images * inputs), numbers(outputs * inputs));
        let (mut output, mut scratch) = (vec![0.0; images * outputs], dense::Scratch::default());
        products.forward(&input, &weights, &mut output, &mut scratch);
        let mut slopes = [vec![0.0; weights.len()], vec![0.0; input.len()]];
        products.backward_weights(&input, &output, &mut slopes[0], &mut scratch);
        products.backward_input(&output, &weights, &mut slopes[1], &mut scratch);
        results.push(output);
        results.extend(slopes);
    }
    results
}

fn convolution() -> Vec<f32> {
    let conv = Conv::new((9, 9, 3), 20, Window { kernel: 5, stride: 1, pad: 2 }, 0, None, 1);
    let (mut packed, mut scratch) = (Packed::default(), Scratch::default());
    conv.pack_forward(&numbers(conv.weights()), &mut packed, &mut scratch);
    let mut output = vec![0.0; conv.output.len()];
    conv.forward(1, &numbers(conv.input.len()), &packed, &numbers(20), false, &mut output, &mut scratch);
    output
}

/// The bits of what the C library's functions say.
fn functions() -> impl Iterator<Item = u64> {
    numbers(2_000).into_iter().flat_map(|x| {
        let (size, wide) = (x.abs(), f64::from(x));
        let double = [f64::exp, f64::exp_m1, f64::tanh, f64::sin, f64::cos].map(|f| f(20.0 * wide).to_bits());
        let positive = [f64::ln, f64::ln_1p, f64::exp2].map(|f| f(20.0 * wide.abs()).to_bits());
        let single = [f32::exp, f32::tanh, f32::sin, f32::cos].map(|f| u64::from(f(20.0 * x).to_bits()));
        let rest = [u64::from(size.ln().to_bits()), u64::from(size.powf(x).to_bits()), wide.abs().powf(wide).to_bits()];
        double.into_iter().chain(positive).chain(single).chain(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_vectors_and_is_always_the_same() {
        assert_eq!(format!("f32 by {} ({:08x})", simd::vectors(), checksum()), name());
        #[cfg(target_arch = "x86_64")]
        for (found, word) in
            [(is_x86_feature_detected!("avx512vl"), "AVX-512"), (is_x86_feature_detected!("fma"), "AVX")]
        {
            assert_eq!(name().contains(word), found, "{}", name());
        }
    }

    /// What the name is for: a sum of products by each of the vectors.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn fused_and_other_sums_differ_whatever_the_width() {
        use pulp::{Simd, WithSimd};

        struct Sum;
        impl WithSimd for Sum {
            type Output = f32;
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let mut sums = simd.splat_f32s(0.0);
                for x in numbers(300) {
                    sums = simd.mul_add_e_f32s(simd.splat_f32s(x), simd.splat_f32s(x), sums);
                }
                let mut lanes = [0.0; 64];
                S::as_mut_simd_f32s(&mut lanes).0[0] = sums;
                lanes[0]
            }
        }
        let plain = Simd::vectorize(pulp::Scalar::new(), Sum);
        let Some(v3) = pulp::x86::V3::try_new() else { return };
        let fused = Simd::vectorize(v3, Sum);
        assert_ne!(fused, plain);
        if let Some(v4) = pulp::x86::V4::try_new() {
            assert_eq!(Simd::vectorize(v4, Sum), fused);
        }
    }
}
