//! Embeddings of chosen pixels in the order in which distances are computed: sixteen pixels side by side, channel after
//! channel, so that one vector holds one channel of sixteen pixels.

use rayon::prelude::*;

use super::Embeddings;
use crate::simd::widest;

/// Pixels side by side.
pub(super) const LANES: usize = 16;
/// Blocks of sixteen pixels per task.
const TASK: usize = 64;

type Lanes = [f32; LANES];

/// The embeddings of chosen pixels.
pub(super) struct Points {
    pub channels: usize,
    pub len: usize,
    /// `[block][channel]`; lanes past the last pixel are infinitely far from everything.
    blocks: Vec<Lanes>,
}

impl Points {
    /// The embeddings of the pixels at these indices.
    pub fn gather(embeddings: Embeddings<'_>, pixels: &[u32]) -> Self {
        let (channels, stride) = (embeddings.channels, embeddings.pixels());
        let mut blocks = vec![[f32::INFINITY; LANES]; pixels.len().div_ceil(LANES) * channels];
        blocks.par_chunks_mut(channels * TASK).zip(pixels.par_chunks(LANES * TASK)).for_each(|(blocks, pixels)| {
            for (block, pixels) in blocks.chunks_mut(channels).zip(pixels.chunks(LANES)) {
                for (channel, lanes) in block.iter_mut().enumerate() {
                    for (lane, pixel) in lanes.iter_mut().zip(pixels) {
                        *lane = embeddings.x[channel * stride + *pixel as usize];
                    }
                }
            }
        });
        Self { channels, len: pixels.len(), blocks }
    }

    /// The points at these places.
    pub fn select(&self, places: &[u32]) -> Self {
        let mut blocks = vec![[f32::INFINITY; LANES]; places.len().div_ceil(LANES) * self.channels];
        for (block, places) in blocks.chunks_mut(self.channels).zip(places.chunks(LANES)) {
            for (lane, place) in places.iter().enumerate() {
                let (from, at) = (*place as usize / LANES * self.channels, *place as usize % LANES);
                block.iter_mut().zip(&self.blocks[from..]).for_each(|(into, lanes)| into[lane] = lanes[at]);
            }
        }
        Self { channels: self.channels, len: places.len(), blocks }
    }

    /// One point.
    pub fn point(&self, at: usize) -> Vec<f32> {
        let block = &self.blocks[at / LANES * self.channels..][..self.channels];
        block.iter().map(|lanes| lanes[at % LANES]).collect()
    }

    /// Runs `task` on stretches of blocks in parallel, the results in order; it gets the index of the first point and the blocks.
    fn by_task<R: Send>(&self, task: impl Fn(usize, &[Lanes]) -> R + Sync) -> Vec<R> {
        let each = |(at, blocks): (usize, &[Lanes])| task(at * TASK * LANES, blocks);
        self.blocks.par_chunks(self.channels * TASK).enumerate().map(each).collect()
    }

    /// How many active points lie within a distance of `centre`, and their mean if there are any.
    pub fn mean_within(&self, centre: &[f32], distance: f32, active: &[bool]) -> (usize, Option<Vec<f32>>) {
        let partial = self.by_task(|first, blocks| {
            widest(
                #[inline(always)]
                || sum_within(blocks, self.channels, centre, distance * distance, &active[first..]),
            )
        });
        let mut count = 0;
        let mut sum = vec![0f64; self.channels];
        for (n, partial) in partial {
            count += n;
            sum.iter_mut().zip(partial).for_each(|(s, p)| *s += p);
        }
        let mean = (count > 0).then(|| sum.iter().map(|s| (s / count as f64) as f32).collect());
        (count, mean)
    }

    /// How many points lie within a distance of `centre`.
    pub fn count_within(&self, centre: &[f32], distance: f32) -> usize {
        let partial = self.by_task(|_, blocks| {
            widest(
                #[inline(always)]
                || count_within(blocks, self.channels, centre, distance * distance),
            )
        });
        partial.into_iter().sum()
    }

    /// Which points lie within a distance of `centre`.
    pub fn within(&self, centre: &[f32], distance: f32) -> Vec<bool> {
        let mut within: Vec<bool> = self
            .by_task(|_, blocks| {
                widest(
                    #[inline(always)]
                    || {
                        let squares = blocks.chunks_exact(self.channels).map(|b| squares(b, centre));
                        squares.flat_map(|s| s.map(|s| s < distance * distance)).collect::<Vec<bool>>()
                    },
                )
            })
            .concat();
        within.truncate(self.len);
        within
    }

    /// Per point the nearest of the centres (`[centre][channel]`) that is within a distance, the first of equals.
    pub fn nearest(&self, centres: &[f32], distance: f32) -> Vec<Option<u32>> {
        // Nearer to a centre than half the way to any other is nearest to it; a little less, for the rounding of squares.
        let safe = (0.249 * least_square(centres, self.channels)).min(distance * distance);
        let mut nearest: Vec<Option<u32>> = self
            .by_task(|_, blocks| {
                widest(
                    #[inline(always)]
                    || nearest(blocks, self.channels, centres, distance * distance, safe),
                )
            })
            .concat();
        nearest.truncate(self.len);
        nearest
    }

    /// The mean of the points of each group, and the number of them; groups without points keep `centres`.
    pub fn group_means(&self, groups: &[Option<u32>], centres: &mut [f32]) -> Vec<usize> {
        let count = centres.len() / self.channels;
        let partial = self.by_task(|first, blocks| {
            let groups = &groups[first..];
            widest(
                #[inline(always)]
                || group_sums(blocks, self.channels, groups, count),
            )
        });
        let mut sums = vec![0f64; centres.len()];
        let mut sizes = vec![0; count];
        for (partial, n) in partial {
            sums.iter_mut().zip(partial).for_each(|(s, p)| *s += p);
            sizes.iter_mut().zip(n).for_each(|(s, n)| *s += n);
        }
        for ((centre, sum), size) in
            centres.chunks_exact_mut(self.channels).zip(sums.chunks_exact(self.channels)).zip(&sizes)
        {
            if *size > 0 {
                centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / *size as f64) as f32);
            }
        }
        sizes
    }
}

/// The sums `[group][channel]` and the sizes of groups. Neighbouring pixels mostly belong together: of each block one group after
/// another is summed, all sixteen lanes at once.
#[inline(always)]
fn group_sums(blocks: &[Lanes], channels: usize, groups: &[Option<u32>], count: usize) -> (Vec<f64>, Vec<usize>) {
    let mut sums = vec![[0f64; LANES]; count * channels];
    let mut sizes = vec![0usize; count];
    for (block, groups) in blocks.chunks_exact(channels).zip(groups.chunks(LANES)) {
        let mut of = [u32::MAX; LANES];
        of.iter_mut().zip(groups).for_each(|(of, group)| *of = group.unwrap_or(u32::MAX));
        while let Some(group) = of.iter().copied().find(|g| *g != u32::MAX) {
            let chosen = of.map(|g| g == group);
            for (sums, lanes) in sums[group as usize * channels..][..channels].iter_mut().zip(block) {
                for ((sum, x), chosen) in sums.iter_mut().zip(lanes).zip(&chosen) {
                    *sum += if *chosen { f64::from(*x) } else { 0.0 };
                }
            }
            for (of, chosen) in of.iter_mut().zip(&chosen) {
                sizes[group as usize] += usize::from(*chosen);
                *of = if *chosen { u32::MAX } else { *of };
            }
        }
    }
    (sums.iter().map(|lanes| lanes.iter().sum()).collect(), sizes)
}

/// Squared distances of the sixteen points of a block.
#[inline(always)]
fn squares(block: &[Lanes], centre: &[f32]) -> Lanes {
    let mut squares = [0f32; LANES];
    for (lanes, c) in block.iter().zip(centre) {
        for (square, x) in squares.iter_mut().zip(lanes) {
            *square += (x - c) * (x - c);
        }
    }
    squares
}

/// Lanes past the last pixel are infinitely far, so they are not counted.
#[inline(always)]
fn count_within(blocks: &[Lanes], channels: usize, centre: &[f32], square_distance: f32) -> usize {
    let mut counts = [0u32; LANES];
    for block in blocks.chunks_exact(channels) {
        for (count, square) in counts.iter_mut().zip(squares(block, centre)) {
            *count += u32::from(square < square_distance);
        }
    }
    counts.iter().sum::<u32>() as usize
}

#[inline(always)]
fn sum_within(
    blocks: &[Lanes],
    channels: usize,
    centre: &[f32],
    square_distance: f32,
    active: &[bool],
) -> (usize, Vec<f64>) {
    let mut count = 0;
    let mut sums = vec![[0f64; LANES]; channels];
    for (block, active) in blocks.chunks_exact(channels).zip(active.chunks(LANES)) {
        let mut chosen = [false; LANES];
        let mut any = 0;
        for ((chosen, square), active) in chosen.iter_mut().zip(squares(block, centre)).zip(active) {
            *chosen = *active && square < square_distance;
            any += usize::from(*chosen);
        }
        // Neighbouring pixels mostly belong together: most blocks have no point within the distance.
        if any == 0 {
            continue;
        }
        count += any;
        for (sums, lanes) in sums.iter_mut().zip(block) {
            for ((sum, x), chosen) in sums.iter_mut().zip(lanes).zip(&chosen) {
                *sum += if *chosen { f64::from(*x) } else { 0.0 };
            }
        }
    }
    (count, sums.iter().map(|lanes| lanes.iter().sum()).collect())
}

/// The least squared distance between two of the centres.
fn least_square(centres: &[f32], channels: usize) -> f32 {
    let mut least = f32::INFINITY;
    for (at, one) in centres.chunks_exact(channels).enumerate() {
        for other in centres.chunks_exact(channels).take(at) {
            least = least.min(one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum());
        }
    }
    least
}

/// A point within `safe` of a centre has it for its nearest. Neighbouring pixels mostly belong together: so the centre of the pixel
/// before is tried first, and all others only where that one is not safe.
#[inline(always)]
fn nearest(blocks: &[Lanes], channels: usize, centres: &[f32], square_distance: f32, safe: f32) -> Vec<Option<u32>> {
    let mut nearest = Vec::with_capacity(blocks.len() / channels * LANES);
    let mut before = 0;
    for block in blocks.chunks_exact(channels) {
        if let Some(centre) = centres.chunks_exact(channels).nth(before as usize) {
            let unsafe_lanes: usize = squares(block, centre).iter().map(|s| usize::from(*s >= safe)).sum();
            if unsafe_lanes == 0 {
                nearest.extend([Some(before); LANES]);
                continue;
            }
        }
        let mut best = [square_distance; LANES];
        let mut which = [u32::MAX; LANES];
        for (index, centre) in centres.chunks_exact(channels).enumerate() {
            let squares = squares(block, centre);
            // Two choices without a branch, so that the lanes stay a vector.
            for lane in 0..LANES {
                let closer = squares[lane] < best[lane];
                best[lane] = if closer { squares[lane] } else { best[lane] };
                which[lane] = if closer { index as u32 } else { which[lane] };
            }
        }
        before = which.iter().rev().copied().find(|w| *w != u32::MAX).unwrap_or(before);
        nearest.extend(which.map(|w| (w != u32::MAX).then_some(w)));
    }
    nearest
}
