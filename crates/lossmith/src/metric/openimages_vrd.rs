//! Open Images visual relationships, by two tools that share a name and little else.
//!
//! [`Challenge`], the official tool (tensorflow/models `metrics/oid_vrd_challenge_evaluation.py`, `utils/vrd_evaluation.py`):
//! - Boxes are normalised f32, overlaps are f32 without the pixel at the end; at least a half.
//! - A detection is kept if both its classes are verified (by an image-level label, or by a true triplet), or if either is
//!   verified to be absent; the others are ignored.
//! - Matching by image and exact triple: in the order of scores each detection looks at the triplet that it overlaps most (the
//!   first of equals), and is right if that one is still free; it has no second choice.
//! - AP per predicate that the truth has, pooled over the images; mAP is their plain mean. `pooled_ap` is what that tool
//!   calls weightedAP: the AP of one ranking of all predicates.
//! - R@N: the N best kept detections of each image; right ones by all true triplets.
//! - score = 0.4 mAP(relation) + 0.2 R@50(relation) + 0.4 mAP(phrase).
//!
//! [`Reldn`], the evaluator behind the tables of RelDN and its successors (`task_evaluation_sg.py`, `ap_eval_rel.py`):
//! - Boxes are pixels, the one at the end counted.
//! - The 2 best predicates of each pair, the 100 best triplets of an image, scores above 1e-5.
//! - R@K by the cover rule, pooled, both overlaps at least a half.
//! - AP per predicate: a detection looks at the triplet of its predicate that it overlaps most, where other classes
//!   overlap by nothing, and is right if by *more* than a half and that one is still free.
//! - wmAP weighs the APs by how often the truth has them; mAP is their mean over all predicates, 0 for those it has not.
//! - score_wtd = 0.4 wmAP(relation) + 0.2 R@50 + 0.4 wmAP(phrase); score uses mAP.
//!
//! Equal scores: by image, then by place in the list. Both tools keep 16 bytes for each detection until the end, for the
//! ranking over all images.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::average_precision::{Judged, average_precision};
use super::triplets::{Cut, Detection, Located, Product, Region, detections, first_cover, found_within};
use crate::graph::{Corners, Edge, GraphScores, Triple};

/// RelDN's cut: two predicates of a pair, a hundred of an image.
pub const RELDN_CUT: Cut = Cut { per_pair: 2, per_image: 100 };
/// RelDN's least score; only higher ones are kept.
pub const RELDN_LEAST: f64 = 1e-5;
/// Where the official tool takes recalls.
pub const CHALLENGE_CUTS: [usize; 2] = [50, 100];
/// Where RelDN's evaluator takes recalls.
pub const RELDN_CUTS: [usize; 6] = [1, 5, 10, 20, 50, 100];

/// The detections that RelDN's evaluator keeps of a prediction.
pub fn reldn_detections(scores: &GraphScores) -> Vec<Detection> {
    let mut found = detections(scores, RELDN_CUT, Product::BoxesFirst);
    found.retain(|d| d.score > RELDN_LEAST);
    found
}

/// The official tool, and what it has seen.
#[derive(Clone, Debug, Default)]
pub struct Challenge {
    images: usize,
    ignored: usize,
    relation: Judgements,
    phrase: Judgements,
}

/// What the official tool says of one image.
#[derive(Clone, Debug)]
pub struct ChallengeImage {
    truth: Vec<u32>,
    ignored: usize,
    relation: Vec<Judged>,
    phrase: Vec<Judged>,
}

/// The figures of the official tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChallengeReport {
    /// Images.
    pub images: usize,
    /// True triplets.
    pub triplets: usize,
    /// Detections that were left out because their classes are not verified for the image.
    pub ignored_detections: usize,
    /// Relationship detection.
    pub relation: ChallengeTask,
    /// Phrase detection.
    pub phrase: ChallengeTask,
    /// 0.4 mAP(relation) + 0.2 R@50(relation) + 0.4 mAP(phrase).
    pub score: f64,
}

/// The figures of the official tool for one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChallengeTask {
    /// The mean of the APs.
    pub map: f64,
    /// The AP of one ranking of all predicates ("weightedAP").
    pub pooled_ap: f64,
    /// Recall at 50 and 100.
    pub recall: [f64; 2],
    /// The AP of each predicate that the truth has.
    pub ap: Vec<(u32, f64)>,
}

/// Every detection with its judgement, right ones in the first N, and true triplets by predicate.
#[derive(Clone, Debug, Default)]
struct Judgements {
    judged: Vec<Judged>,
    positives: HashMap<u32, usize>,
    hits: [usize; 2],
}

impl Challenge {
    /// An evaluation without images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges one image. `verified` are the classes of its image-level labels, whether they are present or absent.
    pub fn judge(&self, truth: &[Located], verified: &HashSet<u32>, found: &[Detection]) -> ChallengeImage {
        let positive: HashSet<u32> = truth.iter().flat_map(|t| [t.triple.subject, t.triple.object]).collect();
        let known = |class: u32| positive.contains(&class) || verified.contains(&class);
        let absent = |class: u32| verified.contains(&class) && !positive.contains(&class);
        let counts = |t: Triple| {
            !truth.is_empty() && ((known(t.subject) && known(t.object)) || absent(t.subject) || absent(t.object))
        };
        let mut kept: Vec<&Detection> = found.iter().filter(|d| counts(d.at.triple)).collect();
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        let judge = |region: Region| {
            let mut taken = vec![false; truth.len()];
            kept.iter().map(|d| judged(d, takes_best(truth, &mut taken, d, region))).collect()
        };
        ChallengeImage {
            truth: truth.iter().map(|t| t.triple.predicate).collect(),
            ignored: found.len() - kept.len(),
            relation: judge(Region::Pair),
            phrase: judge(Region::Phrase),
        }
    }

    /// Adds a judged image.
    pub fn add(&mut self, image: &ChallengeImage) {
        self.images += 1;
        self.ignored += image.ignored;
        for (sums, judged) in [(&mut self.relation, &image.relation), (&mut self.phrase, &image.phrase)] {
            for &predicate in &image.truth {
                *sums.positives.entry(predicate).or_default() += 1;
            }
            sums.judged.extend(judged);
            for (hits, n) in sums.hits.iter_mut().zip(CHALLENGE_CUTS) {
                *hits += judged.iter().take(n).filter(|j| j.right).count();
            }
        }
    }

    /// The figures so far; 0 where there was nothing to find.
    pub fn report(&self) -> ChallengeReport {
        let (relation, phrase) = (self.relation.report(), self.phrase.report());
        ChallengeReport {
            images: self.images,
            triplets: self.relation.positives.values().sum(),
            ignored_detections: self.ignored,
            score: 0.4 * relation.map + 0.2 * relation.recall[0] + 0.4 * phrase.map,
            relation,
            phrase,
        }
    }
}

/// Whether the true triplet that a detection overlaps most is its own and free; then it is taken.
fn takes_best(truth: &[Located], taken: &mut [bool], d: &Detection, region: Region) -> bool {
    let mut best: Option<(usize, f32)> = None;
    for (at, t) in truth.iter().enumerate().filter(|(_, t)| t.triple == d.at.triple) {
        let overlap = overlap_f32(region, &d.at, t);
        if best.is_none_or(|(_, most)| overlap > most) {
            best = Some((at, overlap));
        }
    }
    match best {
        Some((at, overlap)) if overlap >= 0.5 && !taken[at] => {
            taken[at] = true;
            true
        }
        _ => false,
    }
}

/// Overlap as the official tool has it, in f32.
fn overlap_f32(region: Region, a: &Located, b: &Located) -> f32 {
    let narrow = |c: Corners| c.map(|v| v as f32);
    let [a_subject, a_object, b_subject, b_object] = [a.subject, a.object, b.subject, b.object].map(narrow);
    match region {
        Region::Pair => iou_f32(a_subject, b_subject).min(iou_f32(a_object, b_object)),
        Region::Phrase => iou_f32(around(a_subject, a_object), around(b_subject, b_object)),
    }
}

fn around(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

/// Boxes without area overlap by nothing; the tool has 0/0 there, which is not at least a half either.
fn iou_f32(a: [f32; 4], b: [f32; 4]) -> f32 {
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let area = |c: [f32; 4]| (c[3] - c[1]) * (c[2] - c[0]);
    let shared = height * width;
    if shared > 0.0 { shared / (area(a) + area(b) - shared) } else { 0.0 }
}

impl Judgements {
    fn report(&self) -> ChallengeTask {
        let mut predicates: Vec<u32> = self.positives.keys().copied().collect();
        predicates.sort_unstable();
        let of = |p: u32| self.judged.iter().filter(move |j| j.predicate == p);
        let ap: Vec<(u32, f64)> =
            predicates.iter().map(|&p| (p, average_precision(of(p), self.positives[&p], 0.0))).collect();
        let triplets: usize = self.positives.values().sum();
        ChallengeTask {
            map: mean(ap.iter().map(|(_, ap)| *ap).sum(), ap.len()),
            pooled_ap: average_precision(self.judged.iter(), triplets, 0.0),
            recall: self.hits.map(|h| mean(h as f64, triplets)),
            ap,
        }
    }
}

fn judged(d: &Detection, right: bool) -> Judged {
    Judged { score: d.score, predicate: d.at.triple.predicate, right }
}

fn mean(sum: f64, of: usize) -> f64 {
    if of == 0 { 0.0 } else { sum / of as f64 }
}

/// RelDN's evaluator, and what it has seen.
#[derive(Clone, Debug)]
pub struct Reldn {
    images: usize,
    triplets: usize,
    hits: [usize; 6],
    positives: Vec<usize>,
    /// The predicates that mAP is the mean over.
    averaged: Vec<u32>,
    relation: Vec<Judged>,
    phrase: Vec<Judged>,
}

/// What RelDN's evaluator says of one image.
#[derive(Clone, Debug)]
pub struct ReldnImage {
    truth: Vec<u32>,
    hits: [usize; 6],
    relation: Vec<Judged>,
    phrase: Vec<Judged>,
}

/// The figures of RelDN's evaluator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReldnReport {
    /// Images.
    pub images: usize,
    /// True triplets.
    pub triplets: usize,
    /// Recall at 1, 5, 10, 20, 50, 100.
    pub recall: [f64; 6],
    /// AP of relationships for each predicate from 1.
    pub ap_relation: Vec<f64>,
    /// AP of phrases for each predicate from 1.
    pub ap_phrase: Vec<f64>,
    /// Mean AP of relationships, weighted by how often the truth has the predicates.
    pub wmap_relation: f64,
    /// Mean AP of phrases, weighted in the same way.
    pub wmap_phrase: f64,
    /// Plain mean AP of relationships.
    pub map_relation: f64,
    /// Plain mean AP of phrases.
    pub map_phrase: f64,
    /// 0.4 wmAP(relation) + 0.2 R@50 + 0.4 wmAP(phrase).
    pub score_wtd: f64,
    /// The same with plain means.
    pub score: f64,
}

impl Reldn {
    /// An evaluation of `predicates` predicates, without images.
    pub fn new(predicates: usize) -> Self {
        Self {
            images: 0,
            triplets: 0,
            hits: [0; 6],
            positives: vec![0; predicates],
            averaged: (1..=predicates as u32).collect(),
            relation: Vec::new(),
            phrase: Vec::new(),
        }
    }

    /// The same for a group of predicates: mAP is the mean over these alone. The truth should have no others.
    #[must_use]
    pub fn over(mut self, predicates: &[u32]) -> Self {
        self.averaged = predicates.iter().copied().filter(|&p| p as usize <= self.positives.len()).collect();
        self
    }

    /// Judges one image; `ranked` as [`reldn_detections`] gives it.
    pub fn judge(&self, truth: &[Located], ranked: &[Detection]) -> ReldnImage {
        let ranks = first_cover(truth, ranked, Region::Pair, Edge::Inclusive);
        let judge = |region: Region| {
            let mut visited = vec![false; truth.len()];
            ranked.iter().map(|d| judged(d, visits_best(truth, &mut visited, d, region))).collect()
        };
        ReldnImage {
            truth: truth.iter().map(|t| t.triple.predicate).collect(),
            hits: RELDN_CUTS.map(|k| found_within(&ranks, k)),
            relation: judge(Region::Pair),
            phrase: judge(Region::Phrase),
        }
    }

    /// Adds a judged image. Predicates past the last are left out.
    pub fn add(&mut self, image: &ReldnImage) {
        self.images += 1;
        self.triplets += image.truth.len();
        self.hits = std::array::from_fn(|k| self.hits[k] + image.hits[k]);
        for &p in &image.truth {
            if let Some(count) = self.positives.get_mut(p as usize - 1) {
                *count += 1;
            }
        }
        self.relation.extend(&image.relation);
        self.phrase.extend(&image.phrase);
    }

    /// The figures so far; 0 where there was nothing to find.
    pub fn report(&self) -> ReldnReport {
        const SLACK: f64 = 1e-12;
        let ap = |judged: &[Judged]| -> Vec<f64> {
            let of = |at: usize| judged.iter().filter(move |j| j.predicate as usize == at + 1);
            self.positives.iter().enumerate().map(|(at, &n)| average_precision(of(at), n, SLACK)).collect()
        };
        let weighted = |ap: &[f64]| {
            let sum: f64 = ap.iter().zip(&self.positives).map(|(ap, &n)| ap * n as f64).sum();
            mean(sum, self.positives.iter().sum())
        };
        let (ap_relation, ap_phrase) = (ap(&self.relation), ap(&self.phrase));
        let recall = self.hits.map(|h| h as f64 / (self.triplets as f64 + SLACK));
        let (wmap_relation, wmap_phrase) = (weighted(&ap_relation), weighted(&ap_phrase));
        let plain = |ap: &[f64]| mean(self.averaged.iter().map(|&p| ap[p as usize - 1]).sum(), self.averaged.len());
        let (map_relation, map_phrase) = (plain(&ap_relation), plain(&ap_phrase));
        ReldnReport {
            images: self.images,
            triplets: self.triplets,
            recall,
            score_wtd: 0.4 * wmap_relation + 0.2 * recall[4] + 0.4 * wmap_phrase,
            score: 0.4 * map_relation + 0.2 * recall[4] + 0.4 * map_phrase,
            ap_relation,
            ap_phrase,
            wmap_relation,
            wmap_phrase,
            map_relation,
            map_phrase,
        }
    }
}

/// Whether the true triplet of its predicate that a detection overlaps most, other classes by nothing, is overlapped by
/// more than a half and not yet visited; then it is.
fn visits_best(truth: &[Located], visited: &mut [bool], d: &Detection, region: Region) -> bool {
    let mut best: Option<(usize, f64)> = None;
    for (at, t) in truth.iter().enumerate().filter(|(_, t)| t.triple == d.at.triple) {
        let overlap = region.overlap(Edge::Inclusive, &d.at, t);
        if best.is_none_or(|(_, most)| overlap > most) {
            best = Some((at, overlap));
        }
    }
    match best {
        Some((at, overlap)) if overlap > 0.5 && !visited[at] => {
            visited[at] = true;
            true
        }
        _ => false,
    }
}
