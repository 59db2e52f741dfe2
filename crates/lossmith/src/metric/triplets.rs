//! What the relationship protocols share: triplets in their places, the ranking of an image, and who covers whom.
//!
//! Tie rule: by score, the highest first; equal scores by the place of the pair in the prediction, then by predicate number.

use std::borrow::Cow;

use crate::graph::{Corners, Edge, GraphScores, NOT_PREDICTED, SceneGraph, Triple, enclosing};

/// A triplet in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// What it says.
    pub triple: Triple,
    /// The subject's box.
    pub subject: Corners,
    /// The object's box.
    pub object: Corners,
}

/// A predicted triplet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What and where.
    pub at: Located,
    /// The ranking score.
    pub score: f64,
    /// The place of the pair in the prediction.
    pub pair: u32,
}

/// What must overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Both boxes: the smaller of the two overlaps counts.
    Pair,
    /// The box around both.
    Phrase,
}

/// In which order a score is multiplied: the last bit, and so a tie, may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// `(subject * object) * predicate`
    BoxesFirst,
    /// `(predicate * subject) * object`
    PredicateFirst,
}

/// Which of several true triplets that a detection overlaps equally is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The earlier in the annotation: Lu et al.
    Earlier,
    /// The later: vrd-dsr, whose comparison is "at least" where that of Lu et al. is "more than".
    Later,
}

/// What of a ranking is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The most predicates of one pair.
    pub per_pair: usize,
    /// The most triplets of the image.
    pub per_image: usize,
}

impl Region {
    /// The overlap of two located triplets.
    pub fn overlap(self, edge: Edge, a: &Located, b: &Located) -> f64 {
        match self {
            Region::Pair => edge.iou(a.subject, b.subject).min(edge.iou(a.object, b.object)),
            Region::Phrase => edge.iou(enclosing(a.subject, a.object), enclosing(b.subject, b.object)),
        }
    }
}

impl SceneGraph {
    /// The relations in their places, in the order of the annotation.
    ///
    /// # Panics
    /// If a relation names a box that is not there; [`SceneGraph::check`] finds that.
    pub fn located(&self) -> Vec<Located> {
        let place = |&r: &crate::graph::Relation| Located {
            triple: self.triple(r),
            subject: self.boxes[r.subject as usize],
            object: self.boxes[r.object as usize],
        };
        self.relations.iter().map(place).collect()
    }
}

/// A pair to be ranked: the scores of its boxes, its row of predicate scores.
pub(super) struct Scored<'a> {
    pub subject: f64,
    pub object: f64,
    pub row: &'a [f64],
}

/// One entry of a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub score: f64,
    /// The place of the pair among those that were ranked.
    pub place: u32,
    pub predicate: u32,
}

impl Candidate {
    fn before(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then((self.place, self.predicate).cmp(&(other.place, other.predicate)))
    }
}

/// The best candidates in order. Memory is that of the cut, however many pairs and predicates there are.
pub(super) fn rank<'a>(pairs: impl Iterator<Item = Scored<'a>>, cut: Cut, product: Product) -> Vec<Candidate> {
    let mut best = Best { list: Vec::with_capacity(2 * cut.per_image.min(1 << 16)), keep: cut.per_image, least: None };
    let mut of_pair: Vec<Candidate> = Vec::new();
    for (place, pair) in pairs.enumerate() {
        let Some(real) = pair.row.get(1..).filter(|r| !r.is_empty()) else { continue };
        let score = |p: f64| match product {
            Product::BoxesFirst => (pair.subject * pair.object) * p,
            Product::PredicateFirst => (p * pair.subject) * pair.object,
        };
        // Products rise with the predicate's score, so a pair whose best cannot enter has none that can.
        let rising = pair.subject >= 0.0 && pair.object >= 0.0;
        if rising && best.least.is_some_and(|least| score(largest(real)) < least.score) {
            continue;
        }
        let candidate = |at: usize| Candidate { score: score(real[at]), place: place as u32, predicate: at as u32 + 1 };
        let predicted = |at: &usize| real[*at] > NOT_PREDICTED;
        if cut.per_pair == 1 {
            Some(first_largest(real)).filter(predicted).into_iter().for_each(|at| best.offer(candidate(at)));
        } else if cut.per_pair >= real.len() {
            (0..real.len()).filter(predicted).for_each(|at| best.offer(candidate(at)));
        } else {
            // By the predicate's own score: products could tie where these do not.
            of_pair.clear();
            of_pair.extend((0..real.len()).map(|at| Candidate { score: real[at], ..candidate(at) }));
            of_pair.select_nth_unstable_by(cut.per_pair, Candidate::before);
            let kept = of_pair[..cut.per_pair].iter().map(|c| c.predicate as usize - 1);
            kept.filter(predicted).for_each(|at| best.offer(candidate(at)));
        }
    }
    best.ranked()
}

/// The best so far, and what a newcomer must beat.
struct Best {
    list: Vec<Candidate>,
    keep: usize,
    least: Option<Candidate>,
}

impl Best {
    fn offer(&mut self, candidate: Candidate) {
        if self.least.is_some_and(|least| candidate.before(&least).is_gt()) {
            return;
        }
        self.list.push(candidate);
        if self.list.len() >= 2 * self.keep.max(1) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.keep > 0 && self.list.len() > self.keep {
            let (_, last, _) = self.list.select_nth_unstable_by(self.keep - 1, Candidate::before);
            self.least = Some(*last);
        }
        self.list.truncate(self.keep);
    }

    fn ranked(mut self) -> Vec<Candidate> {
        self.shrink();
        self.list.sort_unstable_by(Candidate::before);
        self.list
    }
}

/// The place of the largest number, the first among equals.
fn first_largest(numbers: &[f64]) -> usize {
    let most = largest(numbers);
    numbers.iter().position(|&v| v == most).unwrap_or(0)
}

/// The largest number, over eight lanes.
fn largest(numbers: &[f64]) -> f64 {
    let mut lanes = [f64::NEG_INFINITY; 8];
    let chunks = numbers.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The predicate scores of a prediction, row by row in one piece.
pub(super) fn rows(scores: &GraphScores) -> Cow<'_, [f64]> {
    match scores.predicates.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(scores.predicates.iter().copied().collect()),
    }
}

/// The detections of an image in the order of their scores.
pub fn detections(scores: &GraphScores, cut: Cut, product: Product) -> Vec<Detection> {
    let all: Vec<u32> = (0..scores.pairs.len() as u32).collect();
    detections_of(scores, &all, cut, product)
}

/// The same for some of the pairs; ties go by the order in which they are given.
pub(super) fn detections_of(scores: &GraphScores, pairs: &[u32], cut: Cut, product: Product) -> Vec<Detection> {
    let (table, width) = (rows(scores), scores.predicates.ncols());
    let scored = pairs.iter().map(|&pair| {
        let [s, o] = scores.pairs[pair as usize];
        Scored {
            subject: scores.scores[s as usize],
            object: scores.scores[o as usize],
            row: &table[pair as usize * width..][..width],
        }
    });
    let found = rank(scored, cut, product);
    found.iter().map(|c| locate(scores, pairs[c.place as usize], c)).collect()
}

/// A candidate of a pair, with its place and classes.
pub(super) fn locate(scores: &GraphScores, pair: u32, candidate: &Candidate) -> Detection {
    let [s, o] = scores.pairs[pair as usize].map(|i| i as usize);
    Detection {
        at: Located {
            triple: Triple { subject: scores.labels[s], predicate: candidate.predicate, object: scores.labels[o] },
            subject: scores.boxes[s],
            object: scores.boxes[o],
        },
        score: candidate.score,
        pair,
    }
}

/// For each true triplet the rank (from 0) of the first detection that covers it: the same classes, and an overlap of at
/// least a half. A detection may cover several triplets, and a triplet be covered by several detections.
pub fn first_cover(truth: &[Located], ranked: &[Detection], region: Region, edge: Edge) -> Vec<Option<usize>> {
    let covers = |t: &Located, d: &Detection| d.at.triple == t.triple && region.overlap(edge, &d.at, t) >= 0.5;
    truth.iter().map(|t| ranked.iter().position(|d| covers(t, d))).collect()
}

/// For each true triplet the rank of the detection that is matched to it, one to one: in the order of the ranking each
/// detection takes, among the free triplets of its classes, the one that it overlaps most, if by at least a half; `ties` says
/// which of equals.
pub fn one_to_one(
    truth: &[Located],
    ranked: &[Detection],
    region: Region,
    edge: Edge,
    ties: Ties,
) -> Vec<Option<usize>> {
    let mut taken: Vec<Option<usize>> = vec![None; truth.len()];
    for (rank, detection) in ranked.iter().enumerate() {
        let mut best: Option<(usize, f64)> = None;
        for (at, t) in truth.iter().enumerate() {
            if taken[at].is_none() && t.triple == detection.at.triple {
                let overlap = region.overlap(edge, &detection.at, t);
                let better = |(_, most): (usize, f64)| overlap > most || (overlap == most && ties == Ties::Later);
                if overlap >= 0.5 && best.is_none_or(better) {
                    best = Some((at, overlap));
                }
            }
        }
        if let Some((at, _)) = best {
            taken[at] = Some(rank);
        }
    }
    taken
}

/// How many were found within the first `k`.
pub(super) fn found_within(ranks: &[Option<usize>], k: usize) -> usize {
    ranks.iter().flatten().filter(|&&rank| rank < k).count()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    fn located(triple: [u32; 3], subject: Corners, object: Corners) -> Located {
        let [subject_class, predicate, object_class] = triple;
        Located { triple: Triple { subject: subject_class, predicate, object: object_class }, subject, object }
    }

    #[test]
    fn one_detection_may_cover_two_but_match_one() {
        let [a, b, c] = [[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 10.0, 9.0], [50.0, 50.0, 59.0, 59.0]];
        let truth = [located([1, 1, 2], a, c), located([1, 1, 2], b, c)];
        let detection = |subject| Detection { at: located([1, 1, 2], subject, c), score: 1.0, pair: 0 };
        let twice_b = [detection(b), detection(b)];
        assert_eq!(first_cover(&truth, &twice_b, Region::Pair, Edge::Inclusive), [Some(0), Some(0)]);
        let matched = |ranked: &[Detection], ties| one_to_one(&truth, ranked, Region::Pair, Edge::Inclusive, ties);
        assert_eq!(matched(&twice_b, Ties::Earlier), [Some(1), Some(0)]);
        // Half way between both, a detection overlaps them equally.
        let both = [[0.0, 0.0, 9.0, 9.0], [10.0, 0.0, 19.0, 9.0]].map(|subject| located([1, 1, 2], subject, subject));
        let middle = located([1, 1, 2], [0.0, 0.0, 19.0, 9.0], [0.0, 0.0, 19.0, 9.0]);
        let found = [Detection { at: middle, score: 1.0, pair: 0 }];
        let matched = |ties| one_to_one(&both, &found, Region::Pair, Edge::Inclusive, ties);
        assert_eq!((matched(Ties::Earlier), matched(Ties::Later)), (vec![Some(0), None], vec![None, Some(0)]));
        let other = [Detection { at: located([1, 2, 2], a, c), score: 1.0, pair: 0 }];
        assert_eq!(first_cover(&truth, &other, Region::Pair, Edge::Inclusive), [None, None]);
    }

    #[test]
    fn phrases_overlap_where_pairs_do_not() {
        let a = located([1, 1, 1], [0.0, 0.0, 9.0, 99.0], [90.0, 0.0, 99.0, 99.0]);
        let b = located([1, 1, 1], [0.0, 0.0, 40.0, 99.0], [60.0, 0.0, 99.0, 99.0]);
        assert!(Region::Pair.overlap(Edge::Inclusive, &a, &b) < 0.5);
        assert_eq!(Region::Phrase.overlap(Edge::Inclusive, &a, &b), 1.0);
    }

    #[test]
    fn what_is_not_predicted_is_not_ranked_and_a_score_of_0_is() {
        let scores = GraphScores {
            boxes: vec![[0.0, 0.0, 1.0, 1.0]; 2],
            labels: vec![0; 2],
            scores: vec![0.0, 1.0],
            pairs: vec![[0, 1], [1, 0]],
            predicates: ndarray::array![
                [0.0, 0.0, NOT_PREDICTED, 0.5],
                [1.0, NOT_PREDICTED, NOT_PREDICTED, NOT_PREDICTED]
            ],
        };
        scores.check().unwrap();
        for (per_pair, predicates) in [(1, &[3][..]), (2, &[1, 3]), (3, &[1, 3])] {
            for product in [Product::BoxesFirst, Product::PredicateFirst] {
                let found = detections(&scores, Cut { per_pair, per_image: 9 }, product);
                let found: Vec<_> = found.iter().map(|d| (d.pair, d.at.triple.predicate)).collect();
                assert_eq!(found, predicates.iter().map(|p| (0, *p)).collect::<Vec<_>>(), "{per_pair}");
            }
        }
    }

    /// Scores from a few values, so that ties are common.
    fn any_scores() -> impl Strategy<Value = GraphScores> {
        (2usize..7, 1usize..6).prop_flat_map(|(boxes, predicates)| {
            let pairs: Vec<[u32; 2]> = (0..boxes as u32)
                .flat_map(|s| (0..boxes as u32).filter(move |&o| o != s).map(move |o| [s, o]))
                .collect();
            let table = prop::collection::vec(0u8..4, pairs.len() * (predicates + 1));
            let scores = prop::collection::vec(1u8..3, boxes);
            (Just(pairs), table, scores).prop_map(move |(pairs, table, scores)| GraphScores {
                boxes: vec![[0.0, 0.0, 1.0, 1.0]; boxes],
                labels: vec![0; boxes],
                scores: scores.iter().map(|&s| f64::from(s) / 2.0).collect(),
                predicates: Array2::from_shape_vec(
                    (pairs.len(), predicates + 1),
                    table.iter().map(|&v| f64::from(v) / 4.0).collect(),
                )
                .unwrap(),
                pairs,
            })
        })
    }

    proptest! {
        #[test]
        fn ranking_is_sorting_everything(scores in any_scores(), per_pair in 1usize..7, per_image in 0usize..40) {
            let mut all: Vec<(f64, usize, usize)> = Vec::new();
            for (pair, row) in scores.predicates.outer_iter().enumerate() {
                let mut of_pair: Vec<usize> = (1..row.len()).collect();
                of_pair.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                let [s, o] = scores.pairs[pair].map(|i| scores.scores[i as usize]);
                let kept = of_pair.into_iter().take(per_pair);
                all.extend(kept.map(|p| (s * o * row[p], pair, p)));
            }
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
            all.truncate(per_image);
            let found = detections(&scores, Cut { per_pair, per_image }, Product::BoxesFirst);
            let found: Vec<_> =
                found.iter().map(|d| (d.score, d.pair as usize, d.at.triple.predicate as usize)).collect();
            prop_assert_eq!(found, all);
        }
    }
}
