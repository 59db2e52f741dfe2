//! Convolution of batches in the order of the frameworks: images `[n, channels, height, width]`, weights
//! `[out, channels, kernel, kernel]`; one stride and padding for both sides, no dilation, no groups.
//!
//! Images go through the kernels of [`kernel::conv`](crate::kernel::conv) one by one, over all threads; gradients of the
//! weights are summed over a fixed number of parts of the batch, so that the bits do not depend on the threads.

use rayon::prelude::*;

use crate::NetsError;
use crate::kernel::conv::{Conv, Layout, Packed, Scratch, Window};
use lossmith::simd::widest;

/// The parts of a batch that sum their own gradients of the weights.
const PARTS: usize = 4;

/// A convolution of batches of one shape.
#[derive(Debug)]
pub struct Conv2d {
    images: usize,
    conv: Conv,
    kernel: usize,
}

/// The gradients of a convolution: of input, weights and bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// As the input.
    pub input: Vec<f32>,
    /// As the weights.
    pub weights: Vec<f32>,
    /// One for each channel out.
    pub bias: Vec<f32>,
}

impl Conv2d {
    /// The convolution of inputs of shape `input` by weights of shape `weights`.
    ///
    /// # Errors
    /// Shapes that do not fit together, a window that is not square or does not fit, padding not below the window.
    pub fn new(input: [usize; 4], weights: [usize; 4], stride: usize, pad: usize) -> Result<Self, NetsError> {
        let [images, channels, height, width] = input;
        let [out, inputs, kernel, across] = weights;
        let window = Window { kernel, stride, pad };
        let fits = inputs == channels && kernel == across && stride > 0 && pad < kernel;
        let sizes = images.min(channels).min(out);
        if !fits || sizes == 0 || window.count(height).min(window.count(width)) == 0 {
            return Err(NetsError::Data(format!(
                "no convolution of {input:?} by {weights:?} with stride {stride} and padding {pad}"
            )));
        }
        Ok(Self { images, conv: Conv::new((height, width, channels), out, window, 0, None, 1), kernel })
    }

    /// The shape of the output.
    pub fn output(&self) -> [usize; 4] {
        let Layout { height, width, channels, .. } = self.conv.output;
        [self.images, channels, height, width]
    }

    /// The output: correlation plus bias.
    ///
    /// # Panics
    /// If the lengths are not those of the shapes.
    pub fn forward(&self, input: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let conv = &self.conv;
        let mut panels = Packed::default();
        conv.pack_forward(&self.taps_first(weights), &mut panels, &mut Scratch::default());
        let none = vec![0.0; conv.output.channels];
        let bias = bias.unwrap_or(&none);
        let size = conv.output.len();
        let mut output = vec![0.0; self.images * size];
        let buffers = || (vec![0.0; conv.input.len()], vec![0.0; size], Scratch::default());
        output.par_chunks_exact_mut(size).zip(input.par_chunks_exact(input.len() / self.images)).for_each_init(
            buffers,
            |(image, result, scratch), (output, input)| {
                channels_last(&conv.input, input, image);
                conv.forward(1, image, &panels, bias, false, result, scratch);
                channels_first(&conv.output, result, output);
            },
        );
        output
    }

    /// The gradients, from the output's. That of the input is left empty if nobody wants it.
    ///
    /// # Panics
    /// If the lengths are not those of the shapes.
    pub fn backward(&self, input: &[f32], weights: &[f32], gradient: &[f32], want_input: bool) -> Gradients {
        let conv = &self.conv;
        let mut panels = Packed::default();
        if want_input {
            conv.pack_backward(&self.taps_first(weights), &mut panels, &mut Scratch::default());
        }
        let (size, out) = (input.len() / self.images, conv.output.channels);
        let mut input_gradient = vec![0.0; if want_input { input.len() } else { 0 }];
        let part = self.images.div_ceil(PARTS);
        // Empty slices where nobody wants them.
        let mut targets: Vec<&mut [f32]> = input_gradient.chunks_mut((part * size).max(1)).collect();
        targets.resize_with(self.images.div_ceil(part), Default::default);
        let one_part = |(number, target): (usize, &mut [f32])| {
            let mut sums = (vec![0.0; weights.len()], vec![0.0f64; out]);
            let (mut image, mut result) = (vec![0.0; conv.input.len()], vec![0.0; conv.input_gradient.len()]);
            let (mut slope, mut scratch) = (vec![0.0; conv.gradient.len()], Scratch::default());
            let range = number * part..((number + 1) * part).min(self.images);
            for (at, n) in range.enumerate() {
                channels_last(&conv.input, &input[n * size..][..size], &mut image);
                let length = conv.output.len();
                channels_last(&conv.gradient, &gradient[n * length..][..length], &mut slope);
                conv.backward_weights(1, &image, &slope, false, (&mut sums.0, &mut sums.1), &mut scratch);
                if want_input {
                    conv.backward_input(1, &slope, &panels, &mut result, &mut scratch);
                    channels_first(&conv.input_gradient, &result, &mut target[at * size..][..size]);
                }
            }
            sums
        };
        let parts: Vec<_> = targets.into_par_iter().enumerate().map(one_part).collect();
        let mut sums = (vec![0.0; weights.len()], vec![0.0; out]);
        for (weights, bias) in parts {
            widest(
                #[inline(always)]
                || sums.0.iter_mut().zip(&weights).for_each(|(s, w)| *s += w),
            );
            sums.1.iter_mut().zip(&bias).for_each(|(s, b)| *s += b);
        }
        let bias = sums.1.iter().map(|s| *s as f32).collect();
        Gradients { input: input_gradient, weights: self.outputs_first(&sums.0), bias }
    }

    /// `[out, channels, kernel, kernel]` as `[kernel, kernel, channels, out]`.
    fn taps_first(&self, weights: &[f32]) -> Vec<f32> {
        let mut target = vec![0.0; weights.len()];
        self.each_weight(|theirs, ours| target[ours] = weights[theirs]);
        target
    }

    fn outputs_first(&self, weights: &[f32]) -> Vec<f32> {
        let mut target = vec![0.0; weights.len()];
        self.each_weight(|theirs, ours| target[theirs] = weights[ours]);
        target
    }

    /// Calls `f(place in PyTorch's order, place in ours)` for each weight.
    fn each_weight(&self, mut f: impl FnMut(usize, usize)) {
        let (channels, out, taps) = (self.conv.input.channels, self.conv.output.channels, self.kernel * self.kernel);
        for o in 0..out {
            for i in 0..channels {
                for tap in 0..taps {
                    f((o * channels + i) * taps + tap, (tap * channels + i) * out + o);
                }
            }
        }
    }
}

/// Channels taken together when an order is changed: so many rows of pixels stay in the cache.
const BLOCK: usize = 16;

/// Copies an image from channels first into a layout.
fn channels_last(layout: &Layout, image: &[f32], target: &mut [f32]) {
    each_block(
        layout,
        #[inline(always)]
        |y, block, plane| {
            let row = y * layout.width;
            let start = layout.at(y, 0);
            let pitch = layout.step * layout.channels;
            for x in 0..layout.width {
                let pixel = &mut target[start + x * pitch..][..layout.channels][block.clone()];
                for (value, channel) in pixel.iter_mut().zip(block.clone()) {
                    *value = image[channel * plane + row + x];
                }
            }
        },
    );
}

/// Copies an image from a layout to channels first.
fn channels_first(layout: &Layout, image: &[f32], target: &mut [f32]) {
    each_block(
        layout,
        #[inline(always)]
        |y, block, plane| {
            let row = y * layout.width;
            let start = layout.at(y, 0);
            let pitch = layout.step * layout.channels;
            for channel in block {
                let line = &mut target[channel * plane + row..][..layout.width];
                for (x, value) in line.iter_mut().enumerate() {
                    *value = image[start + x * pitch + channel];
                }
            }
        },
    );
}

/// Calls `f(row, channels, pixels per channel)` for each row and block of channels.
fn each_block(layout: &Layout, mut f: impl FnMut(usize, std::ops::Range<usize>, usize)) {
    widest(
        #[inline(always)]
        || {
            for y in 0..layout.height {
                for first in (0..layout.channels).step_by(BLOCK) {
                    f(y, first..(first + BLOCK).min(layout.channels), layout.pixels());
                }
            }
        },
    );
}
