//! Average precision of instances as the Cityscapes benchmark takes it, quirks included.
//!
//! A true region is the set of pixels of one id: `class * 1000 + k` is an instance, an instance class alone (26) a group.
//! At an overlap threshold `t` a prediction matches a true instance of its class if their IoU is above `t`. Of several
//! matches of one instance the highest confidence counts, the others are false positives. A prediction without a match is
//! left out if more than `t` of it lies on void, on groups and on regions that are too small (a small group counts twice),
//! and is a false positive if not. A missed instance lowers recall only.
//!
//! The curve has a point for every confidence that occurs, and an artificial one at precision 1, recall 0;
//! `AP = sum of precision_k (recall_{k-1} - recall_{k+1})/2`, with the first recall repeated before the first point and 0 after
//! the last: neither that of VOC nor that of COCO. A class without true instances has no AP (NaN) and is left out of means.
//! Where there are true instances, predictions, and none of these is counted, the program stops with an IndexError; here AP is 0.
//!
//! cityscapesScripts, `evalInstanceLevelSemanticLabeling.py` (MIT). Its distances need stereo depth and are not here.

use super::numpy;

/// Ids and names of the classes that are scored, in the order of the labels.
pub const CLASSES: [(u32, &str); 8] = [
    (24, "person"),
    (25, "rider"),
    (26, "car"),
    (27, "truck"),
    (28, "bus"),
    (31, "train"),
    (32, "motorcycle"),
    (33, "bicycle"),
];

/// The pixel values that are void. Groups of caravans (29) and trailers (30) are, single ones are not.
pub const VOID: [u32; 14] = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29];
const VOID_TRAILER: u32 = 30;

/// Every id of a Cityscapes label.
const MOST_CLASS: u32 = 33;

/// The number of overlap thresholds.
pub const OVERLAPS: usize = 10;

/// The smallest true region that is scored, in pixels.
pub const LEAST_REGION: usize = 100;

/// One predicted instance: its mask, class and confidence.
#[derive(Clone, Copy, Debug)]
pub struct PredictedInstance<'a> {
    /// Non-zero where the instance is, one byte per pixel of the truth.
    pub mask: &'a [u8],
    /// The id of its class.
    pub class: u32,
    /// How sure it is.
    pub confidence: f64,
}

/// What can be wrong with an image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CityscapesError {
    /// A mask of another size.
    #[error("mask {index} has {found} pixels, the truth {expected}; they must be of one size")]
    Size {
        /// Which of the image's predictions.
        index: usize,
        /// The truth's pixels.
        expected: usize,
        /// The mask's.
        found: usize,
    },
    /// A class that Cityscapes does not have.
    #[error("{what} has class {class}; Cityscapes' ids are 0 to {MOST_CLASS}")]
    Class {
        /// Whose class it is.
        what: String,
        /// The class.
        class: u32,
    },
    /// A confidence that is not finite.
    #[error("prediction {index} has confidence {confidence}; expected a finite number")]
    Confidence {
        /// Which of the image's predictions.
        index: usize,
        /// The confidence.
        confidence: f64,
    },
}

/// Collects matches image by image.
#[derive(Clone, Debug, Default)]
pub struct Cityscapes {
    /// `[class][overlap]`
    cells: [[Cell; OVERLAPS]; CLASSES.len()],
    found: [Found; CLASSES.len()],
}

/// What one class and threshold has collected.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// Confidence, and whether it is true.
    scores: Vec<(f64, bool)>,
    missed: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Found {
    truth: bool,
    prediction: bool,
}

/// Average precisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `[class][overlap]`; NaN where the class has no true instance.
    pub ap: [[f64; OVERLAPS]; CLASSES.len()],
    /// Mean over classes and overlaps.
    pub mean_ap: f64,
    /// Mean over classes at an overlap of 0.5.
    pub mean_ap50: f64,
}

/// A true region of one class.
struct Region {
    id: u32,
    size: usize,
}

impl Region {
    fn is_group(&self) -> bool {
        self.id < 1000
    }

    fn is_small(&self) -> bool {
        self.size < LEAST_REGION
    }
}

/// A prediction and its overlaps with the regions of its class.
struct Candidate {
    size: usize,
    void: usize,
    confidence: f64,
    /// Per region of the class, the pixels in common.
    shared: Vec<usize>,
}

impl Candidate {
    fn iou(&self, region: usize, regions: &[Region]) -> f64 {
        let shared = self.shared[region];
        shared as f64 / (regions[region].size + self.size - shared) as f64
    }

    /// The share that lies on what is left out; a region that is both group and small counts twice.
    fn ignored(&self, regions: &[Region]) -> f64 {
        let times = |r: &Region| usize::from(r.is_group()) + usize::from(r.is_small());
        let on_regions: usize = self.shared.iter().zip(regions).map(|(s, r)| s * times(r)).sum();
        (self.void + on_regions) as f64 / self.size as f64
    }
}

/// The overlap thresholds, as `numpy.arange(0.5, 1, 0.05)` has them: 0.6 is 0.6000000000000001.
pub fn overlaps() -> [f64; OVERLAPS] {
    std::array::from_fn(|i| 0.5 + i as f64 * ((0.5 + 0.05) - 0.5))
}

impl Cityscapes {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one image: `truth` holds the values of its `instanceIds` picture. Predictions may overlap; empty masks and
    /// classes that are not scored are skipped.
    ///
    /// # Errors
    /// A mask of another size, a class that there is not, a confidence that is not finite; then nothing was added.
    pub fn add(&mut self, truth: &[u32], predictions: &[PredictedInstance<'_>]) -> Result<(), CityscapesError> {
        check(truth, predictions)?;
        let mut values: Vec<u32> = truth.to_vec();
        values.dedup();
        values.sort_unstable();
        values.dedup();
        if let Some(value) = values.iter().find(|v| class_of(**v) > MOST_CLASS) {
            let what = format!("the true value {value}");
            return Err(CityscapesError::Class { what, class: class_of(*value) });
        }
        // Where each pixel's value stands in the sorted list, once for all masks.
        let places: Vec<u32> = truth.iter().map(|v| values.partition_point(|o| o < v) as u32).collect();
        let sizes = histogram(&places, values.len(), |_| true);

        for (at, (class, _)) in CLASSES.iter().enumerate() {
            let own: Vec<usize> = (0..values.len()).filter(|&i| class_of(values[i]) == *class).collect();
            let regions: Vec<Region> = own.iter().map(|&i| Region { id: values[i], size: sizes[i] }).collect();
            let candidates: Vec<Candidate> = predictions
                .iter()
                .filter(|p| p.class == *class)
                .filter_map(|p| candidate(p, &places, &values, &own))
                .collect();
            self.found[at].truth |= regions.iter().any(|r| !r.is_group() && !r.is_small());
            self.found[at].prediction |= !candidates.is_empty();
            for (cell, threshold) in self.cells[at].iter_mut().zip(overlaps()) {
                cell.add(&regions, &candidates, threshold);
            }
        }
        Ok(())
    }

    /// The average precisions over all images added.
    pub fn report(&self) -> Report {
        let ap: [[f64; OVERLAPS]; CLASSES.len()] = std::array::from_fn(|class| {
            std::array::from_fn(|overlap| match self.found[class] {
                Found { truth: false, .. } => f64::NAN,
                Found { prediction: false, .. } => 0.0,
                _ => self.cells[class][overlap].average_precision(),
            })
        });
        let at_50: Vec<f64> = ap.iter().map(|row| row[0]).collect();
        Report { ap, mean_ap: nan_mean(ap.as_flattened()), mean_ap50: nan_mean(&at_50) }
    }
}

impl Report {
    /// The mean over the overlaps of one class; NaN where it has no true instance.
    pub fn class_ap(&self, class: usize) -> f64 {
        numpy::mean(&self.ap[class])
    }
}

/// The mean of what is a number, as `numpy.nanmean`.
fn nan_mean(values: &[f64]) -> f64 {
    let zeroed: Vec<f64> = values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
    numpy::sum(&zeroed) / values.iter().filter(|v| !v.is_nan()).count() as f64
}

fn check(truth: &[u32], predictions: &[PredictedInstance<'_>]) -> Result<(), CityscapesError> {
    for (index, p) in predictions.iter().enumerate() {
        if p.mask.len() != truth.len() {
            return Err(CityscapesError::Size { index, expected: truth.len(), found: p.mask.len() });
        }
        if p.class > MOST_CLASS {
            return Err(CityscapesError::Class { what: format!("prediction {index}"), class: p.class });
        }
        if !p.confidence.is_finite() {
            return Err(CityscapesError::Confidence { index, confidence: p.confidence });
        }
    }
    Ok(())
}

fn class_of(value: u32) -> u32 {
    if value < 1000 { value } else { value / 1000 }
}

fn is_void(value: u32) -> bool {
    VOID.contains(&value) || value == VOID_TRAILER
}

fn histogram(places: &[u32], length: usize, counts: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut histogram = vec![0; length];
    for (i, place) in places.iter().enumerate() {
        histogram[*place as usize] += usize::from(counts(i));
    }
    histogram
}

/// The prediction's overlaps with the regions at `own`; `None` of an empty mask.
fn candidate(p: &PredictedInstance<'_>, places: &[u32], values: &[u32], own: &[usize]) -> Option<Candidate> {
    let shared = histogram(places, values.len(), |i| p.mask[i] != 0);
    let size: usize = shared.iter().sum();
    let void = shared.iter().zip(values).filter(|(_, v)| is_void(**v)).map(|(s, _)| s).sum();
    let shared = own.iter().map(|&i| shared[i]).collect();
    (size > 0).then_some(Candidate { size, void, confidence: p.confidence, shared })
}

impl Cell {
    fn add(&mut self, regions: &[Region], candidates: &[Candidate], threshold: f64) {
        for (at, _) in regions.iter().enumerate().filter(|(_, r)| !r.is_group() && !r.is_small()) {
            let mut best: Option<f64> = None;
            for candidate in candidates.iter().filter(|c| c.iou(at, regions) > threshold) {
                let confidence = candidate.confidence;
                if let Some(before) = best {
                    self.scores.push((before.min(confidence), false));
                }
                best = Some(best.map_or(confidence, |b| b.max(confidence)));
            }
            match best {
                Some(confidence) => self.scores.push((confidence, true)),
                None => self.missed += 1,
            }
        }
        for candidate in candidates {
            let matched = (0..regions.len()).any(|at| candidate.iou(at, regions) > threshold);
            if !matched && candidate.ignored(regions) <= threshold {
                self.scores.push((candidate.confidence, false));
            }
        }
    }

    fn average_precision(&self) -> f64 {
        let mut scores = self.scores.clone();
        scores.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all_true = scores.iter().filter(|s| s.1).count();
        let instances = (all_true + self.missed) as f64;
        let (mut precision, mut recall) = (Vec::new(), Vec::new());
        // The true ones before `at`.
        let mut below = 0;
        for (at, (score, is_true)) in scores.iter().enumerate() {
            // Only the first of equal confidences is a threshold.
            if at == 0 || scores[at - 1].0 != *score {
                let hits = (all_true - below) as f64;
                precision.push(hits / (scores.len() - at) as f64);
                recall.push(hits / instances);
            }
            below += usize::from(*is_true);
        }
        if precision.is_empty() {
            return 0.0;
        }
        precision.push(1.0);
        recall.push(0.0);
        let last = recall.len() - 1;
        let width = |k: usize| {
            let next = if k == last { 0.0 } else { recall[k + 1] };
            0.5 * recall[k.saturating_sub(1)] - 0.5 * next
        };
        precision.iter().enumerate().fold(0.0, |sum, (k, p)| sum + p * width(k))
    }
}

#[cfg(test)]
mod tests;
