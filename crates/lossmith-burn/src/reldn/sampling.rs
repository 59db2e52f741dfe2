//! Which pairs of an image are trained on, and in which of the three lists, as published.
//!
//! Candidates: all ordered pairs of boxes that overlap; and, whether they overlap or not, every pair whose subject box is the subject
//! of a relation, or whose object box is the object of one. A pair's overlap with a relation is the smaller of those of its two ends;
//! with at least a half it is that relation's, otherwise it is none's. Labels of boxes take no part.
//!
//! - Cross-entropy: pairs that are a relation's own, all of them; further related ones up to `related` in all; unrelated ones up
//!   to `total`.
//! - Subject margins: up to `nodes` related pairs and as many unrelated ones, first those whose ends both are ends of relations
//!   (overlap of at least a half), only not of one; then those whose subject alone is. Object margins the other way round.
//!
//! All draws are uniform, without replacement. Where the released code takes detected boxes beside the annotated ones, here
//! the boxes are those of the graph.
//!
//! Source: NVIDIA/ContrastiveLosses4VRD, `lib/datasets_rel/json_dataset_rel.py`, `lib/roi_data_rel/fast_rcnn_rel.py`.

use lossmith::graph::{Edge, SceneGraph};
use lossmith::loss::graphical_contrastive::{IN_CROSS_ENTROPY, IN_OBJECT_LIST, IN_SUBJECT_LIST};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// From this overlap on a pair is related.
const RELATED: f64 = 0.5;
/// From this overlap on a pair is the relation's own.
const OWN: f64 = 1.0 - 1e-4;

/// How pairs are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The most related pairs of the cross-entropy, unless more are relations' own.
    pub related: usize,
    /// The most pairs of the cross-entropy.
    pub total: usize,
    /// The most related and the most unrelated pairs of either list of margins.
    pub nodes: usize,
    /// Whether pairs of boxes that do not overlap are left out, but for those of relations' subjects and objects.
    pub overlap: bool,
    /// What a pair with several predicates stands for.
    pub several: Several,
}

/// What a pair with several predicates stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Several {
    /// The first, as published.
    First,
    /// One of them, drawn anew each time, as Neural Motifs trains.
    Random,
    /// Each of them in the cross-entropy, the first in the margins.
    All,
}

impl Sampling {
    /// As published.
    pub fn published() -> Self {
        Self { related: 512, total: 2048, nodes: 128, overlap: true, several: Several::First }
    }
}

/// A sampled pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The subject's box.
    pub subject: u32,
    /// The object's box.
    pub object: u32,
    /// The predicate, 0 for none.
    pub predicate: u32,
    /// The lists it is in, as the loss reads them.
    pub lists: i64,
}

/// A candidate.
struct Pair {
    row: Row,
    /// The overlap with the relation that it overlaps most.
    overlap: f64,
    /// The relations that it overlaps as much.
    relations: Vec<usize>,
}

/// Samples the pairs of one image; by subject, then by object.
pub fn sample(graph: &SceneGraph, sampling: &Sampling, rng: &mut ChaCha8Rng) -> Vec<Row> {
    let n = graph.boxes.len();
    let overlaps: Vec<f64> =
        (0..n * n).map(|at| Edge::Inclusive.iou(graph.boxes[at / n], graph.boxes[at % n])).collect();
    let iou = |a: usize, b: usize| overlaps[a * n + b];
    let most = |node: usize, end: fn(&lossmith::graph::Relation) -> u32| {
        graph.relations.iter().map(|r| iou(node, end(r) as usize)).fold(0.0, f64::max)
    };
    let as_subject: Vec<f64> = (0..n).map(|i| most(i, |r| r.subject)).collect();
    let as_object: Vec<f64> = (0..n).map(|i| most(i, |r| r.object)).collect();

    let mut pairs = Vec::new();
    for (s, in_subject) in as_subject.iter().enumerate() {
        for o in (0..n).filter(|&o| o != s) {
            let in_relation = *in_subject >= OWN || as_object[o] >= OWN;
            if sampling.overlap && !in_relation && iou(s, o) <= 0.0 {
                continue;
            }
            let overlap = |r: &lossmith::graph::Relation| iou(s, r.subject as usize).min(iou(o, r.object as usize));
            let best = graph.relations.iter().map(overlap).fold(0.0, f64::max);
            let relations: Vec<usize> = (0..graph.relations.len())
                .filter(|&at| best >= RELATED && overlap(&graph.relations[at]) == best)
                .collect();
            let chosen = match sampling.several {
                Several::Random if relations.len() > 1 => relations.get(rng.random_range(0..relations.len())),
                _ => relations.first(),
            };
            let predicate = chosen.map_or(0, |&at| graph.relations[at].predicate);
            let row = Row { subject: s as u32, object: o as u32, predicate, lists: 0 };
            pairs.push(Pair { row, overlap: best, relations });
        }
    }
    for_cross_entropy(&mut pairs, sampling, rng);
    let near = |share: &[f64], node: u32| share[node as usize] >= RELATED;
    for (list, own, other) in [(IN_SUBJECT_LIST, &as_subject, &as_object), (IN_OBJECT_LIST, &as_object, &as_subject)] {
        let ends =
            |row: &Row| if list == IN_SUBJECT_LIST { (row.subject, row.object) } else { (row.object, row.subject) };
        let (related, unrelated): (Vec<usize>, Vec<usize>) =
            (0..pairs.len()).partition(|&at| pairs[at].row.predicate > 0);
        let anchored = unrelated.into_iter().filter(|&at| near(own, ends(&pairs[at].row).0));
        let (mut first, second): (Vec<usize>, Vec<usize>) =
            anchored.partition(|&at| near(other, ends(&pairs[at].row).1));
        first = draw(first, sampling.nodes, rng);
        let left = sampling.nodes - first.len();
        let chosen = [draw(related, sampling.nodes, rng), first, draw(second, left, rng)].concat();
        chosen.into_iter().for_each(|at| pairs[at].row.lists |= list);
    }
    rows(pairs, graph, sampling)
}

fn for_cross_entropy(pairs: &mut [Pair], sampling: &Sampling, rng: &mut ChaCha8Rng) {
    let of = |pairs: &[Pair], keep: fn(&Pair) -> bool| -> Vec<usize> {
        (0..pairs.len()).filter(|&at| keep(&pairs[at])).collect()
    };
    let own = of(pairs, |p| p.overlap >= OWN);
    let near = of(pairs, |p| (RELATED..OWN).contains(&p.overlap));
    let none = of(pairs, |p| p.overlap < RELATED);
    let near = draw(near, sampling.related.saturating_sub(own.len()), rng);
    let none = draw(none, sampling.total.saturating_sub(own.len() + near.len()), rng);
    for at in [own, near, none].concat() {
        pairs[at].row.lists |= IN_CROSS_ENTROPY;
    }
}

/// So many of the places, or all; in order if all.
fn draw(mut places: Vec<usize>, most: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if places.len() <= most { places } else { places.partial_shuffle(rng, most).0.to_vec() }
}

fn rows(pairs: Vec<Pair>, graph: &SceneGraph, sampling: &Sampling) -> Vec<Row> {
    let mut rows = Vec::with_capacity(pairs.len());
    for pair in pairs.into_iter().filter(|p| p.row.lists != 0) {
        rows.push(pair.row);
        if sampling.several == Several::All && pair.row.lists & IN_CROSS_ENTROPY != 0 {
            let more = pair.relations.iter().skip(1).map(|&at| graph.relations[at].predicate);
            rows.extend(more.map(|predicate| Row { predicate, lists: IN_CROSS_ENTROPY, ..pair.row }));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use lossmith::graph::Relation;
    use rand::SeedableRng;

    use super::*;

    fn graph() -> SceneGraph {
        let relation = |subject, object, predicate| Relation { subject, object, predicate };
        SceneGraph {
            // 0 overlaps 1; 2 is nearly 1; 3 and 4 stand alone.
            boxes: vec![
                [0.0, 0.0, 20.0, 20.0],
                [10.0, 10.0, 30.0, 30.0],
                [10.0, 10.0, 30.0, 31.0],
                [100.0, 0.0, 110.0, 10.0],
                [200.0, 0.0, 210.0, 10.0],
            ],
            labels: vec![0, 1, 1, 1, 1],
            relations: vec![relation(0, 1, 2), relation(0, 1, 3)],
        }
    }

    fn sampled(sampling: Sampling) -> Vec<Row> {
        sample(&graph(), &sampling, &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn pairs_and_lists_are_as_published() {
        let rows = sampled(Sampling::published());
        let found =
            |s: u32, o: u32| rows.iter().find(|r| (r.subject, r.object) == (s, o)).map(|r| (r.predicate, r.lists));
        // The relation's own pair, and one that overlaps it by more than a half: related, whatever the annotation says.
        assert_eq!(found(0, 1), Some((2, 7)));
        assert_eq!(found(0, 2), Some((2, 7)));
        // Subjects of relations are paired with all boxes, and objects too; others only where they overlap.
        assert_eq!(found(0, 3), Some((0, 3)));
        assert_eq!(found(4, 1), Some((0, 5)));
        assert_eq!(found(2, 0), Some((0, 1)));
        assert_eq!((found(3, 4), found(3, 0)), (None, None));
        let all = sampled(Sampling { overlap: false, ..Sampling::published() });
        assert_eq!(all.len(), 20);
    }

    #[test]
    fn numbers_are_held() {
        let few = sampled(Sampling { related: 1, total: 3, nodes: 1, overlap: true, several: Several::First });
        let count = |list: i64, related: bool| {
            few.iter().filter(|r| r.lists & list != 0 && (r.predicate > 0) == related).count()
        };
        assert_eq!((count(IN_CROSS_ENTROPY, true), count(IN_CROSS_ENTROPY, false)), (1, 2));
        assert_eq!((count(IN_SUBJECT_LIST, true), count(IN_SUBJECT_LIST, false)), (1, 1));
        assert_eq!((count(IN_OBJECT_LIST, true), count(IN_OBJECT_LIST, false)), (1, 1));
    }

    #[test]
    fn several_predicates_count_as_asked() {
        let of = |several| {
            let rows = sampled(Sampling { several, ..Sampling::published() });
            rows.iter().filter(|r| (r.subject, r.object) == (0, 1)).map(|r| (r.predicate, r.lists)).collect::<Vec<_>>()
        };
        assert_eq!(of(Several::First), [(2, 7)]);
        assert_eq!(of(Several::All), [(2, 7), (3, IN_CROSS_ENTROPY)]);
        assert!([2, 3].contains(&of(Several::Random)[0].0));
    }
}
