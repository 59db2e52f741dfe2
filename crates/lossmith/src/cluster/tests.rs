use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::metric::instances::{Mode, Overlaps};

const SIDE: usize = 48;
const CHANNELS: usize = 4;

/// Squares of 12 x 12 pixels on background, embeddings within `spread` of centres that are 3 apart.
fn scene(spread: f32) -> (Vec<f32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let truth: Vec<u32> = (0..SIDE * SIDE)
        .map(|i| {
            let (y, x) = (i / SIDE, i % SIDE);
            let instance = (y / 16 * 3 + x / 16) as u32 + 1;
            if y % 16 < 12 && x % 16 < 12 { instance } else { 0 }
        })
        .collect();
    let mut embedding = vec![0f32; CHANNELS * SIDE * SIDE];
    for (i, label) in truth.iter().enumerate() {
        for channel in 0..CHANNELS {
            let centre = ((*label as usize >> (2 * channel)) & 3) as f32 * 3.0;
            embedding[channel * SIDE * SIDE + i] = centre + rng.random_range(-spread..=spread);
        }
    }
    (embedding, truth)
}

fn sbd(found: &Instances, truth: &[u32]) -> f64 {
    Overlaps::between(truth, &found.labels).unwrap().scores(Mode::Corrected).sbd
}

fn all(embeddings: Embeddings<'_>, truth: &[u32]) -> [(&'static str, Instances); 4] {
    [
        ("mean_shift", mean_shift(embeddings, MeanShift::default()).unwrap()),
        ("from_pixels", from_pixels(embeddings, 1.5, 20, 3).unwrap()),
        ("authors", authors(embeddings, 1.5, 3).unwrap()),
        ("centre", centre_threshold(embeddings, truth, 1.5).unwrap()),
    ]
}

#[test]
fn embeddings_of_zero_loss_are_clustered_without_error() {
    // Every offset is at most 0.25 per channel: within 0.5 of the centre.
    let (x, truth) = scene(0.25);
    let foreground: Vec<bool> = truth.iter().map(|t| *t > 0).collect();
    let embeddings = Embeddings::new(&x, CHANNELS, SIDE, SIDE, &foreground).unwrap();
    for (name, found) in all(embeddings, &truth) {
        assert_eq!(sbd(&found, &truth), 1.0, "{name}");
        assert_eq!(found.instances.len(), 9, "{name}");
        assert!(found.instances.iter().all(|i| i.size == 144 && i.score > 0.4 && i.score < 0.8), "{name}");
    }
}

#[test]
fn looser_embeddings_score_lower_and_nothing_depends_on_threads() {
    let (x, truth) = scene(0.6);
    let foreground: Vec<bool> = truth.iter().map(|t| *t > 0).collect();
    let embeddings = Embeddings::new(&x, CHANNELS, SIDE, SIDE, &foreground).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| all(embeddings, &truth))
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert!(sbd(&one[0].1, &truth) > 0.95);
    assert!(one[0].1.instances.iter().all(|i| i.score < 0.4));
}

#[test]
fn what_lies_between_two_instances_is_none() {
    // Two instances three apart, and between them forty pixels that are neither: a tight group, as far from one as from the other.
    let places = [(200, 0.0), (40, 1.5), (160, 3.0)];
    let x: Vec<f32> = places.iter().flat_map(|(count, at)| vec![*at; *count]).collect();
    let foreground = vec![true; x.len()];
    let embeddings = Embeddings::new(&x, 1, 20, 20, &foreground).unwrap();
    let sizes = |separation| -> Vec<usize> {
        let settings = MeanShift { separation, ..MeanShift::default() };
        mean_shift(embeddings, settings).unwrap().instances.iter().map(|i| i.size).collect()
    };
    assert_eq!(sizes(0.0), [200, 160, 40]);
    assert_eq!(sizes(2.0), [240, 160]);
}

#[test]
fn nearest_centres_and_group_means_agree_with_a_plain_form() {
    let (x, _) = scene(0.9);
    let foreground = vec![true; SIDE * SIDE];
    let embeddings = Embeddings::new(&x, CHANNELS, SIDE, SIDE, &foreground).unwrap();
    let pixels: Vec<u32> = (0..(SIDE * SIDE) as u32 - 5).collect();
    let points = Points::gather(embeddings, &pixels);
    let centres: Vec<f32> = [7, 300, 611, 613, 1500, 2000].iter().flat_map(|i| points.point(*i)).collect();
    let square =
        |i: usize, centre: &[f32]| -> f32 { points.point(i).iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum() };
    let found = points.nearest(&centres, 1.6);
    for (i, found) in found.iter().enumerate() {
        let mut best = (1.6 * 1.6, None);
        for (at, centre) in centres.chunks_exact(CHANNELS).enumerate() {
            if square(i, centre) < best.0 {
                best = (square(i, centre), Some(at as u32));
            }
        }
        assert_eq!(*found, best.1, "{i}");
    }
    let mut means = centres;
    let sizes = points.group_means(&found, &mut means);
    for (group, size) in sizes.iter().enumerate() {
        let own: Vec<usize> = (0..found.len()).filter(|i| found[*i] == Some(group as u32)).collect();
        assert_eq!(*size, own.len());
        for channel in 0..CHANNELS {
            let mean = own.iter().map(|i| f64::from(points.point(*i)[channel])).sum::<f64>() / own.len() as f64;
            assert!((mean - f64::from(means[group * CHANNELS + channel])).abs() < 1e-5);
        }
    }
    let count = (0..pixels.len()).filter(|i| square(*i, &points.point(9)) < 2.25).count();
    assert_eq!(points.count_within(&points.point(9), 1.5), count);
}

#[test]
fn mean_shift_agrees_with_a_plain_form() {
    let (x, truth) = scene(0.5);
    let foreground: Vec<bool> = truth.iter().map(|t| *t > 0).collect();
    let embeddings = Embeddings::new(&x, CHANNELS, SIDE, SIDE, &foreground).unwrap();
    let point = |i: usize| -> Vec<f64> { (0..CHANNELS).map(|c| f64::from(x[c * SIDE * SIDE + i])).collect() };
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() < 1.5 * 1.5;
    // From the first pixel on, in the order of the image.
    let mut labels = vec![0u32; truth.len()];
    for label in 1.. {
        let left: Vec<usize> = (0..truth.len()).filter(|i| foreground[*i] && labels[*i] == 0).collect();
        let Some(first) = left.first() else { break };
        let mut mean = point(*first);
        for _ in 0..100 {
            let own: Vec<Vec<f64>> = left.iter().map(|i| point(*i)).filter(|p| near(p, &mean)).collect();
            mean = (0..CHANNELS).map(|c| own.iter().map(|p| p[c]).sum::<f64>() / own.len() as f64).collect();
        }
        left.into_iter().filter(|i| near(&point(*i), &mean)).for_each(|i| labels[i] = label);
    }
    let found = mean_shift(embeddings, MeanShift { least_size: 1, reach: 0.0, ..MeanShift::default() }).unwrap();
    assert!(Overlaps::between(&labels, &found.labels).unwrap().scores(Mode::Corrected).sbd > 0.99);
}

#[test]
fn nothing_to_cluster_is_no_error() {
    let x = vec![0f32; CHANNELS * 6];
    let none = [false; 6];
    let embeddings = Embeddings::new(&x, CHANNELS, 2, 3, &none).unwrap();
    for (name, found) in all(embeddings, &[0; 6]) {
        assert_eq!((found.labels.as_slice(), found.instances.len()), ([0; 6].as_slice(), 0), "{name}");
    }
    // A single foreground pixel is an instance if so small ones are asked for.
    let one = [false, false, true, false, false, false];
    let embeddings = Embeddings::new(&x, CHANNELS, 2, 3, &one).unwrap();
    let settings = MeanShift { least_size: 1, ..MeanShift::default() };
    assert_eq!(mean_shift(embeddings, settings).unwrap().labels, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn bad_input_is_named() {
    let mut x = vec![0f32; 2 * 6];
    let mask = [true; 6];
    assert!(Embeddings::new(&x, 3, 2, 3, &mask).unwrap_err().to_string().contains("expected 18 numbers"));
    assert!(Embeddings::new(&x, 2, 2, 3, &mask[..5]).unwrap_err().to_string().starts_with("foreground"));
    let embeddings = Embeddings::new(&x, 2, 2, 3, &mask).unwrap();
    assert!(mean_shift(embeddings, MeanShift { bandwidth: 0.0, ..MeanShift::default() }).is_err());
    assert!(authors(embeddings, f32::NAN, 0).is_err());
    x[10] = f32::NAN;
    let error = Embeddings::new(&x, 2, 2, 3, &mask).unwrap_err().to_string();
    assert_eq!(error, "the embedding is NaN in channel 1 at row 1, column 1; every number must be finite");
}
