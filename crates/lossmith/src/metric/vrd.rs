//! VRD: relationship, phrase and predicate detection, as Lu et al. count them, and with the cover rule of RelDN.
//!
//! - Candidates: the `k` best predicates of each pair, scored subject * object * predicate; the first N of an image.
//!   For predicate detection the candidates are the annotated rows themselves: a pair that is annotated twice is there twice, with the same
//!   prediction; pairs that are not annotated are left out; box scores do not count.
//! - Matching, one to one: see [`one_to_one`]. Cover: see
//!   [`first_cover`]. Overlap of at least a half, the pixel at the end counted; for
//!   phrases that of the boxes around both. Of rows that are overlapped equally Lu et al. take the earlier, vrd-dsr the later.
//! - Recall: matched rows by all rows, pooled over the images. Each N is a cut of its own: with one-to-one matching the first 50 of
//!   a ranking are matched as they are in the first 100.
//! - Zero-shot: rows whose classes were seen together in training are deleted first; predictions are not filtered.
//! - k free: the best k of 1..10, 15, 20, 70 for each N. It is chosen on the test set, as published.
//! - Equal scores: see [`triplets`](super::triplets).
//!
//! Sources: Prof-Lu-Cewu/Visual-Relationship-Detection `evaluation/*.m`; Yu et al. 2017 (k); GriffinLiang/vrd-dsr `lib/evaluation.py`; NVIDIA/ContrastiveLosses4VRD
//! `lib/datasets_rel/task_evaluation_vg_and_vrd.py` (cover).

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::triplets::{
    Cut, Detection, Located, Product, Region, Scored, Ties, detections, first_cover, found_within, locate, one_to_one,
    rank, rows,
};
use crate::graph::{Corners, Edge, GraphError, GraphScores, SceneGraph, Triple};

/// Where the recalls are taken.
pub const CUTS: [usize; 3] = [20, 50, 100];
/// The numbers of predicates per pair among which `free` chooses.
pub const FREE: [usize; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 70];

/// What is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Both boxes and all three classes.
    Relationship,
    /// The box around both, and all three classes.
    Phrase,
    /// The predicate of annotated pairs.
    Predicate,
}

/// Who counts as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matcher {
    /// As Lu et al.
    OneToOne,
    /// As vrd-dsr: as Lu et al., but of rows that a detection overlaps equally the later is taken.
    VrdDsr,
    /// As RelDN.
    Cover,
}

/// How many predicates of a pair are candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerPair {
    /// This many.
    Fixed(usize),
    /// The best number of [`FREE`] for each cut.
    Free,
}

/// The protocol.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// What is to be found.
    pub task: Task,
    /// Who counts as found.
    pub matcher: Matcher,
    /// How many predicates of a pair are candidates.
    pub per_pair: PerPair,
    /// The number of predicates.
    pub predicates: usize,
    /// The triples of the training set: only rows with other triples count.
    pub zero_shot: Option<HashSet<Triple>>,
}

/// A protocol with its sums over the images so far: their size does not grow.
#[derive(Clone, Debug)]
pub struct Vrd {
    protocol: Protocol,
    tried: Vec<usize>,
    images: usize,
    rows: usize,
    unscored: usize,
    hits: Vec<[usize; 3]>,
}

/// What one image adds.
#[derive(Clone, Debug)]
pub struct Image {
    rows: usize,
    unscored: usize,
    hits: Vec<[usize; 3]>,
}

/// The figures of all images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was to be found.
    pub task: Task,
    /// Who counted as found.
    pub matcher: Matcher,
    /// Whether only classes never seen together in training counted.
    pub zero_shot: bool,
    /// Images, those without rows included.
    pub images: usize,
    /// Annotated rows that counted.
    pub rows: usize,
    /// Predicate detection: annotated rows for whose pair there was no prediction.
    pub rows_without_prediction: usize,
    /// The recalls at 20, 50, 100.
    pub recall: [f64; 3],
    /// The rows found at 20, 50, 100.
    pub hits: [usize; 3],
    /// The number of predicates per pair that each recall is for.
    pub k: [usize; 3],
}

impl Vrd {
    /// An evaluation without images.
    pub fn new(protocol: Protocol) -> Self {
        let tried = match protocol.per_pair {
            PerPair::Fixed(k) => vec![k],
            PerPair::Free => FREE.to_vec(),
        };
        Self { protocol, images: 0, rows: 0, unscored: 0, hits: vec![[0; 3]; tried.len()], tried }
    }

    /// Judges one image; images may be judged on several threads and [added](Self::add) in order.
    ///
    /// # Errors
    /// A graph that is not sound, or another number of predicates.
    pub fn judge(&self, truth: &SceneGraph, prediction: &GraphScores) -> Result<Image, GraphError> {
        truth.check(self.protocol.predicates)?;
        prediction.check()?;
        // VRD annotates some boxes with themselves, and they are asked for in predicate detection.
        if self.protocol.task == Task::Predicate {
            prediction.check_single_pairs()?;
        } else {
            prediction.check_no_loops()?;
        }
        prediction.check_width(self.protocol.predicates)?;
        let annotated = truth.located();
        let asked: Vec<Located> = match &self.protocol.zero_shot {
            Some(seen) => annotated.iter().filter(|row| !seen.contains(&row.triple)).copied().collect(),
            None => annotated.clone(),
        };
        let given = (self.protocol.task == Task::Predicate).then(|| GivenRows::new(&annotated, prediction));
        let hits = self.tried.iter().map(|&per_pair| {
            let cut = Cut { per_pair, per_image: CUTS[2] };
            let ranked = match &given {
                Some(given) => given.ranked(prediction, cut),
                None => detections(prediction, cut, Product::BoxesFirst),
            };
            let region = if self.protocol.task == Task::Phrase { Region::Phrase } else { Region::Pair };
            let ranks = match self.protocol.matcher {
                Matcher::OneToOne => one_to_one(&asked, &ranked, region, Edge::Inclusive, Ties::Earlier),
                Matcher::VrdDsr => one_to_one(&asked, &ranked, region, Edge::Inclusive, Ties::Later),
                Matcher::Cover => first_cover(&asked, &ranked, region, Edge::Inclusive),
            };
            CUTS.map(|n| found_within(&ranks, n))
        });
        let hits = hits.collect();
        Ok(Image { rows: asked.len(), unscored: given.map_or(0, |g| annotated.len() - g.pairs.len()), hits })
    }

    /// Adds a judged image.
    pub fn add(&mut self, image: &Image) {
        self.images += 1;
        self.rows += image.rows;
        self.unscored += image.unscored;
        for (sum, hits) in self.hits.iter_mut().zip(&image.hits) {
            *sum = [0, 1, 2].map(|n| sum[n] + hits[n]);
        }
    }

    /// The figures so far; 0 where there was nothing to find.
    pub fn report(&self) -> Report {
        // The smallest of the numbers that do equally well.
        let best = [0, 1, 2].map(|n| {
            (0..self.tried.len()).rev().max_by_key(|&at| self.hits[at][n]).expect("at least one number is tried")
        });
        let hits = [0, 1, 2].map(|n| self.hits[best[n]][n]);
        Report {
            task: self.protocol.task,
            matcher: self.protocol.matcher,
            zero_shot: self.protocol.zero_shot.is_some(),
            images: self.images,
            rows: self.rows,
            rows_without_prediction: self.unscored,
            recall: hits.map(|h| if self.rows == 0 { 0.0 } else { h as f64 / self.rows as f64 }),
            hits,
            k: best.map(|at| self.tried[at]),
        }
    }
}

/// The annotated rows that have a prediction, each with the place of its pair.
struct GivenRows {
    pairs: Vec<u32>,
}

impl GivenRows {
    fn new(annotated: &[Located], prediction: &GraphScores) -> Self {
        let key = |b: Corners, label: u32| (b.map(f64::to_bits), label);
        let place: HashMap<_, u32> = prediction
            .pairs
            .iter()
            .enumerate()
            .map(|(at, pair)| {
                let [s, o] = pair.map(|i| key(prediction.boxes[i as usize], prediction.labels[i as usize]));
                ((s, o), at as u32)
            })
            .collect();
        let find = |row: &Located| {
            place.get(&(key(row.subject, row.triple.subject), key(row.object, row.triple.object))).copied()
        };
        Self { pairs: annotated.iter().filter_map(find).collect() }
    }

    fn ranked(&self, prediction: &GraphScores, cut: Cut) -> Vec<Detection> {
        let (table, width) = (rows(prediction), prediction.predicates.ncols());
        let scored = self.pairs.iter().map(|&pair| Scored {
            subject: 1.0,
            object: 1.0,
            row: &table[pair as usize * width..][..width],
        });
        let found = rank(scored, cut, Product::BoxesFirst);
        found.iter().map(|c| locate(prediction, self.pairs[c.place as usize], c)).collect()
    }
}
