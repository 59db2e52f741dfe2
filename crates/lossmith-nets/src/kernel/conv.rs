//! Convolution: value, gradient of the input, gradient of the weights.
//!
//! `out[y, x, o] = bias[o] + sum over ky, kx, i of in[y s + ky - p, x s + kx - p, i] * w[ky, kx, i, o]`, zero outside the
//! image (stride `s`, padding `p`, square window).
//!
//! No patches are copied. Images lie in buffers with a margin of zeros ([`Layout`]), so each row of a window is one run
//! of memory, and a matrix kernel that finds its rows through a table of offsets reads the windows where they are.
//! The gradient of the input is the same correlation, of the output's gradient with the window turned round; a stride
//! spreads that gradient over a grid with zeros between (its cost grows by the stride squared).
//!
//! Where it is less work, all three go by tiles instead (`winograd`), or, on images hardly larger than
//! the window, position by position (`positions`). The products of these two ways can be of [`bf16`] operands.

#![expect(clippy::needless_range_loop, reason = "a register that is indexed by a variable would live in memory")]

use pulp::{Simd, WithSimd};

use super::bf16::{self, Side, Unit};
use super::positions::Positions;
use super::simd::dispatch;
use super::slices::{add_rows, row_starts};
pub use super::winograd::Scratch;
use super::winograd::Winograd;

/// The rows of one register tile.
const TILE: usize = 6;
/// With fewer channels in or out, rounding costs more than faster products save.
const LEAST_CHANNELS: usize = 16;

/// How an image lies in a buffer: pixels `step` apart, inside `rows` x `columns` cells of `channels` values, the first
/// pixel `margin` cells from the top and the left. What is no pixel is zero and stays zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
    /// Cells above the first row and left of the first column.
    pub margin: usize,
    /// Cells from one pixel to the next.
    pub step: usize,
    /// Cells down.
    pub rows: usize,
    /// Cells across.
    pub columns: usize,
}

impl Layout {
    /// An image without margin.
    pub fn dense(height: usize, width: usize, channels: usize) -> Self {
        Self::padded(height, width, channels, 0)
    }

    /// An image with the same margin on all sides.
    pub fn padded(height: usize, width: usize, channels: usize, margin: usize) -> Self {
        let (rows, columns) = (height + 2 * margin, width + 2 * margin);
        Self { height, width, channels, margin, step: 1, rows, columns }
    }

    /// Values per image, margin included.
    pub fn len(&self) -> usize {
        self.rows * self.columns * self.channels
    }

    /// Whether the image has no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels per image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Where pixel (`y`, `x`) starts.
    pub fn at(&self, y: usize, x: usize) -> usize {
        ((y * self.step + self.margin) * self.columns + x * self.step + self.margin) * self.channels
    }

    /// Where the cell `up` rows above and `left` columns left of pixel (`y`, `x`) of a finer grid starts.
    pub(super) fn cell(&self, y: usize, x: usize) -> usize {
        (y * self.columns + x) * self.channels
    }
}

/// A convolution of images of one size, with its tables for a group of images.
#[derive(Clone, Debug)]
pub struct Conv {
    /// How the input lies: padded by the convolution's padding.
    pub input: Layout,
    /// How the output lies: as the next layer wants it.
    pub output: Layout,
    /// How the output's gradient lies: dilated by the stride, with the margin that the turned window needs.
    pub gradient: Layout,
    /// How the input's gradient lies: as the previous layer wants it.
    pub input_gradient: Layout,
    kernel: usize,
    /// Start of each output pixel's window in the input, of each output pixel, and of its gradient.
    windows: Vec<usize>,
    outputs: Vec<usize>,
    gradients: Vec<usize>,
    /// Start of each input pixel's turned window in the output's gradient, and of its gradient.
    turned_windows: Vec<usize>,
    input_gradients: Vec<usize>,
    /// The way by tiles, where that is less work.
    winograd: Option<Winograd>,
    /// The way by positions, where many taps of a window lie outside of the image.
    positions: Option<Positions>,
    /// What multiplies bf16 operands; `None`: all is f32.
    unit: Option<Unit>,
}

/// Size, stride and padding of a square window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the window.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the image; less than `kernel`.
    pub pad: usize,
}

impl Window {
    /// How many windows fit along a side of `size` pixels; 0 if none does.
    pub fn count(&self, size: usize) -> usize {
        (size + 2 * self.pad).checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1)
    }
}

impl Conv {
    /// The convolution of `height` x `width` x `channels` images into `out` channels, for groups of up to `group` images.
    /// The output is written with a margin of `out_margin`, the input's gradient as `input_gradient` says (without
    /// margin if `None`).
    ///
    /// # Panics
    /// If a size is 0, the padding is not less than the window, or no window fits.
    pub fn new(
        (height, width, channels): (usize, usize, usize),
        out: usize,
        window: Window,
        out_margin: usize,
        input_gradient: Option<Layout>,
        group: usize,
    ) -> Self {
        let Window { kernel, stride, pad } = window;
        let (oh, ow) = (window.count(height), window.count(width));
        assert!(oh * ow * channels * out * group > 0 && stride > 0 && pad < kernel, "no convolution: {window:?}");
        let input = Layout::padded(height, width, channels, pad);
        let output = Layout::padded(oh, ow, out, out_margin);
        let gradient = Layout {
            height: oh,
            width: ow,
            channels: out,
            margin: kernel - 1 - pad,
            step: stride,
            rows: height + kernel - 1,
            columns: width + kernel - 1,
        };
        let input_gradient = input_gradient.unwrap_or(Layout::dense(height, width, channels));
        let table = |layout: &Layout, h, w, start: &dyn Fn(usize, usize) -> usize| -> Vec<usize> {
            let image = |n| (0..h).flat_map(move |y| (0..w).map(move |x| n * layout.len() + start(y, x)));
            (0..group).flat_map(image).collect()
        };
        Self {
            kernel,
            winograd: Winograd::new(window, channels, &output),
            positions: Positions::new(window, &output, height, width),
            unit: None,
            windows: table(&input, oh, ow, &|y, x| input.cell(y * stride, x * stride)),
            outputs: table(&output, oh, ow, &|y, x| output.at(y, x)),
            gradients: table(&gradient, oh, ow, &|y, x| gradient.at(y, x)),
            turned_windows: table(&gradient, height, width, &|y, x| gradient.cell(y, x)),
            input_gradients: table(&input_gradient, height, width, &|y, x| input_gradient.at(y, x)),
            input,
            output,
            gradient,
            input_gradient,
        }
    }

    /// The number of weights, `[kernel, kernel, channels, out]`, without the `out` biases.
    pub fn weights(&self) -> usize {
        self.kernel * self.kernel * self.input.channels * self.output.channels
    }

    /// Whether the convolution goes by tiles.
    pub fn by_tiles(&self) -> bool {
        self.winograd.is_some()
    }

    /// From now on with bf16 operands where that gains: with channels enough, by tiles (rounded after the transform) or by
    /// positions. Weights are to be packed anew.
    pub fn multiply_by(&mut self, unit: Option<Unit>) {
        let channels = [self.input.channels, self.output.channels];
        let gains = channels.iter().all(|c| *c >= LEAST_CHANNELS && c.is_multiple_of(2))
            && (self.winograd.is_some() || self.positions.is_some());
        self.unit = unit.filter(|_| gains);
    }

    /// Puts weights into the order in which [`forward`](Self::forward) reads them.
    pub fn pack_forward(&self, weights: &[f32], packed: &mut Packed, scratch: &mut Scratch) {
        if let Some(winograd) = &self.winograd {
            return winograd.pack(weights, false, self.unit, packed, scratch);
        }
        packed.resize(1, self.unit);
        match &mut *packed.halves {
            [panels] => panels.pack(weights, self.output.channels),
            _ => packed.panels[0].pack(weights, self.output.channels),
        }
    }

    /// Puts weights into the order in which [`backward_input`](Self::backward_input) reads them: windows turned round,
    /// input and output channels exchanged.
    pub fn pack_backward(&self, weights: &[f32], packed: &mut Packed, scratch: &mut Scratch) {
        if let Some(winograd) = &self.winograd {
            return winograd.pack(weights, true, self.unit, packed, scratch);
        }
        packed.resize(1, self.unit);
        let (out, channels) = (self.output.channels, self.input.channels);
        if let [panels] = &mut *packed.halves {
            return pack_turned(weights, (channels, out), panels, &mut scratch.halves);
        }
        let taps = self.kernel * self.kernel;
        packed.panels[0].fill(taps * out, channels, |k, panel, i| {
            let (tap, o) = (taps - 1 - k / out, k % out);
            let n = panel.len().min(channels - i);
            for (value, column) in panel[..n].iter_mut().zip(i..) {
                *value = weights[(tap * channels + column) * out + o];
            }
        });
    }

    /// The outputs of `images` images: correlation plus bias, and, with `relu`, its positive part.
    ///
    /// # Panics
    /// If a slice is shorter than its layout and `images` say.
    pub fn forward(
        &self,
        images: usize,
        input: &[f32],
        packed: &Packed,
        bias: &[f32],
        relu: bool,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        if let Some(winograd) = &self.winograd {
            let (from, to) = ((&self.input, input), (&self.output, output));
            return winograd.correlate(images, from, packed, self.unit, (Some(bias), relu), to, scratch);
        }
        if let Some(positions) = &self.positions {
            let (from, to) = ((&self.input, input), (&self.output, output));
            return positions.forward(images, from, packed, self.unit, (bias, relu), to, scratch);
        }
        let rows = images * self.output.pixels();
        dispatch(Correlate {
            rows: &self.windows[..rows],
            pitch: self.input.columns * self.input.channels,
            lines: self.kernel,
            run: self.kernel * self.input.channels,
            input,
            packed: &packed.panels[0],
            first: 0,
            packed_pitch: self.kernel * self.input.channels,
            bias: Some(bias),
            relu,
            places: &self.outputs[..rows],
            output,
        });
    }

    /// The gradient of the inputs of `images` images, from the outputs' gradient in [`Self::gradient`]'s layout.
    ///
    /// # Panics
    /// If a slice is shorter than its layout and `images` say.
    pub fn backward_input(
        &self,
        images: usize,
        gradient: &[f32],
        packed: &Packed,
        input_gradient: &mut [f32],
        scratch: &mut Scratch,
    ) {
        if let Some(winograd) = &self.winograd {
            let (from, to) = ((&self.gradient, gradient), (&self.input_gradient, input_gradient));
            return winograd.correlate(images, from, packed, self.unit, (None, false), to, scratch);
        }
        if let Some(positions) = &self.positions {
            let (from, to) = ((&self.gradient, gradient), (&self.input_gradient, input_gradient));
            return positions.backward_input(images, from, packed, self.unit, to, scratch);
        }
        let rows = images * self.input.pixels();
        dispatch(Correlate {
            rows: &self.turned_windows[..rows],
            pitch: self.gradient.columns * self.gradient.channels,
            lines: self.kernel,
            run: self.kernel * self.gradient.channels,
            input: gradient,
            packed: &packed.panels[0],
            first: 0,
            packed_pitch: self.kernel * self.gradient.channels,
            bias: None,
            relu: false,
            places: &self.input_gradients[..rows],
            output: input_gradient,
        });
    }

    /// Adds the gradients of weights and bias over `images` images; `fresh` sums begin at zero, whatever is there. Those of the
    /// bias, sums over very many pixels, are kept in f64.
    ///
    /// # Panics
    /// If a slice is shorter than its layout and `images` say.
    pub fn backward_weights(
        &self,
        images: usize,
        input: &[f32],
        gradient: &[f32],
        fresh: bool,
        (weights, bias): (&mut [f32], &mut [f64]),
        scratch: &mut Scratch,
    ) {
        if fresh {
            bias.fill(0.0);
        }
        // By positions each tap begins by itself.
        if fresh && (self.winograd.is_some() || self.positions.is_none()) {
            weights.fill(0.0);
        }
        let (out, rows) = (self.output.channels, images * self.output.pixels());
        let (windows, gradients) = (&self.windows[..rows], &self.gradients[..rows]);
        let (from, of) = ((&self.input, input), (&self.gradient, gradient));
        match (&self.winograd, &self.positions) {
            (Some(winograd), _) => winograd.outer(images, from, of, self.unit, weights, scratch),
            (None, Some(positions)) => positions.outer(images, from, of, self.unit, fresh, weights, scratch),
            (None, None) => dispatch(Outer {
                windows,
                gradients,
                pitch: self.input.columns * self.input.channels,
                lines: self.kernel,
                run: self.kernel * self.input.channels,
                out,
                input,
                gradient,
                weights,
            }),
        }
        lossmith::simd::widest(
            #[inline(always)]
            || add_rows(gradient, gradients.iter().copied(), bias),
        );
    }
}

/// Weights in the order in which a convolution reads them.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    pub(super) panels: Vec<Panels>,
    /// The same as bf16, instead.
    pub(super) halves: Vec<bf16::Panels>,
}

impl Packed {
    /// Makes room for some matrices, for this unit.
    pub(super) fn resize(&mut self, count: usize, unit: Option<Unit>) {
        let (whole, halves) = if unit.is_some() { (0, count) } else { (count, 0) };
        self.panels.resize_with(whole, Panels::default);
        self.halves.resize_with(halves, bf16::Panels::default);
    }
}

/// Packs weights `[kernel, kernel, channels, out]`, windows turned round, with channels as columns. `out` is even, so that each
/// tap begins with a word.
fn pack_turned(
    weights: &[f32],
    (channels, out): (usize, usize),
    panels: &mut bf16::Panels,
    scratch: &mut bf16::Scratch,
) {
    let starts = row_starts(channels, out);
    panels.resize(weights.len() / channels, channels);
    for (tap, values) in weights.chunks_exact(channels * out).rev().enumerate() {
        panels.set(tap * out / 2, Side::Lines { values, starts: &starts }, out, scratch);
    }
}

/// A matrix cut into panels of columns, each panel row by row, the last one filled up with zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Panels {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// The widths of the panels, in registers, that cover `columns`: as wide as the registers allow, then halves.
fn panel_widths<S: Simd>(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    // Accumulators are TILE x width; 32 registers carry 24 of them, 16 carry 12.
    let widest = if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = columns.checked_sub(at).filter(|&left| left > 0)?;
        let width = [4, 2, 1].into_iter().find(|&w| w <= widest && w * S::F32_LANES <= left).unwrap_or(1);
        let start = at;
        at += width * S::F32_LANES;
        Some((start, width))
    })
}

impl Panels {
    /// Packs a matrix of `columns` columns, row by row.
    pub fn pack(&mut self, values: &[f32], columns: usize) {
        self.fill(values.len() / columns, columns, |k, panel, o| {
            let row = &values[k * columns + o..];
            let n = panel.len().min(columns - o);
            panel[..n].copy_from_slice(&row[..n]);
        });
    }

    /// Fills panel rows by `write(row, panel row, first column)`.
    fn fill(&mut self, rows: usize, columns: usize, write: impl FnMut(usize, &mut [f32], usize)) {
        struct Fill<'a, F>(&'a mut Panels, F);
        impl<F: FnMut(usize, &mut [f32], usize)> WithSimd for Fill<'_, F> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) {
                let Self(panels, mut write) = self;
                let padded = panels.columns.next_multiple_of(S::F32_LANES);
                panels.values.resize(panels.rows * padded, 0.0);
                for (column, width) in panel_widths::<S>(panels.columns) {
                    let (start, width) = (column * panels.rows, width * S::F32_LANES);
                    let panel = &mut panels.values[start..start + width * panels.rows];
                    for (row, values) in panel.chunks_exact_mut(width).enumerate() {
                        write(row, values, column);
                    }
                }
            }
        }
        if (self.rows, self.columns) != (rows, columns) {
            // The last panel's filling must be zero.
            *self = Self { rows, columns, values: Vec::new() };
        }
        dispatch(Fill(self, write));
    }
}

/// `output[place] = bias + sum over lines and run of input[row + line pitch + t] * packed[first + line packed_pitch + t]` for
/// each row.
pub(super) struct Correlate<'a> {
    pub rows: &'a [usize],
    pub pitch: usize,
    pub lines: usize,
    pub run: usize,
    pub input: &'a [f32],
    pub packed: &'a Panels,
    pub first: usize,
    pub packed_pitch: usize,
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
    pub places: &'a [usize],
    pub output: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (column, width) in panel_widths::<S>(self.packed.columns) {
            match width {
                4 => self.panel::<S, 4>(simd, column),
                2 => self.panel::<S, 2>(simd, column),
                _ => self.panel::<S, 1>(simd, column),
            }
        }
    }
}

impl<'a> Correlate<'a> {
    /// A plain product: `output[place] = row of input . packed`, rows of `run` values.
    pub fn matrix(
        (rows, input): (&'a [usize], &'a [f32]),
        run: usize,
        packed: &'a Panels,
        (places, output): (&'a [usize], &'a mut [f32]),
    ) -> Self {
        let (pitch, lines, first, packed_pitch) = (0, 1, 0, 0);
        Self { rows, pitch, lines, run, input, packed, first, packed_pitch, bias: None, relu: false, places, output }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn panel<S: Simd, const W: usize>(&mut self, simd: S, column: usize) {
        let depth = self.packed.rows;
        let panel = &self.packed.values[column * depth..][..depth * W * S::F32_LANES];
        let panel = S::as_simd_f32s(panel).0.as_chunks::<W>().0;
        let valid = (W * S::F32_LANES).min(self.packed.columns - column);
        let mut bias = [simd.splat_f32s(0.0); W];
        if let Some(values) = self.bias {
            load(simd, &values[column..column + valid], &mut bias);
        }
        for first in (0..self.rows.len()).step_by(TILE) {
            let last = self.rows.len() - 1;
            // Rows past the end repeat the last one: computed, not stored twice.
            let rows: [usize; TILE] = std::array::from_fn(|i| self.rows[(first + i).min(last)]);
            let mut sums = [bias; TILE];
            for line in 0..self.lines {
                let weights = &panel[self.first + line * self.packed_pitch..][..self.run];
                multiply(simd, &mut sums, self.input, rows.map(|r| r + line * self.pitch), weights);
            }
            let zero = simd.splat_f32s(0.0);
            let places = &self.places[first..];
            for r in 0..TILE {
                if r < places.len() {
                    for w in 0..W {
                        // Zero first: so the maximum with what is not a number is not a number.
                        sums[r][w] = if self.relu { simd.max_f32s(zero, sums[r][w]) } else { sums[r][w] };
                    }
                    store(simd, &sums[r], &mut self.output[places[r] + column..][..valid]);
                }
            }
        }
    }
}

/// `sums[r] += sum over t of input[rows[r] + t] * weights[t]`.
#[inline(always)]
fn multiply<S: Simd, const W: usize>(
    simd: S,
    sums: &mut [[S::f32s; W]; TILE],
    input: &[f32],
    rows: [usize; TILE],
    weights: &[[S::f32s; W]],
) {
    let run = weights.len();
    let rows = rows.map(|start| &input[start..start + run]);
    for t in 0..run {
        for r in 0..TILE {
            let value = simd.splat_f32s(rows[r][t]);
            for w in 0..W {
                sums[r][w] = simd.mul_add_e_f32s(value, weights[t][w], sums[r][w]);
            }
        }
    }
}

/// `weights[line, t] += sum over pixels of input[window + line pitch + t] * gradient[pixel]`.
pub(super) struct Outer<'a> {
    pub windows: &'a [usize],
    pub gradients: &'a [usize],
    pub pitch: usize,
    pub lines: usize,
    pub run: usize,
    pub out: usize,
    pub input: &'a [f32],
    pub gradient: &'a [f32],
    pub weights: &'a mut [f32],
}

impl WithSimd for Outer<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (column, width) in panel_widths::<S>(self.out) {
            match width {
                4 => self.panel::<S, 4>(simd, column),
                2 => self.panel::<S, 2>(simd, column),
                _ => self.panel::<S, 1>(simd, column),
            }
        }
    }
}

impl<'a> Outer<'a> {
    /// A plain product: rows of `run` values, each with its row of `out` values.
    pub fn matrix(
        (windows, input): (&'a [usize], &'a [f32]),
        (gradients, gradient): (&'a [usize], &'a [f32]),
        (run, out): (usize, usize),
        weights: &'a mut [f32],
    ) -> Self {
        Self { windows, gradients, pitch: 0, lines: 1, run, out, input, gradient, weights }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn panel<S: Simd, const W: usize>(&mut self, simd: S, column: usize) {
        let full = W * S::F32_LANES;
        let valid = full.min(self.out - column);
        for line in 0..self.lines {
            for first in (0..self.run).step_by(TILE) {
                // A tile past the end of the run starts earlier and stores only its last rows.
                let start = first.min(self.run.saturating_sub(TILE));
                let at = line * self.pitch + start;
                let place = (line * self.run + start) * self.out + column;
                if self.run < TILE || valid < full {
                    self.ragged::<S, W>(simd, column, valid, at, place, self.run.min(TILE), first - start);
                } else {
                    self.tile::<S, W>(simd, column, at, place, first - start);
                }
            }
        }
    }

    /// A tile of `TILE` weights by `W` full registers of outputs; its first `skip` rows are not stored.
    #[inline(always)]
    fn tile<S: Simd, const W: usize>(&mut self, simd: S, column: usize, at: usize, place: usize, skip: usize) {
        let full = W * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); W]; TILE];
        for (&window, &pixel) in self.windows.iter().zip(self.gradients) {
            let values = &self.input[window + at..][..TILE];
            let gradient = &S::as_simd_f32s(&self.gradient[pixel + column..][..full]).0[..W];
            for r in 0..TILE {
                let value = simd.splat_f32s(values[r]);
                for w in 0..W {
                    sums[r][w] = simd.mul_add_e_f32s(value, gradient[w], sums[r][w]);
                }
            }
        }
        for r in 0..TILE {
            if r >= skip {
                self.add(simd, &sums[r], place + r * self.out, full);
            }
        }
    }

    /// The same at the rim: fewer than `TILE` rows or registers that are not full.
    #[inline(always)]
    fn ragged<S: Simd, const W: usize>(
        &mut self,
        simd: S,
        column: usize,
        valid: usize,
        at: usize,
        place: usize,
        rows: usize,
        skip: usize,
    ) {
        let mut sums = [[simd.splat_f32s(0.0); W]; TILE];
        for (&window, &pixel) in self.windows.iter().zip(self.gradients) {
            let values = &self.input[window + at..][..rows];
            let mut gradient = [simd.splat_f32s(0.0); W];
            load(simd, &self.gradient[pixel + column..][..valid], &mut gradient);
            for r in 0..TILE {
                if r < rows {
                    let value = simd.splat_f32s(values[r]);
                    for w in 0..W {
                        sums[r][w] = simd.mul_add_e_f32s(value, gradient[w], sums[r][w]);
                    }
                }
            }
        }
        for r in 0..TILE {
            if (skip..rows).contains(&r) {
                self.add(simd, &sums[r], place + r * self.out, valid);
            }
        }
    }

    #[inline(always)]
    fn add<S: Simd, const W: usize>(&mut self, simd: S, row: &[S::f32s; W], place: usize, valid: usize) {
        let target = &mut self.weights[place..place + valid];
        let mut old = [simd.splat_f32s(0.0); W];
        load(simd, target, &mut old);
        for w in 0..W {
            old[w] = simd.add_f32s(old[w], row[w]);
        }
        store(simd, &old, target);
    }
}

/// Loads registers from `values`, which may end inside one.
#[inline(always)]
pub(super) fn load<S: Simd, const W: usize>(simd: S, values: &[f32], registers: &mut [S::f32s; W]) {
    let (full, rest) = S::as_simd_f32s(values);
    for w in 0..W {
        if w < full.len() {
            registers[w] = full[w];
        } else if w == full.len() {
            registers[w] = simd.partial_load_f32s(rest);
        }
    }
}

/// Stores registers to `values`, which may end inside one.
#[inline(always)]
pub(super) fn store<S: Simd, const W: usize>(simd: S, registers: &[S::f32s; W], values: &mut [f32]) {
    let (full, rest) = S::as_mut_simd_f32s(values);
    for w in 0..W {
        if w < full.len() {
            full[w] = registers[w];
        } else if w == full.len() {
            simd.partial_store_f32s(rest, registers[w]);
        }
    }
}
