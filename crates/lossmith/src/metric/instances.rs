//! Instance segmentation scored on label images: symmetric best Dice, counts, matching at an IoU, average precision as in
//! the Data Science Bowl, panoptic quality, aggregated Jaccard index.
//!
//! ```text
//! Dice(a, b)    = 2 |a ∩ b| / (|a| + |b|)            IoU(a, b) = |a ∩ b| / |a ∪ b|
//! BestDice(A,B) = mean over the instances a of A of the greatest Dice(a, b) over the instances b of B
//! SBD           = min(BestDice(prediction, truth), BestDice(truth, prediction))
//! DiC           = instances predicted - instances true
//! match at t    : a pair with IoU > t; t >= 0.5 makes matches unique.  TP = matches, FP, FN = instances without one
//! F1            = 2 TP / (2 TP + FP + FN)
//! AP (DSB)      = mean over t = 0.5, 0.55 .. 0.95 of TP / (TP + FP + FN)
//! PQ            = sum of IoU over the matches at 0.5 / (TP + FP/2 + FN/2)
//! AJI           = sum over true a of |a ∩ b_a| / (sum of |a ∪ b_a| + sum of |b| of the b that are no b_a), b_a = argmax IoU(a, b)
//! ```
//!
//! Everything follows from one pass over the two images: how many pixels each pair of labels shares.
//!
//! [`Mode::Corrected`], the default, takes 0 as background and the ids that exist as the instances; where truth and
//! prediction both have none every score is 1, where only one has none it is 0. [`Mode::Lsc`] is the program of the CVPPP
//! Leaf Segmentation Challenge with its quirks: the background is the lowest label of each image (so an image without
//! background loses its lowest leaf), counts and means go by the range of the labels (gaps count as instances of Dice 0),
//! and an image of one label scores 0. Both agree on consecutive labels from 0.
//!
//! Scharr et al. 2016 (SBD), Caicedo et al. 2019 (DSB), Kirillov et al. 2019 (PQ), Kumar et al. 2017 (AJI).

use super::numpy;

/// The IoU thresholds of the Data Science Bowl's average precision.
pub const DSB_THRESHOLDS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// Which program Dice and counts follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// 0 is background; the ids that exist are the instances.
    #[default]
    Corrected,
    /// The Leaf Segmentation Challenge's: the lowest label is background, counts go by the range of the labels.
    Lsc,
}

/// What the label images have in common: sizes of all labels and of all overlaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlaps {
    truth: Vec<Region>,
    prediction: Vec<Region>,
    /// Sorted by truth and then by prediction; indices into the two lists.
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    label: u32,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    truth: usize,
    prediction: usize,
    size: u64,
}

/// The two label images do not have the same number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the true labels have {truth} pixels, the predicted ones {prediction}; they must be of one size")]
pub struct SizeMismatch {
    /// Pixels of the true labels.
    pub truth: usize,
    /// Pixels of the predicted labels.
    pub prediction: usize,
}

/// The pairs that match at one IoU threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Matching {
    /// True instances with a match.
    pub true_positives: usize,
    /// Predicted instances without one.
    pub false_positives: usize,
    /// True instances without one.
    pub false_negatives: usize,
    /// The sum of the matches' IoU.
    pub iou: f64,
}

/// The scores of one image.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Scores {
    /// Symmetric best Dice.
    pub sbd: f64,
    /// Best Dice over the predicted instances; the challenge's one-sided form.
    pub best_dice: f64,
    /// Dice of foreground against background.
    pub fg_dice: f64,
    /// Predicted minus true count.
    pub dic: f64,
    /// Its absolute value.
    pub abs_dic: f64,
    /// F1 at IoU 0.5.
    pub f1_50: f64,
    /// The Data Science Bowl's average precision.
    pub ap_dsb: f64,
    /// Panoptic quality.
    pub pq: f64,
    /// Aggregated Jaccard index.
    pub aji: f64,
    /// Instances in the truth.
    pub true_count: f64,
    /// Instances in the prediction.
    pub predicted_count: f64,
}

impl Overlaps {
    /// Counts the pixels that each pair of labels shares; 0 is a label like any other here.
    ///
    /// # Errors
    /// The images differ in size.
    pub fn between(truth: &[u32], prediction: &[u32]) -> Result<Self, SizeMismatch> {
        if truth.len() != prediction.len() {
            return Err(SizeMismatch { truth: truth.len(), prediction: prediction.len() });
        }
        let counts = shared(truth, prediction);
        let truths = regions(counts.iter().map(|((t, _), n)| (*t, *n)).collect());
        let predictions = regions(counts.iter().map(|((_, p), n)| (*p, *n)).collect());
        let index = |regions: &[Region], label: u32| regions.partition_point(|r| r.label < label);
        let pairs = counts
            .iter()
            .map(|((t, p), size)| Pair { truth: index(&truths, *t), prediction: index(&predictions, *p), size: *size })
            .collect();
        Ok(Self { truth: truths, prediction: predictions, pairs })
    }

    /// Every score of this image.
    pub fn scores(&self, mode: Mode) -> Scores {
        let (true_count, predicted_count) = (count(&self.truth, mode), count(&self.prediction, mode));
        let best_dice = self.best_dice(Side::Prediction, mode);
        let dic = predicted_count - true_count;
        let matched = self.matching_unchecked(0.5);
        Scores {
            sbd: best_dice.min(self.best_dice(Side::Truth, mode)),
            best_dice,
            fg_dice: self.foreground_dice(mode),
            dic,
            abs_dic: dic.abs(),
            f1_50: matched.f1(),
            ap_dsb: numpy::mean(&DSB_THRESHOLDS.map(|t| self.matching_unchecked(t).precision())),
            pq: matched.panoptic_quality(),
            aji: self.aggregated_jaccard(),
            true_count,
            predicted_count,
        }
    }

    /// The matches at an IoU above `threshold`; `None` unless it is at least 0.5, which makes matches unique, and below 1.
    pub fn matching(&self, threshold: f64) -> Option<Matching> {
        (0.5..1.0).contains(&threshold).then(|| self.matching_unchecked(threshold))
    }

    fn matching_unchecked(&self, threshold: f64) -> Matching {
        let ious: Vec<f64> = self.instance_pairs().map(|p| self.iou(p)).filter(|iou| *iou > threshold).collect();
        let instances = |regions: &[Region]| regions.iter().filter(|r| r.label > 0).count();
        Matching {
            true_positives: ious.len(),
            false_positives: instances(&self.prediction) - ious.len(),
            false_negatives: instances(&self.truth) - ious.len(),
            // Not `sum`, which makes -0 of nothing.
            iou: ious.iter().fold(0.0, |sum, iou| sum + iou),
        }
    }

    /// The pairs of a true and a predicted instance.
    fn instance_pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|p| self.truth[p.truth].label > 0 && self.prediction[p.prediction].label > 0)
    }

    fn iou(&self, pair: &Pair) -> f64 {
        pair.size as f64 / self.union(pair) as f64
    }

    fn union(&self, pair: &Pair) -> u64 {
        self.truth[pair.truth].size + self.prediction[pair.prediction].size - pair.size
    }

    /// The mean over one side's instances of the greatest Dice with an instance of the other.
    fn best_dice(&self, side: Side, mode: Mode) -> f64 {
        let (own, other) = match side {
            Side::Truth => (&self.truth, &self.prediction),
            Side::Prediction => (&self.prediction, &self.truth),
        };
        let instances = count(own, mode);
        if instances == 0.0 {
            return if mode == Mode::Corrected && count(other, mode) == 0.0 { 1.0 } else { 0.0 };
        }
        let (own_background, other_background) = (background(own, mode), background(other, mode));
        let mut best = vec![0f64; own.len()];
        for pair in &self.pairs {
            let (i, j) = match side {
                Side::Truth => (pair.truth, pair.prediction),
                Side::Prediction => (pair.prediction, pair.truth),
            };
            if other[j].label != other_background {
                let dice = 2.0 * pair.size as f64 / (own[i].size + other[j].size) as f64;
                best[i] = best[i].max(dice);
            }
        }
        // Ascending labels: the order of the program's sum.
        let instances_best = own.iter().zip(best).filter(|(r, _)| r.label != own_background);
        instances_best.fold(0.0, |sum, (_, dice)| sum + dice) / instances
    }

    fn foreground_dice(&self, mode: Mode) -> f64 {
        let (t0, p0) = (background(&self.truth, mode), background(&self.prediction, mode));
        let size = |regions: &[Region], zero| regions.iter().filter(|r| r.label != zero).map(|r| r.size).sum::<u64>();
        let total = size(&self.truth, t0) + size(&self.prediction, p0);
        if total == 0 {
            return if mode == Mode::Corrected { 1.0 } else { 0.0 };
        }
        let both =
            self.pairs.iter().filter(|p| self.truth[p.truth].label != t0 && self.prediction[p.prediction].label != p0);
        2.0 * both.map(|p| p.size).sum::<u64>() as f64 / total as f64
    }

    fn aggregated_jaccard(&self) -> f64 {
        // The best prediction of each true instance; of equals the lowest label.
        let mut best: Vec<Option<&Pair>> = vec![None; self.truth.len()];
        for pair in self.instance_pairs() {
            if best[pair.truth].is_none_or(|b| self.iou(pair) > self.iou(b)) {
                best[pair.truth] = Some(pair);
            }
        }
        let mut used = vec![false; self.prediction.len()];
        let (mut intersection, mut union) = (0, 0);
        for (region, best) in self.truth.iter().zip(&best).filter(|(r, _)| r.label > 0) {
            match best {
                Some(pair) => {
                    intersection += pair.size;
                    union += self.union(pair);
                    used[pair.prediction] = true;
                }
                None => union += region.size,
            }
        }
        for (region, _) in self.prediction.iter().zip(used).filter(|(r, used)| r.label > 0 && !used) {
            union += region.size;
        }
        if union == 0 { 1.0 } else { intersection as f64 / union as f64 }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Truth,
    Prediction,
}

impl Matching {
    /// `2 TP / (2 TP + FP + FN)`; 1 where there is nothing to find and nothing found.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// `TP / (TP + FP + FN)`; 1 where there is nothing to find and nothing found.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives + self.false_negatives)
    }

    /// `sum of IoU / (TP + FP/2 + FN/2)`; 1 where there is nothing to find and nothing found.
    pub fn panoptic_quality(&self) -> f64 {
        let half = (self.false_positives + self.false_negatives) as f64 * 0.5;
        let all = self.true_positives as f64 + half;
        if all == 0.0 { 1.0 } else { self.iou / all }
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

/// The label that is background.
fn background(regions: &[Region], mode: Mode) -> u32 {
    match mode {
        Mode::Corrected => 0,
        Mode::Lsc => regions.first().map_or(0, |r| r.label),
    }
}

/// The number of instances.
fn count(regions: &[Region], mode: Mode) -> f64 {
    match (mode, regions) {
        (Mode::Corrected, _) => regions.iter().filter(|r| r.label > 0).count() as f64,
        (Mode::Lsc, [first, .., last]) => f64::from(last.label - first.label),
        (Mode::Lsc, _) => 0.0,
    }
}

/// The number of pixels of each pair of labels that occurs, sorted.
fn shared(truth: &[u32], prediction: &[u32]) -> Vec<((u32, u32), u64)> {
    // Neighbours mostly have the same labels: runs are few, and sorting them is cheap.
    let mut runs: Vec<((u32, u32), u64)> = Vec::new();
    let mut last = (0, 0);
    let mut length = 0;
    for (t, p) in truth.iter().zip(prediction) {
        if (*t, *p) == last {
            length += 1;
            continue;
        }
        runs.push((last, length));
        (last, length) = ((*t, *p), 1);
    }
    runs.push((last, length));
    sum_equal(runs)
}

/// Sorts by key and adds the counts of equal keys; keys without a count are left out.
fn sum_equal<K: Ord + Copy>(mut counts: Vec<(K, u64)>) -> Vec<(K, u64)> {
    counts.sort_unstable_by_key(|(key, _)| *key);
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    counts.retain(|(_, n)| *n > 0);
    counts
}

fn regions(counts: Vec<(u32, u64)>) -> Vec<Region> {
    sum_equal(counts).into_iter().map(|(label, size)| Region { label, size }).collect()
}

/// Mean and population standard deviation of each score over images, in numpy's order of summation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Means.
    pub mean: Scores,
    /// Population standard deviations.
    pub std: Scores,
    /// The absolute value of the mean difference in count: the paper's |DiC|, where `mean.abs_dic` is the challenge's.
    pub abs_mean_dic: f64,
    /// The share of images whose count is exact.
    pub exact_counts: f64,
    /// The mean squared difference in count.
    pub squared_dic: f64,
}

impl Summary {
    /// The summary of the images' scores; `None` of no image.
    pub fn of(scores: &[Scores]) -> Option<Self> {
        if scores.is_empty() {
            return None;
        }
        let over = |f: fn(&Scores) -> f64| -> Vec<f64> { scores.iter().map(f).collect() };
        let mean = Scores::each(|f| numpy::mean(&over(f)));
        let n = scores.len() as f64;
        Some(Self {
            mean,
            std: Scores::each(|f| numpy::std(&over(f))),
            abs_mean_dic: mean.dic.abs(),
            exact_counts: scores.iter().filter(|s| s.dic == 0.0).count() as f64 / n,
            squared_dic: numpy::mean(&over(|s| s.dic * s.dic)),
        })
    }
}

impl Scores {
    /// A value for every score, from the function that reads the score.
    fn each(value: impl Fn(fn(&Scores) -> f64) -> f64) -> Self {
        Self {
            sbd: value(|s| s.sbd),
            best_dice: value(|s| s.best_dice),
            fg_dice: value(|s| s.fg_dice),
            dic: value(|s| s.dic),
            abs_dic: value(|s| s.abs_dic),
            f1_50: value(|s| s.f1_50),
            ap_dsb: value(|s| s.ap_dsb),
            pq: value(|s| s.pq),
            aji: value(|s| s.aji),
            true_count: value(|s| s.true_count),
            predicted_count: value(|s| s.predicted_count),
        }
    }
}

#[cfg(test)]
mod tests;
