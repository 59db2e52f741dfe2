//! Products against f64, rounding against its definition, the model of tiles, and the machine code of tiles where there is AMX.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::product::LANES;
use super::tiles::{Model, ROWS, TILE_ROWS, Tile, TileUnit, dot_products};
use super::*;
use crate::kernel::conv::{self, Conv, Layout, Packed, Window};

/// The units that can be tried here.
fn units() -> Vec<Unit> {
    let mut units = vec![Unit::Model];
    #[cfg(target_arch = "x86_64")]
    {
        units.extend(round::in_hardware().then_some(Unit::Dots));
        units.extend(tiles_x86::permitted().then_some(Unit::Tiles));
    }
    units
}

/// Values of both signs and many sizes, from a seed.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * 4.0_f32.powi((next() * 3.0) as i32)).collect()
}

/// A matrix that may be read along either of its sides: line by line, `gap` values between.
struct Lines {
    values: Vec<f32>,
    lines: usize,
    depth: usize,
    by_lines: bool,
    starts: Vec<usize>,
}

impl Lines {
    fn new(lines: usize, depth: usize, by_lines: bool, seed: u64) -> Self {
        let (count, size) = if by_lines { (lines, depth) } else { (depth, lines) };
        let pitch = size + 3;
        Self {
            values: values(count * pitch, seed),
            lines,
            depth,
            by_lines,
            starts: (0..count).map(|i| i * pitch).collect(),
        }
    }

    fn side(&self) -> Side<'_> {
        let (values, starts) = (&*self.values, &*self.starts);
        if self.by_lines { Side::Lines { values, starts } } else { Side::Depths { values, starts } }
    }

    fn at(&self, line: usize, k: usize) -> f64 {
        let (start, rest) = if self.by_lines { (line, k) } else { (k, line) };
        f64::from(widen(round(self.values[self.starts[start] + rest])))
    }

    /// The same numbers, row by row along the depth, as a right side is packed.
    fn packed(&self) -> Panels {
        let rows = (0..self.depth).flat_map(|k| (0..self.lines).map(move |i| (i, k)));
        let values: Vec<f32> = rows.map(|(i, k)| self.at(i, k) as f32).collect();
        let mut panels = Panels::default();
        panels.pack(&values, self.lines);
        panels
    }
}

/// The largest error of a product, in units of the sum of magnitudes.
fn error(unit: Unit, left: &Lines, right: &Lines, packed: bool, begin: usize, relu: bool) -> f64 {
    let (rows, columns, depth) = (left.lines, right.lines, left.depth);
    let (bias, old) = (values(columns, 3), values(rows * (columns + 2), 4));
    let places: Vec<usize> = (0..rows).map(|r| r * (columns + 2)).collect();
    let mut found = old.clone();
    let start = [Start::Zero, Start::Bias(&bias), Start::Old][begin];
    let panels = right.packed();
    let side = if packed { Right::Packed(&panels, 0) } else { Right::Side(right.side()) };
    let target = Target { values: &mut found, places: &places, columns, start, relu };
    multiply(unit, left.side(), side, depth, target, &mut Scratch::default());
    let mut worst: f64 = 0.0;
    for (r, place) in places.iter().enumerate() {
        for c in 0..columns {
            let first = [0.0, f64::from(bias[c]), f64::from(old[place + c])][begin];
            let products = (0..depth).map(|k| left.at(r, k) * right.at(c, k));
            let (sum, size) = products.fold((first, first.abs()), |(s, m), p| (s + p, m + p.abs()));
            let expected = if relu { sum.max(0.0) } else { sum };
            worst = worst.max((f64::from(found[place + c]) - expected).abs() / size.max(1e-30));
        }
        assert_eq!(found[place + columns..place + columns + 2], old[place + columns..place + columns + 2]);
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_rounded_operands(
        rows in 1_usize..110, columns in 1_usize..140, depth in 1_usize..300,
        left_by_lines: bool, right_by_lines: bool, packed: bool, begin in 0_usize..3, relu: bool, seed: u64,
    ) {
        let left = Lines::new(rows, depth, left_by_lines, seed);
        let right = Lines::new(columns, depth, right_by_lines, seed ^ 1);
        for unit in units() {
            let worst = error(unit, &left, &right, packed, begin, relu);
            prop_assert!(worst < 2e-6, "{unit}: {worst:e}");
        }
    }
}

#[test]
fn many_blocks_of_rows_and_depth() {
    for by_lines in [true, false] {
        let (left, right) = (Lines::new(1_100, 601, by_lines, 5), Lines::new(49, 601, by_lines, 6));
        for unit in units() {
            let worst = error(unit, &left, &right, false, 1, true);
            assert!(worst < 2e-6, "{unit}: {worst:e}");
        }
    }
}

#[test]
fn a_packed_side_is_read_from_any_word() {
    let (left, right) = (Lines::new(7, 20, true, 1), Lines::new(40, 50, false, 2));
    let panels = right.packed();
    for unit in units() {
        let mut found = vec![0.0; 7 * 40];
        let places: Vec<usize> = (0..7).map(|r| r * 40).collect();
        let target = Target { values: &mut found, places: &places, columns: 40, start: Start::Zero, relu: false };
        multiply(unit, left.side(), Right::Packed(&panels, 9), 20, target, &mut Scratch::default());
        let expected: f64 = (0..20).map(|k| left.at(6, k) * right.at(39, k + 18)).sum();
        assert!((f64::from(found[6 * 40 + 39]) - expected).abs() < 1e-5, "{unit}");
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let cases = [
        (1.0, 0x3f80),
        (-2.5, 0xc020),
        // Ties: the even neighbour, below and above.
        (f32::from_bits(0x3f80_8000), 0x3f80),
        (f32::from_bits(0x3f81_8000), 0x3f82),
        (f32::from_bits(0x3f80_8001), 0x3f81),
        (f32::from_bits(0x3f80_7fff), 0x3f80),
        (f32::INFINITY, 0x7f80),
        (f32::NEG_INFINITY, 0xff80),
        (f32::MAX, 0x7f80),
        (0.0, 0),
        (-0.0, 0x8000),
        // Below the normal numbers: zero.
        (1e-40, 0),
        (-1e-40, 0x8000),
        (f32::MIN_POSITIVE, 0x0080),
        (f32::from_bits(0x7f80_0001), 0x7fc0),
        (f32::from_bits(0xffc1_0000), 0xffc1),
    ];
    for (value, expected) in cases {
        assert_eq!(round(value), expected, "{value:e}");
    }
}

#[test]
fn the_processor_rounds_alike() {
    // Every exponent and sign, with halves on, next to and between ties; the last line is of odd length.
    let fractions = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_8000, 0x40_0000, 0x7f_8000, 0x7f_ffff];
    let all = (0..512_u32).flat_map(|upper| fractions.map(|f| f32::from_bits(upper << 23 | f)));
    let values: Vec<f32> = all.chain([1.5]).collect();
    let n = values.len();
    let expected = |i: usize| values.get(i).map_or(0, |v| u32::from(round(*v)));
    let mut words = vec![7; n.div_ceil(2) + 3];
    let pitch = words.len();
    round::along(&values, &[0], n, &mut words, pitch);
    for (i, word) in words.iter().enumerate() {
        assert_eq!(*word, expected(2 * i) | expected(2 * i + 1) << 16, "words {i}");
    }
    let half = n / 2;
    let mut words = vec![7; 2 * (half + 5)];
    round::across(&values, &[0, half, 1], half, &mut words, half + 5, half + 5);
    for i in 0..half + 5 {
        let of = |start: usize| if i < half { expected(start + i) } else { 0 };
        assert_eq!([words[i], words[half + 5 + i]], [of(0) | of(half) << 16, of(1)], "pair {i}");
    }
}

fn tile(mut value: impl FnMut(usize, usize) -> u32) -> Tile {
    std::array::from_fn(|row| std::array::from_fn(|i| value(row, i)))
}

#[test]
fn the_model_multiplies_tiles() {
    // Whole numbers: every order of summation gives the same.
    let number = |k: usize| ((k * 7) % 11) as f32 - 5.0;
    let pair = |a: f32, b: f32| u32::from(round(a)) | u32::from(round(b)) << 16;
    let left = tile(|m, k| pair(number(m + 2 * k), number(m + 2 * k + 1)));
    let right = tile(|k, n| pair(number(3 * n + 2 * k), number(3 * n + 2 * k + 1)));
    let mut sums = tile(|m, n| (m as f32 - n as f32).to_bits());
    dot_products(&mut sums, &left, &right);
    for (m, row) in sums.iter().enumerate() {
        for (n, sum) in row.iter().enumerate() {
            let products: f32 = (0..2 * LANES).map(|k| number(m + k) * number(3 * n + k)).sum();
            assert_eq!(f32::from_bits(*sum), m as f32 - n as f32 + products, "{m}, {n}");
        }
    }
}

#[test]
fn the_model_takes_denormals_for_zero_and_sums_even_and_odd_apart() {
    let one = u32::from(round(1.0));
    // A bf16 that is denormal, by the largest there is.
    let (tiny, huge) = (0x0001, 0x7f7f);
    let mut sums = tile(|_, _| 0);
    dot_products(&mut sums, &tile(|_, k| if k == 0 { tiny } else { 0 }), &tile(|_, _| huge));
    assert_eq!(sums[0][0], 0);
    // In one chain 2^30 + 1 - 2^30 would lose the 1; in two it does not.
    let big = u32::from(round(2.0_f32.powi(30)));
    let left = tile(|_, k| [big | one << 16, (big | 0x8000)][k.min(1)] * u32::from(k < 2));
    let mut sums = tile(|_, _| 0);
    dot_products(&mut sums, &left, &tile(|_, _| one | one << 16));
    assert_eq!(f32::from_bits(sums[3][5]), 1.0);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_machine_code_of_tiles_is_the_model() {
    if !tiles_x86::permitted() {
        eprintln!("no AMX here: not tried");
        return;
    }
    for (steps, pitch, second) in [(1, 16, 0), (3, 32, 16), (8, 64, 16)] {
        let (depth, left_pitch) = (steps * TILE_ROWS, steps * TILE_ROWS);
        let words = |count: usize, seed| -> Vec<u32> {
            let halves = values(2 * count, seed);
            halves.chunks(2).map(|v| u32::from(round(v[0])) | u32::from(round(v[1])) << 16).collect()
        };
        let (left, right) = (words(ROWS * left_pitch, 1), words(depth * pitch, 2));
        let (mut found, mut expected) = ([0.0; ROWS * ROWS], [0.0; ROWS * ROWS]);
        tiles_x86::Amx.square((&left, left_pitch), (&right, pitch, second), steps, &mut found);
        Model.square((&left, left_pitch), (&right, pitch, second), steps, &mut expected);
        assert_eq!(found, expected);
    }
}

/// A convolution of an image of one size, with numbers for input, weights and the output's gradient.
struct Case {
    conv: Conv,
    input: Vec<f32>,
    gradient: Vec<f32>,
    weights: Vec<f32>,
}

impl Case {
    fn new(kernel: usize, side: usize, channels: usize, out: usize) -> Self {
        let window = Window { kernel, stride: 1, pad: kernel / 2 };
        let conv = Conv::new((side, side, channels), out, window, 0, None, 1);
        let laid = |layout: &Layout, seed| {
            let (numbers, mut laid) = (values(layout.pixels() * layout.channels, seed), vec![0.0; layout.len()]);
            for (pixel, numbers) in numbers.chunks(layout.channels).enumerate() {
                let at = layout.at(pixel / layout.width, pixel % layout.width);
                laid[at..at + layout.channels].copy_from_slice(numbers);
            }
            laid
        };
        let (input, gradient) = (laid(&conv.input, 1), laid(&conv.gradient, 7));
        Self { weights: values(conv.weights(), 2), conv, input, gradient }
    }

    /// The output, and the gradients of input and weights.
    fn results(&self, unit: Option<Unit>) -> [Vec<f32>; 3] {
        let mut conv = self.conv.clone();
        conv.multiply_by(unit);
        let (mut packed, mut scratch) = (Packed::default(), conv::Scratch::default());
        let bias = vec![0.0; conv.output.channels];
        let mut output = vec![0.0; conv.output.len()];
        conv.pack_forward(&self.weights, &mut packed, &mut scratch);
        conv.forward(1, &self.input, &packed, &bias, false, &mut output, &mut scratch);
        let mut back = vec![0.0; conv.input_gradient.len()];
        conv.pack_backward(&self.weights, &mut packed, &mut scratch);
        conv.backward_input(1, &self.gradient, &packed, &mut back, &mut scratch);
        // What is there must not matter to sums that are fresh.
        let (mut weights, mut bias) = (vec![1e3; conv.weights()], vec![1e3; bias.len()]);
        conv.backward_weights(1, &self.input, &self.gradient, true, (&mut weights, &mut bias), &mut scratch);
        [output, back, weights]
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}

#[test]
fn convolutions_are_near_those_in_f32() {
    // By tiles the transforms enlarge what rounding does, tenfold; by positions there is none.
    let tiles = [(3, 8, 32, 32), (3, 7, 18, 34), (5, 14, 32, 64), (5, 4, 64, 192)].map(|case| (case, true, 0.04));
    let positions = [(3, 2, 48, 32), (3, 2, 22, 38), (3, 1, 16, 16)].map(|case| (case, false, 0.005));
    for ((kernel, side, channels, out), by_tiles, most) in tiles.into_iter().chain(positions) {
        let case = Case::new(kernel, side, channels, out);
        assert_eq!(case.conv.by_tiles(), by_tiles);
        let exact = case.results(None);
        for unit in units() {
            for (found, exact) in case.results(Some(unit)).iter().zip(&exact) {
                let away = norm(found.iter().zip(exact).map(|(a, b)| a - b)) / norm(exact.iter().copied());
                assert!(away > 1e-5 && away < most, "{unit}: {kernel} {side} {channels} {out}: {away}");
            }
        }
    }
}

#[test]
fn few_or_odd_channels_stay_in_f32() {
    for (channels, out) in [(3, 32), (32, 8), (17, 32), (32, 19)] {
        let case = Case::new(3, 8, channels, out);
        assert_eq!(case.results(None), case.results(Some(Unit::Model)));
    }
}
