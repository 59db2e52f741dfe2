//! Max-pooling with the place of each maximum, and its gradient; on request with ReLU in the same pass.
//!
//! `out[y, x, c] = max over ky, kx of in[y s + ky, x s + kx, c]`. Among equal values the first in row order wins, as in
//! PyTorch; a value that is not a number wins over all. ReLU and maximum commute, so ReLU after (or before) the pooling
//! is taken on the pooled values, of which there are fewer.

use super::conv::{Layout, Window};
use lossmith::simd::widest;

/// Max-pooling of images of one size.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// How the input lies.
    pub input: Layout,
    /// How the output lies: as the next layer wants it.
    pub output: Layout,
    /// How the input's gradient lies: as the previous layer wants it.
    pub input_gradient: Layout,
    kernel: usize,
    stride: usize,
    relu: bool,
}

impl MaxPool {
    /// Pooling by `window` (without padding) of images that lie as `input` says.
    ///
    /// # Panics
    /// If the window is padded, does not fit, or has more than 256 places.
    pub fn new(input: Layout, window: Window, relu: bool, out_margin: usize, input_gradient: Layout) -> Self {
        let (oh, ow) = (window.count(input.height), window.count(input.width));
        assert!(oh * ow > 0 && window.pad == 0 && window.kernel <= 16, "no pooling: {window:?} of {input:?}");
        let output = Layout::padded(oh, ow, input.channels, out_margin);
        Self { input, output, input_gradient, kernel: window.kernel, stride: window.stride, relu }
    }

    /// The number of places per image: outputs without margin.
    pub fn places(&self) -> usize {
        self.output.pixels() * self.output.channels
    }

    /// Maxima of `images` images, and in `places` the index of each within its window.
    ///
    /// # Panics
    /// If a slice is shorter than its layout and `images` say.
    pub fn forward(&self, images: usize, input: &[f32], output: &mut [f32], places: &mut [u8]) {
        widest(
            #[inline(always)]
            || {
                for n in 0..images {
                    let image = &input[n * self.input.len()..][..self.input.len()];
                    let pooled = &mut output[n * self.output.len()..][..self.output.len()];
                    let places = &mut places[n * self.places()..][..self.places()];
                    self.forward_one(image, pooled, places);
                }
            },
        );
    }

    #[inline(always)]
    fn forward_one(&self, image: &[f32], pooled: &mut [f32], places: &mut [u8]) {
        let channels = self.output.channels;
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        for (pixel, places) in places.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (pixel / self.output.width, pixel % self.output.width);
            let best = &mut pooled[self.output.at(y, x)..][..channels];
            best.fill(floor);
            places.fill(0);
            for tap in 0..self.kernel * self.kernel {
                let (ky, kx) = (tap / self.kernel, tap % self.kernel);
                let values = &image[self.input.at(y * self.stride + ky, x * self.stride + kx)..][..channels];
                for ((best, place), &value) in best.iter_mut().zip(&mut *places).zip(values) {
                    let better = value > *best || value.is_nan();
                    *best = if better { value } else { *best };
                    *place = if better { tap as u8 } else { *place };
                }
            }
        }
    }

    /// The gradient of the inputs of `images` images. `output` is what [`forward`](Self::forward) wrote; with ReLU
    /// nothing flows where it is 0. `gradient` lies as `output` does.
    ///
    /// # Panics
    /// If a slice is shorter than its layout and `images` say.
    pub fn backward(&self, images: usize, gradient: &[f32], output: &[f32], places: &[u8], input_gradient: &mut [f32]) {
        widest(
            #[inline(always)]
            || {
                for n in 0..images {
                    let (size, into) = (self.output.len(), self.input_gradient.len());
                    self.backward_one(
                        &gradient[n * size..][..size],
                        &output[n * size..][..size],
                        &places[n * self.places()..][..self.places()],
                        &mut input_gradient[n * into..][..into],
                    );
                }
            },
        );
    }

    #[inline(always)]
    fn backward_one(&self, gradient: &[f32], output: &[f32], places: &[u8], input_gradient: &mut [f32]) {
        let channels = self.output.channels;
        // Windows that do not overlap are written once each, and what no window covers was zero before.
        let overlap = self.stride < self.kernel;
        if overlap {
            input_gradient.fill(0.0);
        }
        for (pixel, places) in places.chunks_exact(channels).enumerate() {
            let (y, x) = (pixel / self.output.width, pixel % self.output.width);
            let at = self.output.at(y, x);
            let (gradient, output) = (&gradient[at..][..channels], &output[at..][..channels]);
            for tap in 0..self.kernel * self.kernel {
                let (ky, kx) = (tap / self.kernel, tap % self.kernel);
                let start = self.input_gradient.at(y * self.stride + ky, x * self.stride + kx);
                let target = &mut input_gradient[start..][..channels];
                for (((target, &g), &o), &place) in target.iter_mut().zip(gradient).zip(output).zip(places) {
                    // A mask instead of a branch, so that the loop is done on whole registers.
                    let flows = u32::from(place == tap as u8) & u32::from(!self.relu | (o > 0.0));
                    let g = f32::from_bits(g.to_bits() & flows.wrapping_neg());
                    *target = if overlap { *target + g } else { g };
                }
            }
        }
    }
}
