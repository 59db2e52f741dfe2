//! Mean-shift with a flat kernel of known width.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{ClusterError, Embeddings, Instances, Points, check_bandwidth, finish};

/// The settings of [`mean_shift`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanShift {
    /// The radius of the flat kernel, in units of the embedding.
    pub bandwidth: f32,
    /// Smaller instances are dropped, in pixels.
    pub least_size: usize,
    /// How far from a centre a pixel may lie that no centre is within the bandwidth of; 0 leaves such pixels unlabelled.
    pub reach: f32,
    /// How far apart centres are at least: of two that are nearer the one with more pixels around it stands. Where one instance meets
    /// another a network's embeddings pass from one centre to the other, and a few rest in between; the loss wants centres
    /// `2 delta_d` apart, so what is much nearer is none. At most the bandwidth is the same as the bandwidth.
    pub separation: f32,
}

impl Default for MeanShift {
    /// For the published margins: bandwidth 1.5, reach `2 delta_d - delta_v` = 2.5; instances of 20 pixels and more.
    fn default() -> Self {
        Self { bandwidth: 1.5, least_size: 20, reach: 2.5, separation: 1.5 }
    }
}

/// A shift ends when the mean moves by no more than this, or after so many steps.
const TOLERANCE: f32 = 1e-4;
const MOST_STEPS: usize = 100;
/// Foreground pixels that seeds are looked for among, in each round.
const SAMPLE: usize = 1024;
/// Rounds: what a sample misses is found among what is left.
const ROUNDS: usize = 4;

/// Clusters the foreground. Nothing is random: among an even sample of the unlabelled pixels the one with the most
/// neighbours within the bandwidth is shifted to the mean of these until it rests; the pixels around it are done, and so on.
/// The centres are refined on all pixels, each pixel goes to its nearest centre within the bandwidth, and what is left is
/// sampled again.
///
/// # Errors
/// A bandwidth that is no positive number.
pub fn mean_shift(embeddings: Embeddings<'_>, settings: MeanShift) -> Result<Instances, ClusterError> {
    check_bandwidth(settings.bandwidth)?;
    let pixels = embeddings.foreground_pixels();
    let points = Points::gather(embeddings, &pixels);
    let least = settings.least_size.max(1);
    let mut centres: Vec<f32> = Vec::new();
    let mut nearest: Vec<Option<u32>> = vec![None; points.len];
    let separation = settings.separation.max(settings.bandwidth);
    for round in 0..ROUNDS {
        let left = unassigned(&nearest);
        if left.len() < least {
            break;
        }
        let found = sample_centres(embeddings, &pixels, &left, settings.bandwidth, least);
        let mut new = distant(&centres, &found, points.channels, separation);
        // What is left is mostly far less than all, and mostly no instance: so new centres must first hold there.
        let rest = (round > 0).then(|| points.select(&left));
        let assigned = refine(rest.as_ref().unwrap_or(&points), &mut new, settings.bandwidth, least);
        if new.is_empty() {
            break;
        }
        centres.extend(new);
        nearest = if round == 0 { assigned } else { refine(&points, &mut centres, settings.bandwidth, least) };
    }
    if settings.reach > settings.bandwidth && !centres.is_empty() {
        let left = unassigned(&nearest);
        let reached = points.select(&left).nearest(&centres, settings.reach);
        left.iter().zip(reached).for_each(|(i, reached)| nearest[*i as usize] = reached);
    }
    let mut labels = vec![0; embeddings.pixels()];
    for (pixel, nearest) in pixels.iter().zip(nearest) {
        labels[*pixel as usize] = nearest.map_or(0, |n| n + 1);
    }
    Ok(finish(embeddings, labels, least))
}

fn unassigned(nearest: &[Option<u32>]) -> Vec<u32> {
    (0..nearest.len() as u32).filter(|i| nearest[*i as usize].is_none()).collect()
}

/// Centres among an even sample of the points at `left`, the densest first.
fn sample_centres(embeddings: Embeddings<'_>, pixels: &[u32], left: &[u32], bandwidth: f32, least: usize) -> Vec<f32> {
    let count = left.len().min(SAMPLE);
    let sample: Vec<u32> = (0..count).map(|i| pixels[left[i * left.len() / count] as usize]).collect();
    let points = Points::gather(embeddings, &sample);
    // A seed with fewer neighbours stands for an instance that would be dropped.
    let least_neighbours = (least * count / left.len()).max(1);

    let mut active = vec![true; points.len];
    let mut density: Vec<usize> = (0..points.len).map(|i| points.count_within(&points.point(i), bandwidth)).collect();
    let mut centres = Vec::new();
    loop {
        let densest = (0..points.len).filter(|i| active[*i]).max_by_key(|i| (density[*i], usize::MAX - i));
        let Some(seed) = densest.filter(|i| density[*i] >= least_neighbours) else { return centres };
        let centre = shift(&points, points.point(seed), bandwidth, &active).unwrap_or_else(|| points.point(seed));
        let around = points.within(&centre, bandwidth);
        for (active, _) in active.iter_mut().zip(around).filter(|(_, around)| *around) {
            *active = false;
        }
        // A seed that its own mean has left behind is done all the same.
        active[seed] = false;
        density.iter_mut().zip(&active).for_each(|(d, a)| *d = if *a { *d } else { 0 });
        centres.extend(centre);
    }
}

/// Shifts to the mean of the active points within the bandwidth until it rests; `None` if it does not come to rest.
pub(super) fn shift(points: &Points, start: Vec<f32>, bandwidth: f32, active: &[bool]) -> Option<Vec<f32>> {
    let mut mean = start;
    for _ in 0..MOST_STEPS {
        let next = points.mean_within(&mean, bandwidth, active).1.unwrap_or_else(|| mean.clone());
        let moved: f32 = mean.iter().zip(&next).map(|(a, b)| (a - b) * (a - b)).sum();
        mean = next;
        if moved.sqrt() <= TOLERANCE {
            return Some(mean);
        }
    }
    None
}

/// Those of the found centres that are at least a distance away from all before them, known or found.
fn distant(known: &[f32], found: &[f32], channels: usize, distance: f32) -> Vec<f32> {
    let mut new: Vec<f32> = Vec::new();
    for centre in found.chunks_exact(channels) {
        let near = known.chunks_exact(channels).chain(new.chunks_exact(channels)).any(|other| {
            let square: f32 = centre.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            square < distance * distance
        });
        if !near {
            new.extend_from_slice(centre);
        }
    }
    new
}

/// Moves the centres to the means of their pixels, drops those that have too few, and assigns every point.
fn refine(points: &Points, centres: &mut Vec<f32>, bandwidth: f32, least: usize) -> Vec<Option<u32>> {
    const STEPS: usize = 2;
    for _ in 0..STEPS {
        let nearest = points.nearest(centres, bandwidth);
        let sizes = points.group_means(&nearest, centres);
        let mut kept = sizes.iter().map(|s| *s >= least);
        *centres =
            centres.chunks_exact(points.channels).filter(|_| kept.next().unwrap_or(false)).flatten().copied().collect();
    }
    points.nearest(centres, bandwidth)
}

/// The paper's fast mean-shift: from a random unlabelled foreground pixel to the mean of the unlabelled ones within the
/// bandwidth, until it rests; the pixels around the mean get one label; until all are labelled. Instances below
/// `least_size` are dropped.
///
/// # Errors
/// A bandwidth that is no positive number.
pub fn from_pixels(
    embeddings: Embeddings<'_>,
    bandwidth: f32,
    least_size: usize,
    seed: u64,
) -> Result<Instances, ClusterError> {
    check_bandwidth(bandwidth)?;
    let pixels = embeddings.foreground_pixels();
    let points = Points::gather(embeddings, &pixels);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut active = vec![true; points.len];
    let mut left: Vec<u32> = (0..points.len as u32).collect();
    let mut labels = vec![0; embeddings.pixels()];
    let mut label = 0;
    while !left.is_empty() {
        label += 1;
        let start = left[rng.random_range(0..left.len())] as usize;
        let centre = shift(&points, points.point(start), bandwidth, &active).unwrap_or_else(|| points.point(start));
        let around = points.within(&centre, bandwidth);
        left.retain(|i| {
            let i = *i as usize;
            // The starting pixel always goes, so that this comes to an end.
            let taken = around[i] || i == start;
            if taken {
                active[i] = false;
                labels[pixels[i] as usize] = label;
            }
            !taken
        });
    }
    Ok(finish(embeddings, labels, least_size))
}
