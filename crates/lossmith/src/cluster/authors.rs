//! The procedure of the authors' program, for comparison with published figures.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::mean_shift::shift;
use super::{ClusterError, Embeddings, Instances, Points, check_bandwidth, finish};

/// Clustering ends when so few pixels are left, or after so many shifts in a row that do not come to rest.
const LEFTOVER: usize = 100;
const MOST_FAILURES: usize = 20;
/// Instances of so many pixels and fewer are dropped.
const TOO_SMALL: usize = 10;

/// The authors' procedure, published with a bandwidth of 1.5: mean-shift from a random unclustered pixel over the
/// unclustered ones; all pixels of the image within the bandwidth of the mean, background and clustered ones too, are an
/// instance if less than half of them is labelled already: then the unclustered ones among them are opened (3 x 3; the border
/// of the image does not erode) and labelled. In both cases they are done. Up to 100 pixels stay unlabelled, and so do pixels
/// that the opening takes away.
///
/// # Errors
/// A bandwidth that is no positive number.
pub fn authors(embeddings: Embeddings<'_>, bandwidth: f32, seed: u64) -> Result<Instances, ClusterError> {
    check_bandwidth(bandwidth)?;
    let all: Vec<u32> = (0..embeddings.pixels() as u32).collect();
    let points = Points::gather(embeddings, &all);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut active = embeddings.foreground.to_vec();
    let mut labels = vec![0; embeddings.pixels()];
    let (mut label, mut failures) = (0, 0);
    loop {
        let left: Vec<usize> = (0..active.len()).filter(|i| active[*i]).collect();
        if left.len() <= LEFTOVER || failures >= MOST_FAILURES {
            return Ok(finish(embeddings, labels, TOO_SMALL + 1));
        }
        let start = points.point(left[rng.random_range(0..left.len())]);
        let Some(mean) = shift(&points, start, bandwidth, &active) else {
            failures += 1;
            continue;
        };
        failures = 0;
        let within = points.within(&mean, bandwidth);
        let size = within.iter().filter(|w| **w).count();
        let labelled = within.iter().zip(&labels).filter(|(w, l)| **w && **l > 0).count();
        if (labelled as f64) < 0.5 * size as f64 {
            label += 1;
            let fresh: Vec<bool> = within.iter().zip(&active).map(|(w, a)| *w && *a).collect();
            let opened = open(&fresh, embeddings.width);
            labels.iter_mut().zip(opened).filter(|(_, opened)| *opened).for_each(|(l, _)| *l = label);
        }
        let before = left.len();
        active.iter_mut().zip(within).for_each(|(a, w)| *a &= !w);
        // A mean that none of its pixels is near any more would be found again and again.
        if active.iter().filter(|a| **a).count() == before {
            failures += 1;
        }
    }
}

/// Erosion, then dilation, with a square of 3 x 3.
fn open(mask: &[bool], width: usize) -> Vec<bool> {
    let eroded = with_neighbours(mask, width, |all, v| all && v);
    with_neighbours(&eroded, width, |any, v| any || v)
}

/// Each pixel joined with its eight neighbours, those that there are.
fn with_neighbours(mask: &[bool], width: usize, join: fn(bool, bool) -> bool) -> Vec<bool> {
    let height = mask.len().checked_div(width).unwrap_or(0);
    let at = |y: usize, x: usize| {
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        rows.flat_map(|y| columns.clone().map(move |x| mask[y * width + x])).fold(mask[y * width + x], join)
    };
    (0..mask.len()).map(|i| at(i / width, i % width)).collect()
}
