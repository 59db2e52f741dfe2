//! The passes over memory: centres, pull, write; each reads the embeddings once.
//!
//! Every pass works on blocks of pixels in parallel and adds the blocks' sums in their order, so the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::segments::{Block, Run, Segments};
use super::{Norm, Slot};
use crate::simd::widest;

/// The embeddings of one image, channel by channel.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub x: &'a [f32],
    pub channels: usize,
    pub count: usize,
}

impl<'a> Pixels<'a> {
    #[inline(always)]
    fn row(&self, channel: usize, block: &Block) -> &'a [f32] {
        let start = channel * self.count;
        &self.x[start + block.range.start..start + block.range.end]
    }
}

/// The mean embedding of each cluster.
pub(super) struct Centres {
    pub channels: usize,
    values: Vec<f64>,
    /// Whether a centre is so far from the origin that what f32 rounds off it would be seen in the offsets.
    far: bool,
}

impl Centres {
    /// The centre of a cluster.
    pub fn of(&self, cluster: usize) -> &[f64] {
        &self.values[cluster * self.channels..(cluster + 1) * self.channels]
    }

    /// What f32 rounds off a coordinate of a centre that is far.
    #[inline(always)]
    fn rest(&self, coordinate: f64) -> f32 {
        if self.far { (coordinate - f64::from(coordinate as f32)) as f32 } else { 0.0 }
    }

    /// Numbers and what is to be taken off them to be offsets from the centres: a row, and each pixel's centre into `spread`;
    /// of centres that are far, what is left of the row after that, and the rest of each centre.
    #[inline(always)]
    fn row<'a>(
        &self,
        channel: usize,
        block: &Block,
        row: &'a [f32],
        near: &'a mut Vec<f32>,
        spread: &mut [f32],
    ) -> &'a [f32] {
        spread_runs(block, spread, |cluster| self.of(cluster)[channel] as f32);
        if !self.far {
            return row;
        }
        near.clear();
        near.extend(row.iter().zip(&*spread).map(|(x, c)| x - c));
        spread_runs(block, spread, |cluster| self.rest(self.of(cluster)[channel]));
        near
    }
}

/// What the pull leaves for the last pass.
pub(super) struct Pulled {
    /// The sum of the kernel's values over each cluster.
    pub sums: Vec<f64>,
    /// Minus the sum of the pixels' gradients over each cluster: the gradient with respect to the centre.
    pub toward: Vec<f64>,
    /// Per pixel, what its offset from the centre is multiplied by in the gradient.
    pub weights: Vec<f32>,
}

/// Centres further from the origin than so many margins are far.
const FAR: f64 = 16.0;

/// First pass: the centres, or `None` if an embedding is not finite. Offsets shorter than `margin` do not count.
pub(super) fn centres(pixels: Pixels<'_>, segments: &Segments, margin: f64) -> Option<Centres> {
    let channels = pixels.channels;
    let partial: Vec<Vec<f64>> = segments
        .blocks
        .par_iter()
        .map(|block| {
            widest(
                #[inline(always)]
                || block_sums(pixels, block),
            )
        })
        .collect();
    let mut values = vec![0.0; segments.clusters() * channels];
    let mut finite = true;
    for (block, sums) in segments.blocks.iter().zip(partial) {
        // The sum of f32 values in f64 is finite exactly if every value is.
        finite &= sums.iter().all(|s| s.is_finite());
        add_rows(&mut values, &block.clusters, &sums, channels);
    }
    for (cluster, row) in values.chunks_mut(channels).enumerate() {
        let count = segments.count(cluster) as f64;
        row.iter_mut().for_each(|v| *v /= count);
    }
    let far = values.iter().any(|v| v.abs() > FAR * margin);
    finite.then_some(Centres { channels, values, far })
}

/// Adds the rows of a block's slots to the rows of its clusters.
fn add_rows(total: &mut [f64], clusters: &[u32], rows: &[f64], width: usize) {
    for (cluster, row) in clusters.iter().zip(rows.chunks(width)) {
        let at = *cluster as usize * width;
        total[at..at + width].iter_mut().zip(row).for_each(|(t, r)| *t += r);
    }
}

/// Per slot and channel the sum over a block; the background's too, so that no number goes unseen.
#[inline(always)]
fn block_sums(pixels: Pixels<'_>, block: &Block) -> Vec<f64> {
    let channels = pixels.channels;
    let mut sums = vec![0.0; (block.background() + 1) * channels];
    for channel in 0..channels {
        let row = pixels.row(channel, block);
        if !block.slots.is_empty() {
            add_by_pixel(block, channels, channel, &mut sums, row.iter().copied());
            continue;
        }
        for run in &block.runs {
            sums[run.slot as usize * channels + channel] += sum(&row[run.range()]);
        }
    }
    sums
}

/// Adds each pixel's value to its slot's row of sums.
#[inline(always)]
fn add_by_pixel(block: &Block, channels: usize, channel: usize, sums: &mut [f64], values: impl Iterator<Item = f32>) {
    for (slot, v) in block.slots.iter().zip(values) {
        sums[usize::from(*slot) * channels + channel] += f64::from(v);
    }
}

/// Second pass: the kernel at every pixel's distance to its centre. `scales` says what a pixel of each cluster weighs.
pub(super) fn pull(
    pixels: Pixels<'_>,
    segments: &Segments,
    centres: &Centres,
    kernel: &Slot,
    norm: Norm,
    scales: &[f64],
) -> Pulled {
    let channels = pixels.channels;
    let mut weights = vec![0f32; pixels.count];
    let pieces: Vec<(&Block, &mut [f32])> =
        segments.blocks.iter().zip(weights.chunks_mut(super::segments::BLOCK)).collect();
    let partial: Vec<(Vec<f64>, Vec<f64>)> = pieces
        .into_par_iter()
        .map_init(Scratch::default, |scratch, (block, weights)| {
            widest(
                #[inline(always)]
                || block_pull(pixels, block, centres, kernel, norm, scales, scratch, weights),
            )
        })
        .collect();
    let mut sums = vec![0.0; segments.clusters()];
    let mut toward = vec![0.0; segments.clusters() * channels];
    for (block, (values, pulls)) in segments.blocks.iter().zip(partial) {
        add_rows(&mut sums, &block.clusters, &values, 1);
        add_rows(&mut toward, &block.clusters, &pulls, channels);
    }
    Pulled { sums, toward, weights }
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    offsets: Vec<f32>,
    spread: Vec<f32>,
    distance: Vec<f32>,
    near: Vec<f32>,
    value: Vec<f32>,
}

/// How many floats a spread value may run past the end of its run.
const LANES: usize = 16;

#[inline(always)]
fn block_pull(
    pixels: Pixels<'_>,
    block: &Block,
    centres: &Centres,
    kernel: &Slot,
    norm: Norm,
    scales: &[f64],
    scratch: &mut Scratch,
    weights: &mut [f32],
) -> (Vec<f64>, Vec<f64>) {
    let (channels, length) = (pixels.channels, block.range.len());
    let Scratch { offsets, spread, distance, near, value } = scratch;
    offsets.resize(channels * length, 0.0);
    spread.resize(length + LANES, 0.0);
    value.resize(length, 0.0);
    distance.clear();
    distance.resize(length, 0.0);

    for (channel, offsets) in offsets.chunks_exact_mut(length).enumerate() {
        let row = centres.row(channel, block, pixels.row(channel, block), near, spread);
        match norm {
            Norm::L1 => accumulate(row, spread, offsets, distance, |v| v.abs()),
            Norm::L2 => accumulate(row, spread, offsets, distance, |v| v * v),
        }
    }
    if norm == Norm::L2 {
        distance.iter_mut().for_each(|d| *d = d.sqrt());
    }
    at_block(kernel, distance, value, weights);
    spread_runs(block, spread, |cluster| scales[cluster] as f32);
    for ((w, d), scale) in weights.iter_mut().zip(distance.iter()).zip(spread.iter()) {
        let unit = if norm == Norm::L2 { *d } else { 1.0 };
        *w = if *d == 0.0 || *scale == 0.0 { 0.0 } else { *w * *scale / unit };
    }

    let mut sums = vec![0.0; block.background() + 1];
    let mut toward = vec![0.0; (block.background() + 1) * channels];
    for run in instances(block) {
        sums[run.slot as usize] += sum(&value[run.range()]);
    }
    for (channel, offsets) in offsets.chunks_exact(length).enumerate() {
        if !block.slots.is_empty() {
            let each = weights.iter().zip(offsets);
            match norm {
                Norm::L1 => add_by_pixel(block, channels, channel, &mut toward, each.map(|(w, o)| -w * sign(*o))),
                Norm::L2 => add_by_pixel(block, channels, channel, &mut toward, each.map(|(w, o)| -w * o)),
            }
            continue;
        }
        for run in instances(block) {
            let (w, o) = (&weights[run.range()], &offsets[run.range()]);
            toward[run.slot as usize * channels + channel] -= match norm {
                Norm::L1 => sum_products(w, o, sign),
                Norm::L2 => sum_products(w, o, |v| v),
            };
        }
    }
    (sums, toward)
}

fn instances(block: &Block) -> impl Iterator<Item = &Run> {
    block.runs.iter().filter(|run| (run.slot as usize) < block.background())
}

/// Writes a cluster's value to each of its pixels, 0 to background; the last piece of a run may reach past its end,
/// where the next run overwrites it.
#[inline(always)]
fn spread_runs(block: &Block, spread: &mut [f32], value: impl Fn(usize) -> f32) {
    if !block.slots.is_empty() {
        let table: Vec<f32> = block.clusters.iter().map(|c| value(*c as usize)).chain([0.0]).collect();
        for (v, slot) in spread.iter_mut().zip(&block.slots) {
            *v = table[usize::from(*slot)];
        }
        return;
    }
    for run in &block.runs {
        let v = block.clusters.get(run.slot as usize).map_or(0.0, |c| value(*c as usize));
        let pieces = run.range().len().div_ceil(LANES);
        let start = run.start as usize;
        for piece in spread[start..start + pieces * LANES].as_chunks_mut::<LANES>().0 {
            *piece = [v; LANES];
        }
    }
}

/// Offsets from the centres, and their contribution to the distance.
#[inline(always)]
fn accumulate(row: &[f32], centre: &[f32], offsets: &mut [f32], distance: &mut [f32], term: impl Fn(f32) -> f32) {
    for (((x, c), o), d) in row.iter().zip(centre).zip(offsets).zip(distance) {
        *o = x - c;
        *d += term(*o);
    }
}

/// Value and slope of the kernel at each distance.
#[inline(always)]
fn at_block(kernel: &Slot, distance: &[f32], value: &mut [f32], slope: &mut [f32]) {
    match kernel {
        Slot::Beyond(margin) => {
            let margin = *margin as f32;
            let each = distance.iter().zip(value).zip(slope);
            each.for_each(|((d, v), s)| {
                let h = (d - margin).max(0.0);
                (*v, *s) = (h * h, 2.0 * h);
            });
        }
        Slot::Formula(formula) => formula.block(&[distance], value, &mut [slope]),
        _ => distance.iter().zip(value).zip(slope).for_each(|((d, v), s)| {
            let (value, slope) = kernel.at(f64::from(*d));
            (*v, *s) = (value as f32, slope as f32);
        }),
    }
}

#[inline(always)]
fn sign(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

/// The sum in f64, in a fixed number of lanes whatever the vectors of the processor.
#[inline(always)]
fn sum(values: &[f32]) -> f64 {
    if values.len() < LANES {
        return values.iter().map(|v| f64::from(*v)).sum();
    }
    let (pieces, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    for piece in pieces {
        for (lane, v) in lanes.iter_mut().zip(piece) {
            *lane += f64::from(*v);
        }
    }
    fold(lanes) + rest.iter().map(|v| f64::from(*v)).sum::<f64>()
}

/// The sum of `a * f(b)`, as [`sum`].
#[inline(always)]
fn sum_products(a: &[f32], b: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let ((pieces_a, rest_a), (pieces_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0f64; LANES];
    for (a, b) in pieces_a.iter().zip(pieces_b) {
        for i in 0..LANES {
            lanes[i] += f64::from(a[i] * f(b[i]));
        }
    }
    fold(lanes) + rest_a.iter().zip(rest_b).map(|(a, b)| f64::from(a * f(*b))).sum::<f64>()
}

#[inline(always)]
fn fold(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The gradient's rows, cut into the blocks of pixels: `[block][channel]`.
fn cut<'a>(grad: &'a mut [f32], pixels: Pixels<'_>) -> Vec<Vec<&'a mut [f32]>> {
    let blocks = pixels.count.div_ceil(super::segments::BLOCK);
    let mut cut: Vec<Vec<&mut [f32]>> = (0..blocks).map(|_| Vec::with_capacity(pixels.channels)).collect();
    for row in grad.chunks_mut(pixels.count.max(1)) {
        for (block, piece) in cut.iter_mut().zip(row.chunks_mut(super::segments::BLOCK)) {
            block.push(piece);
        }
    }
    cut
}

/// Last pass: the gradient of every pixel of an instance; background is left as it is.
pub(super) fn write(
    pixels: Pixels<'_>,
    segments: &Segments,
    centres: &Centres,
    norm: Norm,
    weights: &[f32],
    toward: &[f64],
    grad: &mut [f32],
) {
    let pieces: Vec<_> = segments.blocks.iter().zip(cut(grad, pixels)).collect();
    pieces.into_par_iter().for_each_init(Scratch::default, |scratch, (block, grad)| {
        widest(
            #[inline(always)]
            || block_write(pixels, segments, block, centres, norm, weights, toward, scratch, grad),
        );
    });
}

#[inline(always)]
fn block_write(
    pixels: Pixels<'_>,
    segments: &Segments,
    block: &Block,
    centres: &Centres,
    norm: Norm,
    weights: &[f32],
    toward: &[f64],
    scratch: &mut Scratch,
    grad: Vec<&mut [f32]>,
) {
    let length = block.range.len();
    let Scratch { offsets: share, spread: centre, near, .. } = scratch;
    share.resize(length + LANES, 0.0);
    centre.resize(length + LANES, 0.0);
    let weights = &weights[block.range.clone()];
    for (channel, grad) in grad.into_iter().enumerate() {
        let row = centres.row(channel, block, pixels.row(channel, block), near, centre);
        spread_runs(block, share, |cluster| {
            (toward[cluster * pixels.channels + channel] / segments.count(cluster) as f64) as f32
        });
        let each = grad.iter_mut().zip(row).zip(centre.iter()).zip(weights).zip(share.iter());
        match norm {
            Norm::L1 => each.for_each(|((((g, x), c), w), s)| *g += w * sign(x - c) + s),
            Norm::L2 => each.for_each(|((((g, x), c), w), s)| *g += w * (x - c) + s),
        }
    }
}

/// The push between background and centres: its value, its gradient with respect to the centres, and, in `grad`, with
/// respect to the background pixels. Costs pixels x clusters x channels.
pub(super) fn background(
    pixels: Pixels<'_>,
    segments: &Segments,
    centres: &Centres,
    kernel: &Slot,
    norm: Norm,
    weight: f64,
    grad: &mut [f32],
) -> (f64, Vec<f64>) {
    let mut toward = vec![0.0; segments.clusters() * pixels.channels];
    if segments.background() == 0 || segments.clusters() == 0 {
        return (0.0, toward);
    }
    // A mean over the centres of each class, summed over the classes.
    let mut scales = vec![0.0; segments.clusters()];
    for class in segments.classes() {
        let scale = 1.0 / (class.len() * segments.background()) as f64;
        scales[class].fill(scale);
    }
    // A fixed number of bands, so that the sums over all clusters are kept only so many times.
    const BANDS: usize = 16;
    let mut pieces: Vec<_> = segments.blocks.iter().zip(cut(grad, pixels)).collect();
    let per_band = pieces.len().div_ceil(BANDS);
    let partial: Vec<(f64, Vec<f64>)> = pieces
        .par_chunks_mut(per_band)
        .map(|band| {
            let mut band_sum = 0.0;
            let mut band_toward = vec![0.0; toward.len()];
            for (block, grad) in band {
                let push = BackgroundPush { pixels, block, centres, kernel, norm, weight, scales: &scales };
                band_sum += widest(
                    #[inline(always)]
                    || push.run(&mut band_toward, grad),
                );
            }
            (band_sum, band_toward)
        })
        .collect();
    let mut value = 0.0;
    for (sum, band) in partial {
        value += sum;
        toward.iter_mut().zip(band).for_each(|(t, b)| *t += b);
    }
    (value, toward)
}

/// The push between one block's background and all centres.
struct BackgroundPush<'a> {
    pixels: Pixels<'a>,
    block: &'a Block,
    centres: &'a Centres,
    kernel: &'a Slot,
    norm: Norm,
    weight: f64,
    scales: &'a [f64],
}

impl BackgroundPush<'_> {
    #[inline(always)]
    fn run(&self, toward: &mut [f64], grad: &mut [&mut [f32]]) -> f64 {
        let mut total = 0.0;
        let mut distance = Vec::new();
        for run in self.block.runs.iter().filter(|r| r.slot as usize == self.block.background()) {
            for (cluster, scale) in self.scales.iter().enumerate() {
                self.distances(run, cluster, &mut distance);
                let mut value = 0.0;
                // From here on a weight per pixel: what its offset from the centre is multiplied by.
                for d in &mut distance {
                    let (v, slope) = self.kernel.at(f64::from(*d));
                    value += v;
                    let unit = if self.norm == Norm::L2 { f64::from(*d) } else { 1.0 };
                    *d = if *d == 0.0 { 0.0 } else { (self.weight * scale * slope / unit) as f32 };
                }
                total += scale * value;
                // Most pixels are further away than the margin.
                if distance.iter().any(|w| *w != 0.0) {
                    self.add_gradient(run, cluster, &distance, toward, grad);
                }
            }
        }
        total
    }

    #[inline(always)]
    fn distances(&self, run: &Run, cluster: usize, distance: &mut Vec<f32>) {
        distance.clear();
        distance.resize(run.range().len(), 0.0);
        for (channel, centre) in self.centres.of(cluster).iter().enumerate() {
            let row = &self.pixels.row(channel, self.block)[run.range()];
            let (centre, rest) = (*centre as f32, self.centres.rest(*centre));
            let each = distance.iter_mut().zip(row).map(|(d, x)| (d, x - centre - rest));
            match self.norm {
                Norm::L1 => each.for_each(|(d, offset)| *d += offset.abs()),
                Norm::L2 => each.for_each(|(d, offset)| *d += offset * offset),
            }
        }
        if self.norm == Norm::L2 {
            distance.iter_mut().for_each(|d| *d = d.sqrt());
        }
    }

    #[inline(always)]
    fn add_gradient(&self, run: &Run, cluster: usize, weights: &[f32], toward: &mut [f64], grad: &mut [&mut [f32]]) {
        for (channel, centre) in self.centres.of(cluster).iter().enumerate() {
            let row = &self.pixels.row(channel, self.block)[run.range()];
            let (centre, rest) = (*centre as f32, self.centres.rest(*centre));
            let mut sum = 0.0;
            for ((g, x), w) in grad[channel][run.range()].iter_mut().zip(row).zip(weights) {
                let offset = x - centre - rest;
                let step = w * if self.norm == Norm::L2 { offset } else { sign(offset) };
                *g += step;
                sum += f64::from(step);
            }
            toward[cluster * self.pixels.channels + channel] -= sum;
        }
    }
}
