//! Labelled images as training reads them, and batches of them.

use rand::{RngExt, rngs::ChaCha8Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use crate::NetsError;
use crate::init::{Purpose, stream};
use lossmith::simd::widest;

use crate::kernel::{conv::Layout, dropout};
use crate::network::{Network, Shape};
use crate::pass::Batch;

/// Images of one shape with a label each: bytes, which become `(byte / 255 - mean) / sd` channel by channel.
#[derive(Clone, Debug)]
pub struct Dataset {
    shape: Shape,
    classes: usize,
    /// Channels last.
    pixels: Vec<u8>,
    labels: Vec<u32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Dataset {
    /// Images from bytes in the order image, channel, row, column. `mean_and_sd` has a pair for each channel, of values
    /// scaled to 0 to 1; `(0, 1)` leaves these as they are.
    ///
    /// # Errors
    /// No image, lengths that do not fit together, a label that is not below `classes`, a deviation that is not above 0.
    pub fn new(
        shape: Shape,
        classes: usize,
        pixels: &[u8],
        labels: &[u8],
        mean_and_sd: &[(f64, f64)],
    ) -> Result<Self, NetsError> {
        let Shape { height, width, channels } = shape;
        let wrong = |message: String| Err(NetsError::Data(message));
        if labels.is_empty() || shape.values() == 0 {
            return wrong(format!("no images: {} of {height} x {width} x {channels}", labels.len()));
        }
        if labels.len().checked_mul(shape.values()) != Some(pixels.len()) {
            let (n, found) = (labels.len(), pixels.len());
            return wrong(format!("{n} labels and images of {height} x {width} x {channels}, but {found} pixels"));
        }
        if let Some(at) = labels.iter().position(|&l| usize::from(l) >= classes) {
            return wrong(format!("image {at} has the label {}, expected one below {classes}", labels[at]));
        }
        let fine = |&(mean, sd): &(f64, f64)| mean.is_finite() && sd > 0.0 && sd.is_finite();
        if mean_and_sd.len() != channels || !mean_and_sd.iter().all(fine) {
            return wrong(format!(
                "expected mean and deviation above 0 for {channels} channels, found {mean_and_sd:?}"
            ));
        }
        Ok(Self {
            shape,
            classes,
            pixels: channels_last(pixels, shape),
            labels: labels.iter().map(|&l| u32::from(l)).collect(),
            scale: mean_and_sd.iter().map(|(_, sd)| (1.0 / (255.0 * sd)) as f32).collect(),
            shift: mean_and_sd.iter().map(|(mean, sd)| (-mean / sd) as f32).collect(),
        })
    }

    /// How many images.
    #[expect(clippy::len_without_is_empty, reason = "there is always an image")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Writes an image into a layout, moved by (`down`, `right`) pixels and mirrored if told; what comes in from outside
    /// is black.
    #[inline(always)]
    fn write(&self, image: usize, place: Placement, layout: &Layout, target: &mut [f32]) {
        let Shape { height, width, channels } = self.shape;
        let line = width * channels;
        let source = &self.pixels[image * self.shape.values()..][..self.shape.values()];
        for y in 0..height {
            let row = &mut target[layout.at(y, 0)..][..line];
            let from = y.wrapping_add_signed(-place.down);
            let pixels = if from < height { &source[from * line..][..line] } else { &[] };
            if pixels.is_empty() || (place.right, place.mirrored) != (0, false) {
                for x in 0..width {
                    let from = (if place.mirrored { width - 1 - x } else { x }).wrapping_add_signed(-place.right);
                    for c in 0..channels {
                        let inside = from < width && !pixels.is_empty();
                        let byte = if inside { pixels[from * channels + c] } else { 0 };
                        row[x * channels + c] = f32::from(byte) * self.scale[c] + self.shift[c];
                    }
                }
            } else if let ([scale], [shift]) = (self.scale.as_slice(), self.shift.as_slice()) {
                row.iter_mut().zip(pixels).for_each(|(v, &byte)| *v = f32::from(byte) * scale + shift);
            } else {
                let parts = row.chunks_exact_mut(channels).zip(pixels.chunks_exact(channels));
                for (values, bytes) in parts {
                    for (c, (value, byte)) in values.iter_mut().zip(bytes).enumerate() {
                        *value = f32::from(*byte) * self.scale[c] + self.shift[c];
                    }
                }
            }
        }
    }

    /// The images `range` as they are, for judging.
    pub(crate) fn batch(&self, range: std::ops::Range<usize>, layout: &Layout) -> Batch {
        let mut images = vec![0.0; range.len() * layout.len()];
        for (target, image) in images.chunks_exact_mut(layout.len()).zip(range.clone()) {
            widest(
                #[inline(always)]
                || self.write(image, Placement::default(), layout, target),
            );
        }
        Batch { images, labels: self.labels[range].to_vec(), masks: Vec::new() }
    }
}

fn channels_last(pixels: &[u8], shape: Shape) -> Vec<u8> {
    let plane = shape.height * shape.width;
    let mut out = vec![0; pixels.len()];
    let images = out.chunks_exact_mut(shape.values()).zip(pixels.chunks_exact(shape.values()));
    for (target, source) in images {
        for (c, values) in source.chunks_exact(plane).enumerate() {
            target.iter_mut().skip(c).step_by(shape.channels).zip(values).for_each(|(t, v)| *t = *v);
        }
    }
    out
}

/// How training images are changed at random, each time they are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Moved by up to so many pixels in each direction: a random crop of the image with so many black pixels around it.
    pub shift: usize,
    /// Mirrored left to right, half of them.
    pub flip: bool,
}

/// Where an image is put.
#[derive(Clone, Copy, Debug, Default)]
struct Placement {
    down: isize,
    right: isize,
    mirrored: bool,
}

/// The endless sequence of training batches of a seed.
pub(crate) struct Feeder<'a> {
    data: &'a Dataset,
    layout: Layout,
    augment: Augment,
    batch: usize,
    /// Chance and number of values of each dropout.
    dropouts: Vec<(f32, usize)>,
    order: Vec<u32>,
    next: usize,
    shuffle: ChaCha8Rng,
    drop: ChaCha8Rng,
    place: ChaCha8Rng,
}

impl<'a> Feeder<'a> {
    /// Batches of `batch` images, or of all where there are fewer. Each epoch is shuffled anew; what is left of it and
    /// fills no batch is not used.
    pub fn new(data: &'a Dataset, network: &Network, augment: Augment, batch: usize, seed: u64) -> Self {
        Self {
            data,
            layout: network.input,
            augment,
            batch: batch.min(data.len()),
            dropouts: network.dropouts().collect(),
            order: (0..data.len() as u32).collect(),
            next: data.len(),
            shuffle: stream(seed, Purpose::Order),
            drop: stream(seed, Purpose::Dropout),
            place: stream(seed, Purpose::Augmentation),
        }
    }

    /// Writes the next batch.
    pub fn fill(&mut self, batch: &mut Batch) {
        if self.next + self.batch > self.order.len() {
            self.order.shuffle(&mut self.shuffle);
            self.next = 0;
        }
        let picked = self.next..self.next + self.batch;
        self.next = picked.end;
        batch.labels.clear();
        batch.images.resize(self.batch * self.layout.len(), 0.0);
        for (target, at) in batch.images.chunks_exact_mut(self.layout.len()).zip(picked) {
            let image = self.order[at] as usize;
            let place = self.augment.draw(&mut self.place);
            batch.labels.push(self.data.labels[image]);
            widest(
                #[inline(always)]
                || self.data.write(image, place, &self.layout, target),
            );
        }
        batch.masks.resize_with(self.dropouts.len(), Vec::new);
        for (mask, (p, values)) in batch.masks.iter_mut().zip(&self.dropouts) {
            mask.resize(self.batch * values, 0.0);
            dropout::fill_mask(&mut self.drop, *p, mask);
        }
    }

    /// The memory of one batch, in values.
    pub fn values(&self) -> usize {
        self.batch * (self.layout.len() + self.dropouts.iter().map(|(_, n)| n).sum::<usize>())
    }
}

impl Augment {
    fn draw(self, rng: &mut ChaCha8Rng) -> Placement {
        let most = self.shift as i32;
        let mut shift = || if most == 0 { 0 } else { rng.random_range(-most..=most) as isize };
        let (down, right) = (shift(), shift());
        Placement { down, right, mirrored: self.flip && rng.random() }
    }
}
