//! Winograd's minimal filtering (Lavin & Gray 2016, arXiv 1509.09308): convolutions of stride 1 with windows of 3 x 3 or
//! 5 x 5 by fewer multiplications.
//!
//! An output tile of `m x m` pixels needs an input tile of 6 x 6, `m = 7 - kernel`. With the points 0, 1, -1, 2, -2 and
//! infinity, `y = A' [(G w G') . (B' d B)] A` costs 36 products for every pair of channels instead of `m m kernel kernel`:
//! 4 times fewer for 3 x 3, 2.8 times fewer for 5 x 5. `B` depends on the points alone, so that both windows share it.
//! The products of one point over tiles and channels are a matrix product; so are the gradients:
//! that of the input is a correlation with the window turned round, that of the weights `G' [(B' d B) . (A g A')] G`.
//!
//! Errors in f32, as parts of the largest sum of magnitudes: below 1e-6 for the output and the gradient of the input, below
//! 1e-5 for that of the weights.

#![expect(clippy::needless_range_loop, reason = "a register that is indexed by a variable would live in memory")]

use pulp::{Simd, WithSimd};

use super::bf16::{self, Right, Side, Start, Target, Unit};
use super::conv::{Correlate, Layout, Outer, Packed, Window, load, store};
use super::simd::dispatch;
use super::slices::{grow, row_starts, transpose};
use lossmith::simd::widest;

/// The side of an input tile, which is the number of points.
const SIDE: usize = 6;
/// The products of a tile for one pair of channels.
pub(super) const POINTS: usize = SIDE * SIDE;
/// The finite points.
const FINITE: [f32; SIDE - 1] = [0.0, 1.0, -1.0, 2.0, -2.0];
/// What the weights are divided by at each of them: the product of its distances from the others.
const SCALE: [f32; SIDE - 1] = [1.0 / 4.0, -1.0 / 6.0, -1.0 / 6.0, 1.0 / 24.0, 1.0 / 24.0];
/// Transformed tiles that are worked on at once take about so many values: they stay in the core's own cache.
const CHUNK_VALUES: usize = 160 << 10;
/// Between the values of two points, so that the 36 of a tile do not all fall into the same lines of the cache.
const APART: usize = 16;

/// Transformed tiles on their way.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    input: Vec<f32>,
    output: Vec<f32>,
    weights: Vec<f32>,
    half: Vec<f32>,
    /// Weights with windows turned round.
    turned: Vec<f32>,
    /// Blocks of bf16 operands.
    pub(super) halves: bf16::Scratch,
}

/// A convolution by tiles.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    kernel: usize,
    channels: usize,
    out: usize,
    /// Starts of a chunk's tiles among those of one point, with `channels` and with `out` values each.
    input_tiles: Vec<usize>,
    output_tiles: Vec<usize>,
}

impl Winograd {
    /// A convolution into `output` by tiles, if that is less work than the direct sum.
    pub fn new(window: Window, channels: usize, output: &Layout) -> Option<Self> {
        let Window { kernel, stride, .. } = window;
        if stride != 1 || ![3, 5].contains(&kernel) {
            return None;
        }
        let (out, side) = (output.channels, SIDE + 1 - kernel);
        let tiles = output.height.div_ceil(side) * output.width.div_ceil(side);
        // In instructions on registers of 16 values; the transforms of a register's tile take about 250.
        let registers = |values: usize| values.div_ceil(16);
        let direct = output.pixels() * kernel * kernel * channels * registers(out);
        let by_tiles = tiles * (POINTS * channels * registers(out) + 250 * (registers(channels) + registers(out)));
        if by_tiles * 4 > direct * 3 {
            return None;
        }
        let chunk = (CHUNK_VALUES / (POINTS * (channels + out))).max(1).next_multiple_of(SIDE);
        let table = |size: usize| (0..chunk).map(|tile| tile * size).collect();
        Some(Self { kernel, channels, out, input_tiles: table(channels), output_tiles: table(out) })
    }

    /// Pixels along the side of an output tile.
    fn side(&self) -> usize {
        SIDE + 1 - self.kernel
    }

    /// Transforms weights `[kernel, kernel, channels, out]` and packs them, a matrix for each point. With `turned`, those of
    /// the input's gradient: windows turned round, channels exchanged.
    pub fn pack(&self, weights: &[f32], turned: bool, unit: Option<Unit>, packed: &mut Packed, scratch: &mut Scratch) {
        let columns = if turned { self.channels } else { self.out };
        let Scratch { weights: target, half, turned: room, .. } = scratch;
        if turned {
            turn(weights, self.channels, self.out, room);
        }
        let weights = if turned { room } else { weights };
        let plane = self.channels * self.out;
        let transform = |from: &[f32], to: &mut [f32], values| {
            each_factor(self.kernel, |point, tap, factor| {
                add(&from[tap * values..][..values], factor, &mut to[point * values..][..values]);
            });
        };
        // First down the columns: [kernel, kernel] to [6, kernel]; then along the rows.
        zeros(half, SIDE * self.kernel * plane);
        transform(weights, half, self.kernel * plane);
        zeros(target, POINTS * plane);
        for (half, target) in half.chunks_exact(self.kernel * plane).zip(target.chunks_exact_mut(SIDE * plane)) {
            transform(half, target, plane);
        }
        packed.resize(POINTS, unit);
        let points = target.chunks_exact(plane);
        packed.panels.iter_mut().zip(points.clone()).for_each(|(panels, values)| panels.pack(values, columns));
        packed.halves.iter_mut().zip(points).for_each(|(panels, values)| panels.pack(values, columns));
    }

    /// Correlates the cells of `source` with packed weights into `target`: forward, or of the input's gradient.
    pub fn correlate(
        &self,
        images: usize,
        (from, source): (&Layout, &[f32]),
        packed: &Packed,
        unit: Option<Unit>,
        (bias, relu): (Option<&[f32]>, bool),
        (to, target): (&Layout, &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let grid = Grid::new(to, self.side());
        let forward = from.channels == self.channels && to.channels == self.out;
        let (rows, places) =
            if forward { (&self.input_tiles, &self.output_tiles) } else { (&self.output_tiles, &self.input_tiles) };
        for chunk in grid.chunks(images, rows.len()) {
            let count = chunk.len();
            let pitch = count * from.channels + APART;
            let product = count * to.channels + APART;
            grow(&mut scratch.input, POINTS * pitch);
            grow(&mut scratch.output, POINTS * product);
            dispatch(Take {
                grid,
                chunk: chunk.clone(),
                from,
                source,
                pitch,
                target: &mut scratch.input,
                rule: Rule::Window,
            });
            for point in 0..POINTS {
                let (rows, places) = (&rows[..count], &places[..count]);
                let input = &scratch.input[point * pitch..];
                let output = &mut scratch.output[point * product..];
                let Some(unit) = unit else {
                    let packed = &packed.panels[point];
                    dispatch(Correlate::matrix((rows, input), from.channels, packed, (places, output)));
                    continue;
                };
                let left = Side::Lines { values: input, starts: rows };
                let right = Right::Packed(&packed.halves[point], 0);
                let (start, columns) = (Start::Zero, to.channels);
                let target = Target { values: output, places, columns, start, relu: false };
                bf16::multiply(unit, left, right, from.channels, target, &mut scratch.halves);
            }
            dispatch(Give { grid, chunk, to, product: &scratch.output, pitch: product, bias, relu, target });
        }
    }

    /// Adds the gradients of the weights, from input and output's gradient.
    pub fn outer(
        &self,
        images: usize,
        (from, source): (&Layout, &[f32]),
        (of, gradient): (&Layout, &[f32]),
        unit: Option<Unit>,
        weights: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let grid = Grid::new(of, self.side());
        let plane = self.channels * self.out;
        let places = row_starts(self.channels, self.out);
        let Scratch { input, output, weights: sums, half, halves, .. } = scratch;
        if unit.is_some() {
            // The first products begin the sums.
            grow(sums, POINTS * plane);
        } else {
            zeros(sums, POINTS * plane);
        }
        let mut start = Start::Zero;
        for chunk in grid.chunks(images, self.input_tiles.len()) {
            let count = chunk.len();
            let (pitch, slope) = (count * self.channels + APART, count * self.out + APART);
            grow(input, POINTS * pitch);
            grow(output, POINTS * slope);
            dispatch(Take { grid, chunk: chunk.clone(), from, source, pitch, target: input, rule: Rule::Window });
            dispatch(Take {
                grid,
                chunk,
                from: of,
                source: gradient,
                pitch: slope,
                target: output,
                rule: Rule::Gradient,
            });
            let (windows, gradients) = (&self.input_tiles[..count], &self.output_tiles[..count]);
            for (point, sums) in sums[..POINTS * plane].chunks_exact_mut(plane).enumerate() {
                let (input, gradient) = (&input[point * pitch..], &output[point * slope..]);
                let Some(unit) = unit else {
                    let sizes = (self.channels, self.out);
                    dispatch(Outer::matrix((windows, input), (gradients, gradient), sizes, sums));
                    continue;
                };
                let left = Side::Depths { values: input, starts: windows };
                let right = Right::Side(Side::Depths { values: gradient, starts: gradients });
                let target = Target { values: sums, places: &places, columns: self.out, start, relu: false };
                bf16::multiply(unit, left, right, count, target, halves);
            }
            start = Start::Old;
        }
        self.add_transformed_back(&sums[..POINTS * plane], weights, half);
    }

    /// `weights += G' sums G`.
    fn add_transformed_back(&self, sums: &[f32], weights: &mut [f32], half: &mut Vec<f32>) {
        let plane = self.channels * self.out;
        zeros(half, SIDE * self.kernel * plane);
        for (from, to) in sums.chunks_exact(SIDE * plane).zip(half.chunks_exact_mut(self.kernel * plane)) {
            each_factor(self.kernel, |point, tap, factor| {
                add(&from[point * plane..][..plane], factor, &mut to[tap * plane..][..plane]);
            });
        }
        let row = self.kernel * plane;
        each_factor(self.kernel, |point, tap, factor| {
            add(&half[point * row..][..row], factor, &mut weights[tap * row..][..row]);
        });
    }
}

/// So many zeros.
fn zeros(values: &mut Vec<f32>, size: usize) {
    values.clear();
    values.resize(size, 0.0);
}

/// Weights `[kernel, kernel, channels, out]` as `[kernel, kernel, out, channels]`, windows turned round.
fn turn(weights: &[f32], channels: usize, out: usize, turned: &mut Vec<f32>) {
    turned.resize(weights.len(), 0.0);
    let plane = channels * out;
    for (from, to) in weights.chunks_exact(plane).zip(turned.chunks_exact_mut(plane).rev()) {
        transpose(from, channels, out, to);
    }
}

/// Calls `f(point, tap, G[point, tap])` for each factor that is not 0.
fn each_factor(kernel: usize, mut f: impl FnMut(usize, usize, f32)) {
    for (point, (x, scale)) in FINITE.iter().zip(SCALE).enumerate() {
        for tap in 0..kernel {
            let factor = scale * x.powi(tap as i32);
            if factor != 0.0 {
                f(point, tap, factor);
            }
        }
    }
    f(SIDE - 1, kernel - 1, 1.0);
}

/// `to += factor from`.
fn add(from: &[f32], factor: f32, to: &mut [f32]) {
    widest(
        #[inline(always)]
        || to.iter_mut().zip(from).for_each(|(t, f)| *t += factor * f),
    );
}

/// Output tiles of `side x side` pixels that cover an image.
#[derive(Clone, Copy, Debug)]
struct Grid {
    side: usize,
    across: usize,
    per_image: usize,
}

impl Grid {
    fn new(output: &Layout, side: usize) -> Self {
        let across = output.width.div_ceil(side);
        Self { side, across, per_image: across * output.height.div_ceil(side) }
    }

    /// The tiles of some images, so many at a time.
    fn chunks(self, images: usize, size: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let tiles = images * self.per_image;
        (0..tiles).step_by(size).map(move |first| first..(first + size).min(tiles))
    }

    /// Image, and its first output pixel down and across.
    fn place(self, tile: usize) -> (usize, usize, usize) {
        let (image, tile) = (tile / self.per_image, tile % self.per_image);
        (image, tile / self.across * self.side, tile % self.across * self.side)
    }
}

/// Which transform a tile goes through.
#[derive(Clone, Copy)]
enum Rule {
    /// Input cells: `B' d B`.
    Window,
    /// Pixels of the output's gradient: `A g A'`.
    Gradient,
}

/// Takes tiles from images and transforms them; what lies outside of the image is 0.
struct Take<'a> {
    grid: Grid,
    chunk: std::ops::Range<usize>,
    from: &'a Layout,
    source: &'a [f32],
    pitch: usize,
    target: &'a mut [f32],
    rule: Rule,
}

impl WithSimd for Take<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.rule, self.grid.side) {
            (Rule::Window, _) => self.tiles::<S, SIDE>(simd),
            (Rule::Gradient, 2) => self.tiles::<S, 2>(simd),
            (Rule::Gradient, _) => self.tiles::<S, 4>(simd),
        }
    }
}

impl Take<'_> {
    /// `N` cells a side go in, 6 x 6 points come out.
    #[inline(always)]
    fn tiles<S: Simd, const N: usize>(self, simd: S) {
        let Self { grid, chunk, from, source, pitch, target, rule } = self;
        let (channels, zero) = (from.channels, simd.splat_f32s(0.0));
        for (at, tile) in chunk.enumerate() {
            let (image, top, left) = grid.place(tile);
            let source = &source[image * from.len()..][..from.len()];
            let (down, across) = match rule {
                Rule::Window => (from.rows, from.columns),
                Rule::Gradient => (from.height, from.width),
            };
            let (down, across) = ((down - top).min(N), (across - left).min(N));
            let corner = match rule {
                Rule::Window => from.cell(top, left),
                Rule::Gradient => from.at(top, left),
            };
            for first in (0..channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(channels - first);
                let mut half = [[zero; N]; SIDE];
                for x in 0..N {
                    let mut column = [zero; N];
                    for y in 0..N {
                        let start = corner + (y * from.columns + x) * channels + first;
                        if y < down && x < across {
                            column[y] = get(simd, source, start, lanes);
                        }
                    }
                    let column = points::<S, N>(simd, column);
                    for y in 0..SIDE {
                        half[y][x] = column[y];
                    }
                }
                for y in 0..SIDE {
                    let row = points::<S, N>(simd, half[y]);
                    for x in 0..SIDE {
                        put(simd, row[x], target, (y * SIDE + x) * pitch + at * channels + first, lanes);
                    }
                }
            }
        }
    }
}

/// Transforms products back, adds the bias and writes the pixels that lie in the image.
struct Give<'a> {
    grid: Grid,
    chunk: std::ops::Range<usize>,
    to: &'a Layout,
    product: &'a [f32],
    pitch: usize,
    bias: Option<&'a [f32]>,
    relu: bool,
    target: &'a mut [f32],
}

impl WithSimd for Give<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.grid.side == 2 { self.tiles::<S, 2>(simd) } else { self.tiles::<S, 4>(simd) }
    }
}

impl Give<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const M: usize>(self, simd: S) {
        let Self { grid, chunk, to, product, pitch, bias, relu, target } = self;
        let (channels, zero) = (to.channels, simd.splat_f32s(0.0));
        for (at, tile) in chunk.enumerate() {
            let (image, top, left) = grid.place(tile);
            let target = &mut target[image * to.len()..][..to.len()];
            let (down, across) = (M.min(to.height - top), M.min(to.width - left));
            for first in (0..channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(channels - first);
                let bias = match bias {
                    Some(bias) => get(simd, bias, first, lanes),
                    None => zero,
                };
                let mut half = [[zero; SIDE]; M];
                for x in 0..SIDE {
                    let mut column = [zero; SIDE];
                    for y in 0..SIDE {
                        column[y] = get(simd, product, (y * SIDE + x) * pitch + at * channels + first, lanes);
                    }
                    let column = pixels::<S, M>(simd, column);
                    for y in 0..M {
                        half[y][x] = column[y];
                    }
                }
                for y in 0..down {
                    let row = pixels::<S, M>(simd, half[y]);
                    for x in 0..across {
                        let sum = simd.add_f32s(row[x], bias);
                        // Zero first: so the maximum with what is not a number is not a number.
                        let sum = if relu { simd.max_f32s(zero, sum) } else { sum };
                        put(simd, sum, target, to.at(top + y, left + x) + first, lanes);
                    }
                }
            }
        }
    }
}

/// The first `lanes` values of a register, from `start` on.
#[inline(always)]
fn get<S: Simd>(simd: S, values: &[f32], start: usize, lanes: usize) -> S::f32s {
    let mut register = [simd.splat_f32s(0.0)];
    if lanes == S::F32_LANES {
        register[0] = S::as_simd_f32s(&values[start..start + S::F32_LANES]).0[0];
    } else {
        load(simd, &values[start..start + lanes], &mut register);
    }
    register[0]
}

#[inline(always)]
fn put<S: Simd>(simd: S, register: S::f32s, values: &mut [f32], start: usize, lanes: usize) {
    if lanes == S::F32_LANES {
        S::as_mut_simd_f32s(&mut values[start..start + S::F32_LANES]).0[0] = register;
    } else {
        store(simd, &[register], &mut values[start..start + lanes]);
    }
}

/// `factor a + b`.
#[inline(always)]
fn fma<S: Simd>(simd: S, factor: f32, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b)
}

/// Six input cells: `B' d`. Fewer pixels of a gradient: `A g`, the values at the points of the polynomial with these
/// coefficients.
#[inline(always)]
fn points<S: Simd, const N: usize>(simd: S, d: [S::f32s; N]) -> [S::f32s; SIDE] {
    if N == SIDE {
        let (even, odd) = (fma(simd, -4.0, d[2], d[4]), fma(simd, -4.0, d[1], d[3]));
        let (even2, odd2) = (simd.sub_f32s(d[4], d[2]), simd.sub_f32s(d[3], d[1]));
        return [
            fma(simd, 4.0, d[0], fma(simd, -5.0, d[2], d[4])),
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            fma(simd, 2.0, odd2, even2),
            fma(simd, -2.0, odd2, even2),
            fma(simd, 4.0, d[1], fma(simd, -5.0, d[3], d[5])),
        ];
    }
    let (mut even, mut odd, mut even2, mut odd2) = (d[0], d[1], d[0], simd.add_f32s(d[1], d[1]));
    if N == 4 {
        (even, odd) = (simd.add_f32s(even, d[2]), simd.add_f32s(odd, d[3]));
        (even2, odd2) = (fma(simd, 4.0, d[2], even2), fma(simd, 8.0, d[3], odd2));
    }
    let (sum, difference) = (simd.add_f32s(even, odd), simd.sub_f32s(even, odd));
    [d[0], sum, difference, simd.add_f32s(even2, odd2), simd.sub_f32s(even2, odd2), d[N - 1]]
}

/// `A' p`.
#[inline(always)]
fn pixels<S: Simd, const M: usize>(simd: S, p: [S::f32s; SIDE]) -> [S::f32s; M] {
    let (even, odd) = (simd.add_f32s(p[1], p[2]), simd.sub_f32s(p[1], p[2]));
    let (even2, odd2) = (simd.add_f32s(p[3], p[4]), simd.sub_f32s(p[3], p[4]));
    let mut pixels = [simd.add_f32s(simd.add_f32s(p[0], even), even2); M];
    pixels[1] = fma(simd, 2.0, odd2, odd);
    if M == 4 {
        pixels[2] = fma(simd, 4.0, even2, even);
        pixels[3] = fma(simd, 8.0, odd2, odd);
    }
    pixels[M - 1] = simd.add_f32s(pixels[M - 1], p[SIDE - 1]);
    pixels
}
