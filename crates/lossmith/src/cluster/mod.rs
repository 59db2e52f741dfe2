//! From embeddings to instances: the pixels of one instance lie within a known distance of each other.
//!
//! | procedure | what it does |
//! |---|---|
//! | [`mean_shift`] | the default: densest seeds first, all deterministic |
//! | [`from_pixels`] | the paper's: mean-shift from a random unlabelled pixel until all are labelled |
//! | [`authors`] | the procedure of the authors' program, stop rules, opening and overlap test included |
//! | [`centre_threshold`] | centres from true instances: an upper bound, for ablations |
//!
//! Distances are Euclidean and compared strictly. A loss of 0 with margins `delta_v` and `delta_d` makes every bandwidth in
//! `(2 delta_v, 2 delta_d - 2 delta_v]` exact; the published margins 0.5 and 1.5 go with the default of 1.5.
//!
//! De Brabandere, Neven, Van Gool 2017, arXiv 1708.02551, section 3.3.

mod authors;
mod centre;
mod mean_shift;
mod pieces;
mod points;

pub use authors::authors;
pub use centre::centre_threshold;
pub use mean_shift::{MeanShift, from_pixels, mean_shift};
pub use pieces::{Pieces, pieces};

use points::{LANES, Points};
use rayon::prelude::*;

use crate::simd::widest;

/// The embeddings of one image, and which of its pixels are to be clustered.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    x: &'a [f32],
    channels: usize,
    height: usize,
    width: usize,
    foreground: &'a [bool],
}

/// The instances of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Instances {
    /// Per pixel the instance, from 1, or 0.
    pub labels: Vec<u32>,
    /// Instance `i` has the label `i + 1`.
    pub instances: Vec<Instance>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The number of its pixels.
    pub size: usize,
    /// The mean of its embeddings.
    pub centre: Vec<f32>,
    /// `exp(-mean distance to the centre / 0.5)`, from 0 to 1: how tightly its embeddings hold together. Multiply by the mean
    /// foreground probability where there is one.
    pub score: f64,
}

/// What can be wrong with embeddings to be clustered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClusterError {
    /// An array does not have the size that the image asks for.
    #[error("{what}: expected {expected} numbers for {height} x {width} pixels, found {found}")]
    Size {
        /// Which array.
        what: &'static str,
        /// The numbers that there should be.
        expected: usize,
        /// Those that there are.
        found: usize,
        /// Pixels per column.
        height: usize,
        /// Pixels per row.
        width: usize,
    },
    /// An embedding that is not finite.
    #[error("the embedding is {value} in channel {channel} at row {row}, column {column}; every number must be finite")]
    NotFinite {
        /// The embedding.
        value: f32,
        /// Its channel.
        channel: usize,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// A bandwidth that is no positive number.
    #[error("the bandwidth is {0}; expected a positive number")]
    Bandwidth(f32),
}

impl<'a> Embeddings<'a> {
    /// Embeddings channel by channel, `[channels, height, width]`, and a foreground mask of `height x width`.
    ///
    /// # Errors
    /// Sizes that do not fit, an embedding that is not finite.
    pub fn new(
        x: &'a [f32],
        channels: usize,
        height: usize,
        width: usize,
        foreground: &'a [bool],
    ) -> Result<Self, ClusterError> {
        let pixels = height.saturating_mul(width);
        let expected = pixels.saturating_mul(channels);
        if x.len() != expected || channels == 0 {
            return Err(ClusterError::Size { what: "embedding", expected, found: x.len(), height, width });
        }
        if foreground.len() != pixels {
            return Err(ClusterError::Size {
                what: "foreground",
                expected: pixels,
                found: foreground.len(),
                height,
                width,
            });
        }
        if let Some(at) = x.iter().position(|v| !v.is_finite()) {
            let (channel, pixel) = (at / pixels, at % pixels);
            return Err(ClusterError::NotFinite { value: x[at], channel, row: pixel / width, column: pixel % width });
        }
        Ok(Self { x, channels, height, width, foreground })
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The indices of the foreground pixels.
    fn foreground_pixels(&self) -> Vec<u32> {
        (0..self.pixels() as u32).filter(|i| self.foreground[*i as usize]).collect()
    }
}

fn check_bandwidth(bandwidth: f32) -> Result<(), ClusterError> {
    if bandwidth > 0.0 && bandwidth.is_finite() { Ok(()) } else { Err(ClusterError::Bandwidth(bandwidth)) }
}

/// The distance at which the score has fallen by a factor of e: the published `delta_v`.
const SCORE_DISTANCE: f64 = 0.5;

/// Pixels that one thread measures at a time.
const STRETCH: usize = 1 << 12;

/// Instances from provisional labels, 0 = none: those below `least_size` are dropped, the rest numbered in the order of
/// their labels.
fn finish(embeddings: Embeddings<'_>, mut labels: Vec<u32>, least_size: usize) -> Instances {
    let most = labels.iter().copied().max().unwrap_or(0) as usize;
    let mut sizes = vec![0usize; most + 1];
    labels.iter().for_each(|l| sizes[*l as usize] += 1);
    let mut kept = 0;
    let number: Vec<u32> = (0..=most)
        .map(|label| {
            let keep = label > 0 && sizes[label] > 0 && sizes[label] >= least_size;
            kept += u32::from(keep);
            if keep { kept } else { 0 }
        })
        .collect();
    labels.iter_mut().for_each(|l| *l = number[*l as usize]);
    let instances = describe(embeddings, &labels, kept as usize);
    Instances { labels, instances }
}

fn describe(embeddings: Embeddings<'_>, labels: &[u32], count: usize) -> Vec<Instance> {
    let channels = embeddings.channels;
    let mut sizes = vec![0usize; count];
    labels.iter().filter(|l| **l > 0).for_each(|l| sizes[*l as usize - 1] += 1);
    let stride = embeddings.pixels().max(1);
    // `[channel][instance]`, so that the channels are summed side by side, each in the order of the pixels.
    let mut means = vec![0f64; channels * count];
    means.par_chunks_mut(count.max(1)).zip(embeddings.x.par_chunks(stride)).for_each(|(means, row)| {
        widest(
            #[inline(always)]
            || add_by_label(labels, row, means),
        );
        means.iter_mut().zip(&sizes).for_each(|(mean, size)| *mean /= *size as f64);
    });
    let mut squares = vec![0f64; labels.len()];
    squares.par_chunks_mut(STRETCH).zip(labels.par_chunks(STRETCH)).enumerate().for_each(|(at, (squares, labels))| {
        for (means, row) in means.chunks_exact(count.max(1)).zip(embeddings.x.chunks_exact(stride)) {
            widest(
                #[inline(always)]
                || add_squares(labels, &row[at * STRETCH..], means, squares),
            );
        }
    });
    let mut residuals = vec![0f64; count];
    for (label, square) in labels.iter().zip(squares).filter(|(l, _)| **l > 0) {
        residuals[*label as usize - 1] += square.sqrt();
    }
    let of = |(instance, (size, residual)): (usize, (&usize, f64))| Instance {
        size: *size,
        centre: means.iter().skip(instance).step_by(count).map(|m| *m as f32).collect(),
        score: (-residual / *size as f64 / SCORE_DISTANCE).exp(),
    };
    sizes.iter().zip(residuals).enumerate().map(of).collect()
}

/// The label that all of some pixels have. Neighbouring pixels mostly belong together: then they are taken at once.
#[inline(always)]
fn common(labels: &[u32]) -> Option<u32> {
    let first = *labels.first()?;
    (labels.iter().map(|l| usize::from(*l != first)).sum::<usize>() == 0).then_some(first)
}

/// Adds each number to the sum of its label; label 0 has none.
#[inline(always)]
fn add_by_label(labels: &[u32], row: &[f32], sums: &mut [f64]) {
    for (labels, row) in labels.chunks(LANES).zip(row.chunks(LANES)) {
        match common(labels) {
            Some(0) => {}
            Some(label) if row.len() == LANES => {
                // Pairs, then pairs of pairs: the lanes of a vector.
                let mut lanes = [0f64; LANES];
                lanes.iter_mut().zip(row).for_each(|(lane, x)| *lane = f64::from(*x));
                for half in [8, 4, 2, 1] {
                    let (low, high) = lanes.split_at_mut(half);
                    low.iter_mut().zip(high).for_each(|(a, b)| *a += *b);
                }
                sums[label as usize - 1] += lanes[0];
            }
            _ => {
                for (label, x) in labels.iter().zip(row).filter(|(l, _)| **l > 0) {
                    sums[*label as usize - 1] += f64::from(*x);
                }
            }
        }
    }
}

/// Adds the squared distance of each number to the mean of its label; of label 0 to 0.
#[inline(always)]
fn add_squares(labels: &[u32], row: &[f32], means: &[f64], squares: &mut [f64]) {
    let mean = |label: u32| if label > 0 { means[label as usize - 1] } else { 0.0 };
    let add = |x: &f32, mean: f64, square: &mut f64| *square += (f64::from(*x) - mean) * (f64::from(*x) - mean);
    for ((labels, row), squares) in labels.chunks(LANES).zip(row.chunks(LANES)).zip(squares.chunks_mut(LANES)) {
        match common(labels) {
            Some(label) => {
                let mean = mean(label);
                squares.iter_mut().zip(row).for_each(|(square, x)| add(x, mean, square));
            }
            None => {
                for ((label, x), square) in labels.iter().zip(row).zip(squares) {
                    add(x, mean(*label), square);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
