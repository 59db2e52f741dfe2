//! Visual Genome: recall at K as Neural Motifs counts it, with mean recall as in KERN, and A@K as in RelDN's tables.
//!
//! - Ranking. Graph constraint: each pair's best predicate. No constraint: all predicates of all pairs, the first 100.
//! - Matching: cover, both boxes, overlap of at least a half with the pixel at the end counted, in f64.
//! - R@K: the share of an image's relations (doubles count twice) covered by its first K, as the mean over the images
//!   that have any; `pooled` is the sum of the covered over the sum of all.
//! - mR@K: for each predicate the mean over the images that have it, then the mean over all predicates, 0 for one that
//!   never occurs.
//! - zR@K: only relations whose classes were never seen together in training; mean over the images that have any.
//! - A@K: the graph-constrained list of the *annotated pairs* alone, pooled. It is what RelDN's table calls PRDCLS and
//!   SGCLS; R@50 = R@100 is its tell-tale, and it is no recall of the protocol above.
//! - Equal scores: see [`triplets`](super::triplets). An image without predictions counts as nothing found.
//!
//! Quirks: Neural Motifs multiplies predicate, subject, object under the constraint, and subject, object, predicate without;
//! it does so in f32, here it is f64. Its sorts leave the order of equal scores open.
//!
//! Sources: rowanz/neural-motifs `lib/evaluation/sg_eval.py`; yuweihao/KERN (mean recall);
//! KaihuaTang/Scene-Graph-Benchmark.pytorch `sgg_eval.py` (A@K, zR@K).

use std::collections::HashSet;

use serde::Serialize;

use super::triplets::{Cut, Product, Region, detections, detections_of, first_cover, found_within};
use crate::graph::{Edge, GraphError, GraphScores, SceneGraph, Triple};

/// Where the recalls are taken.
pub const CUTS: [usize; 3] = [20, 50, 100];

/// What is given and what is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Boxes and classes are given; their scores count as 1.
    PredCls,
    /// Boxes are given.
    SgCls,
    /// Nothing is given.
    SgDet,
}

/// The protocol, and the sums over the images so far: their size does not grow.
#[derive(Clone, Debug)]
pub struct VisualGenome {
    mode: Mode,
    seen: Option<HashSet<Triple>>,
    /// The predicates that mR@K is the mean over.
    averaged: Vec<u32>,
    images: usize,
    skipped: usize,
    relations: usize,
    constraint: Sums,
    no_constraint: Sums,
    annotated_pairs: Sums,
}

/// What one image adds: for each relation its predicate, whether its classes are new, and when it was found.
#[derive(Clone, Debug)]
pub struct Image {
    predicates: Vec<u32>,
    unseen: Vec<bool>,
    constraint: Vec<Option<usize>>,
    no_constraint: Vec<Option<usize>>,
    annotated_pairs: Vec<Option<usize>>,
}

/// The figures of all images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The mode that was scored.
    pub mode: Mode,
    /// Images that have relations.
    pub images: usize,
    /// Images that have none, and are left out.
    pub images_without_relations: usize,
    /// Relations of all images.
    pub relations: usize,
    /// With graph constraint: R@K, mR@K, zR@K.
    pub constraint: Recall,
    /// Without: ng-R@K, ng-mR@K, ng-zR@K.
    pub no_constraint: Recall,
    /// A@K: covered relations by all, pooled, when only annotated pairs are ranked; `None` in SGDet, where there is no
    /// telling which of the predicted pairs is annotated.
    pub annotated_pairs: Option<[f64; 3]>,
}

/// Recalls at 20, 50, 100.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// The mean over the images.
    pub mean: [f64; 3],
    /// Covered relations by all relations.
    pub pooled: [f64; 3],
    /// Covered relations.
    pub hits: [usize; 3],
    /// The mean over the predicates of the mean over the images that have them.
    pub mean_recall: [f64; 3],
    /// The harmonic mean of `mean` and `mean_recall`.
    pub f1: [f64; 3],
    /// The mean over the images that have relations never seen in training; `None` where training is not known.
    pub zero_shot: Option<[f64; 3]>,
    /// For each predicate from 1: the mean over the images that have it; `None` where none has.
    pub per_predicate: Vec<Option<[f64; 3]>>,
}

/// Sums of one ranking.
#[derive(Clone, Debug)]
struct Sums {
    share: [f64; 3],
    hits: [usize; 3],
    predicates: Vec<PerPredicate>,
    zero_shot: [f64; 3],
    zero_shot_images: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct PerPredicate {
    share: [f64; 3],
    images: usize,
}

impl VisualGenome {
    /// An evaluation of `predicates` predicates. `seen` are the triples of the training set, for zero-shot recall.
    pub fn new(mode: Mode, predicates: usize, seen: Option<HashSet<Triple>>) -> Self {
        let sums = Sums {
            share: [0.0; 3],
            hits: [0; 3],
            predicates: vec![PerPredicate::default(); predicates],
            zero_shot: [0.0; 3],
            zero_shot_images: 0,
        };
        Self {
            mode,
            seen,
            averaged: (1..=predicates as u32).collect(),
            images: 0,
            skipped: 0,
            relations: 0,
            constraint: sums.clone(),
            no_constraint: sums.clone(),
            annotated_pairs: sums,
        }
    }

    /// The same for a group of predicates: mR@K is the mean over these alone. The truth should have no others.
    #[must_use]
    pub fn over(mut self, predicates: &[u32]) -> Self {
        self.averaged =
            predicates.iter().copied().filter(|&p| p as usize <= self.constraint.predicates.len()).collect();
        self
    }

    /// Judges one image; images may be judged on several threads and [added](Self::add) in order.
    ///
    /// # Errors
    /// A graph that is not sound, another number of predicates, or boxes or classes that are not those given.
    pub fn judge(&self, truth: &SceneGraph, prediction: &GraphScores) -> Result<Image, GraphError> {
        truth.check(self.constraint.predicates.len())?;
        prediction.check()?;
        prediction.check_no_loops()?;
        prediction.check_width(self.constraint.predicates.len())?;
        let given = match self.mode {
            Mode::SgDet => None,
            mode => Some(prediction.given(truth, mode == Mode::PredCls)?),
        };
        let relations = truth.located();
        let certain;
        let prediction = if self.mode == Mode::PredCls && prediction.scores.iter().any(|&s| s != 1.0) {
            certain = GraphScores { scores: vec![1.0; prediction.boxes.len()], ..prediction.clone() };
            &certain
        } else {
            prediction
        };
        let one_each = Cut { per_pair: 1, per_image: CUTS[2] };
        let all = Cut { per_pair: usize::MAX, per_image: CUTS[2] };
        let cover = |ranked: &[_]| first_cover(&relations, ranked, Region::Pair, Edge::Inclusive);
        let annotated: HashSet<[u32; 2]> = truth.relations.iter().map(|r| [r.subject, r.object]).collect();
        let of_truth = |given: &[u32], pair: [u32; 2]| pair.map(|node| given[node as usize]);
        let annotated: Vec<u32> = given.as_ref().map_or_else(Vec::new, |given| {
            (0..prediction.pairs.len() as u32)
                .filter(|&p| annotated.contains(&of_truth(given, prediction.pairs[p as usize])))
                .collect()
        });
        Ok(Image {
            predicates: truth.relations.iter().map(|r| r.predicate).collect(),
            unseen: relations.iter().map(|r| self.seen.as_ref().is_some_and(|s| !s.contains(&r.triple))).collect(),
            constraint: cover(&detections(prediction, one_each, Product::PredicateFirst)),
            no_constraint: cover(&detections(prediction, all, Product::BoxesFirst)),
            annotated_pairs: cover(&detections_of(prediction, &annotated, one_each, Product::PredicateFirst)),
        })
    }

    /// Adds a judged image.
    pub fn add(&mut self, image: &Image) {
        if image.predicates.is_empty() {
            self.skipped += 1;
            return;
        }
        self.images += 1;
        self.relations += image.predicates.len();
        self.constraint.add(image, &image.constraint);
        self.no_constraint.add(image, &image.no_constraint);
        self.annotated_pairs.add(image, &image.annotated_pairs);
    }

    /// The figures so far; 0 where there was nothing to find.
    pub fn report(&self) -> Report {
        Report {
            mode: self.mode,
            images: self.images,
            images_without_relations: self.skipped,
            relations: self.relations,
            constraint: self.recall(&self.constraint),
            no_constraint: self.recall(&self.no_constraint),
            annotated_pairs: (self.mode != Mode::SgDet)
                .then(|| self.annotated_pairs.hits.map(|h| share(h as f64, self.relations))),
        }
    }

    fn recall(&self, sums: &Sums) -> Recall {
        let mean = sums.share.map(|s| share(s, self.images));
        let per_predicate: Vec<Option<[f64; 3]>> =
            sums.predicates.iter().map(|p| (p.images > 0).then(|| p.share.map(|s| share(s, p.images)))).collect();
        let averaged = || self.averaged.iter().filter_map(|&p| per_predicate[p as usize - 1]);
        let mean_recall = [0, 1, 2].map(|k| share(averaged().map(|p| p[k]).sum(), self.averaged.len()));
        Recall {
            mean,
            pooled: sums.hits.map(|h| share(h as f64, self.relations)),
            hits: sums.hits,
            mean_recall,
            f1: [0, 1, 2].map(|k| match mean[k] + mean_recall[k] {
                0.0 => 0.0,
                sum => 2.0 * mean[k] * mean_recall[k] / sum,
            }),
            zero_shot: self.seen.as_ref().map(|_| sums.zero_shot.map(|s| share(s, sums.zero_shot_images))),
            per_predicate,
        }
    }
}

fn share(part: f64, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part / of as f64 }
}

impl Sums {
    fn add(&mut self, image: &Image, ranks: &[Option<usize>]) {
        let unseen: Vec<Option<usize>> =
            ranks.iter().zip(&image.unseen).filter(|(_, new)| **new).map(|(r, _)| *r).collect();
        self.zero_shot_images += usize::from(!unseen.is_empty());
        let mut present: Vec<u32> = image.predicates.clone();
        present.sort_unstable();
        present.dedup();
        for (k, &cut) in CUTS.iter().enumerate() {
            let hits = found_within(ranks, cut);
            self.hits[k] += hits;
            self.share[k] += hits as f64 / ranks.len() as f64;
            if !unseen.is_empty() {
                self.zero_shot[k] += found_within(&unseen, cut) as f64 / unseen.len() as f64;
            }
        }
        for p in present {
            let own: Vec<Option<usize>> =
                ranks.iter().zip(&image.predicates).filter(|(_, q)| **q == p).map(|(r, _)| *r).collect();
            let sums = &mut self.predicates[p as usize - 1];
            sums.images += 1;
            for (k, &cut) in CUTS.iter().enumerate() {
                sums.share[k] += found_within(&own, cut) as f64 / own.len() as f64;
            }
        }
    }
}
