//! Convolutions of stride 1 on images hardly larger than the window: position by position, over all images of a group.
//!
//! Where most of a window's taps lie outside of the image, most products are with zeros: 20 of 36 for 3 x 3 on 2 x 2 pixels.
//! All images have the same taps inside at the same position, so that one matrix product takes these taps alone.

use std::ops::Range;

use super::bf16::{self, Right, Side, Start, Target, Unit};
use super::conv::{Correlate, Layout, Outer, Packed, Scratch, Window};
use super::simd::dispatch;
use super::slices::row_starts;

/// A convolution by positions.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    window: Window,
    input: (usize, usize),
    output: (usize, usize),
}

impl Positions {
    /// A convolution by positions, if enough taps lie outside.
    pub fn new(window: Window, output: &Layout, height: usize, width: usize) -> Option<Self> {
        let Window { kernel, stride, pad } = window;
        let inside = |size: usize, out: usize| (0..out).map(|at| taps(at, pad, kernel, size).len()).sum::<usize>();
        let all = output.pixels() * kernel * kernel;
        let used = inside(height, output.height) * inside(width, output.width);
        (stride == 1 && used * 3 < all * 2).then_some(Self {
            window,
            input: (height, width),
            output: (output.height, output.width),
        })
    }

    /// The outputs.
    pub fn forward(
        &self,
        images: usize,
        from: (&Layout, &[f32]),
        packed: &Packed,
        unit: Option<Unit>,
        (bias, relu): (&[f32], bool),
        to: (&Layout, &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let grid = (self.window.pad, self.input);
        self.correlate(images, from, packed, unit, (Some(bias), relu), to, grid, scratch);
    }

    /// The gradient of the inputs.
    pub fn backward_input(
        &self,
        images: usize,
        from: (&Layout, &[f32]),
        packed: &Packed,
        unit: Option<Unit>,
        to: (&Layout, &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let grid = (self.window.kernel - 1 - self.window.pad, self.output);
        self.correlate(images, from, packed, unit, (None, false), to, grid, scratch);
    }

    /// `size` is that of what is correlated, which lies `pad` cells from the corner.
    fn correlate(
        &self,
        images: usize,
        (from, source): (&Layout, &[f32]),
        packed: &Packed,
        unit: Option<Unit>,
        (bias, relu): (Option<&[f32]>, bool),
        (to, target): (&Layout, &mut [f32]),
        (pad, size): (usize, (usize, usize)),
        scratch: &mut Scratch,
    ) {
        let kernel = self.window.kernel;
        for (y, x) in (0..to.height).flat_map(|y| (0..to.width).map(move |x| (y, x))) {
            let (down, across) = (taps(y, pad, kernel, size.0), taps(x, pad, kernel, size.1));
            let corner = from.cell(y + down.start, x + across.start);
            let rows: Vec<usize> = (0..images).map(|n| n * from.len() + corner).collect();
            let places: Vec<usize> = (0..images).map(|n| n * to.len() + to.at(y, x)).collect();
            let (pitch, lines) = (from.columns * from.channels, down.len());
            let run = across.len() * from.channels;
            let first = (down.start * kernel + across.start) * from.channels;
            let packed_pitch = kernel * from.channels;
            let Some(unit) = unit else {
                let (rows, places, input, packed) = (&*rows, &*places, source, &packed.panels[0]);
                let output = &mut *target;
                dispatch(Correlate {
                    rows,
                    pitch,
                    lines,
                    run,
                    input,
                    packed,
                    first,
                    packed_pitch,
                    bias,
                    relu,
                    places,
                    output,
                });
                continue;
            };
            for line in 0..lines {
                let left = Side::Lines { values: &source[line * pitch..], starts: &rows };
                // Numbers of channels are even: a tap begins with a word.
                let right = Right::Packed(&packed.halves[0], (first + line * packed_pitch) / 2);
                let start = match bias {
                    _ if line > 0 => Start::Old,
                    Some(bias) => Start::Bias(bias),
                    None => Start::Zero,
                };
                let (places, columns, relu) = (&*places, to.channels, relu && line + 1 == lines);
                let target = Target { values: &mut *target, places, columns, start, relu };
                bf16::multiply(unit, left, right, run, target, &mut scratch.halves);
            }
        }
    }

    /// Adds the gradients of the weights: tap by tap, over the pixels at which it lies inside; `fresh` sums begin at zero.
    pub fn outer(
        &self,
        images: usize,
        (from, source): (&Layout, &[f32]),
        (of, gradient): (&Layout, &[f32]),
        unit: Option<Unit>,
        fresh: bool,
        weights: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Window { kernel, pad, .. } = self.window;
        let inside = |tap: usize, out: usize, size: usize| {
            (0..out).filter(move |at| (pad..pad + size).contains(&(at + tap))).collect::<Vec<_>>()
        };
        let plane = from.channels * of.channels;
        let channels = row_starts(from.channels, of.channels);
        for (tap, weights) in weights.chunks_exact_mut(plane).enumerate() {
            let (ky, kx) = (tap / kernel, tap % kernel);
            let (down, across) = (inside(ky, self.output.0, self.input.0), inside(kx, self.output.1, self.input.1));
            let (mut windows, mut gradients) = (Vec::new(), Vec::new());
            for n in 0..images {
                for (y, x) in down.iter().flat_map(|y| across.iter().map(move |x| (*y, *x))) {
                    windows.push(n * from.len() + from.cell(y + ky, x + kx));
                    gradients.push(n * of.len() + of.at(y, x));
                }
            }
            // A product of bf16 operands of some depth begins by itself.
            if fresh && (unit.is_none() || windows.is_empty()) {
                weights.fill(0.0);
            }
            let Some(unit) = unit else {
                let sizes = (from.channels, of.channels);
                dispatch(Outer::matrix((&windows, source), (&gradients, gradient), sizes, weights));
                continue;
            };
            let left = Side::Depths { values: source, starts: &windows };
            let right = Right::Side(Side::Depths { values: gradient, starts: &gradients });
            let (start, columns) = (if fresh { Start::Zero } else { Start::Old }, of.channels);
            let target = Target { values: weights, places: &channels, columns, start, relu: false };
            bf16::multiply(unit, left, right, windows.len(), target, &mut scratch.halves);
        }
    }
}

/// The taps of the window at `at` that lie on the `size` cells after the first `pad`; one at least, on a zero if need be.
fn taps(at: usize, pad: usize, kernel: usize, size: usize) -> Range<usize> {
    let start = pad.saturating_sub(at).min(kernel - 1);
    let end = (pad + size).saturating_sub(at).min(kernel);
    start..end.max(start + 1)
}
