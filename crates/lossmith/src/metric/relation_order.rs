//! Whether related pairs stand before the pairs that they could be confused with: what contrastive losses are about.
//!
//! - Order rates. A group is the pairs of one anchor, subject or object. It is in order if the lowest affinity (1 - "none") of its
//!   related pairs is above the highest of its unrelated ones; groups that lack either do not count. Three groupings, as the losses have
//!   them: all pairs of the anchor; those of one class at the other end; those of one true predicate against the unrelated pairs whose
//!   best predicate it is.
//! - R@G: the recall of an image when as many triplets are kept as it has relations, each pair offering its best predicate; cover
//!   rule, mean over the images that have relations. Where frequencies tie, it tells more than a fixed cut.
//!
//! Boxes and classes are given. Equal scores: see [`triplets`](super::triplets). These are measures of this program, no published protocol.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::triplets::{Cut, Product, Region, detections, first_cover, found_within};
use crate::graph::{Edge, GraphError, GraphScores, SceneGraph};

/// Groups in order, of all groups with related and unrelated pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Groups in order.
    pub right: usize,
    /// Groups.
    pub of: usize,
}

/// The sums over the images so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RelationOrder {
    /// Images with relations.
    pub images: usize,
    /// The sum of the images' recalls at as many triplets as they have relations.
    pub recalls: f64,
    /// Order by anchor; by anchor and class of the other end; by anchor and predicate.
    pub order: [Rate; 3],
}

impl Rate {
    /// The share in order, 0 where there is no group.
    pub fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.right as f64 / self.of as f64 }
    }
}

/// The lowest affinity of the related and the highest of the unrelated pairs of a group.
#[derive(Clone, Copy, Default)]
struct Ends {
    related: Option<f64>,
    unrelated: Option<f64>,
}

impl RelationOrder {
    /// R@G.
    pub fn recall(&self) -> f64 {
        if self.images == 0 { 0.0 } else { self.recalls / self.images as f64 }
    }

    /// Judges and adds one image.
    ///
    /// # Errors
    /// A graph that is not sound, or boxes or classes that are not those given.
    pub fn add(&mut self, truth: &SceneGraph, prediction: &GraphScores) -> Result<(), GraphError> {
        prediction.check()?;
        prediction.check_single_pairs()?;
        prediction.check_given(truth, true, true)?;
        let relations = truth.relations.len();
        if relations > 0 {
            let cut = Cut { per_pair: 1, per_image: relations };
            let ranked = detections(prediction, cut, Product::PredicateFirst);
            let ranks = first_cover(&truth.located(), &ranked, Region::Pair, Edge::Inclusive);
            self.images += 1;
            self.recalls += found_within(&ranks, relations) as f64 / relations as f64;
        }
        self.add_orders(truth, prediction);
        Ok(())
    }

    fn add_orders(&mut self, truth: &SceneGraph, prediction: &GraphScores) {
        let related: HashSet<[u32; 2]> = truth.relations.iter().map(|r| [r.subject, r.object]).collect();
        // By side, anchor, grouping and what is grouped by.
        let mut groups: BTreeMap<(bool, u32, usize, u32), Ends> = BTreeMap::new();
        for (at, &[s, o]) in prediction.pairs.iter().enumerate() {
            let row = prediction.predicates.row(at);
            let (affinity, is_related) = (1.0 - row[0], related.contains(&[s, o]));
            let predicates: Vec<u32> = if is_related {
                truth.relations.iter().filter(|r| [r.subject, r.object] == [s, o]).map(|r| r.predicate).collect()
            } else {
                let best = (1..row.len()).fold(1, |best, p| if row[p] > row[best] { p } else { best });
                vec![best as u32]
            };
            for (by_object, anchor, free) in [(false, s, o), (true, o, s)] {
                let mut into = |grouping: usize, key: u32| {
                    let ends = groups.entry((by_object, anchor, grouping, key)).or_default();
                    if is_related {
                        ends.related = Some(ends.related.map_or(affinity, |v| v.min(affinity)));
                    } else {
                        ends.unrelated = Some(ends.unrelated.map_or(affinity, |v| v.max(affinity)));
                    }
                };
                into(0, 0);
                into(1, truth.labels[free as usize]);
                predicates.iter().for_each(|&p| into(2, p));
            }
        }
        for ((_, _, grouping, _), ends) in groups {
            if let (Some(related), Some(unrelated)) = (ends.related, ends.unrelated) {
                let rate = &mut self.order[grouping];
                *rate = Rate { right: rate.right + usize::from(related > unrelated), of: rate.of + 1 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::graph::Relation;

    #[test]
    fn orders_and_recall_by_hand() {
        let truth = SceneGraph {
            boxes: vec![[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [40.0, 0.0, 49.0, 9.0]],
            labels: vec![0, 1, 1],
            relations: vec![Relation { subject: 0, object: 1, predicate: 1 }],
        };
        let scores = |related: f64, other: f64| GraphScores {
            boxes: truth.boxes.clone(),
            labels: truth.labels.clone(),
            scores: vec![1.0; 3],
            pairs: vec![[0, 1], [0, 2]],
            predicates: array![[1.0 - related, related, 0.0], [1.0 - other, other, 0.0]],
        };
        let mut order = RelationOrder::default();
        order.add(&truth, &scores(0.8, 0.3)).unwrap();
        // Subject 0 has both kinds of pairs; objects 1 and 2 have one each.
        assert_eq!(order.order, [Rate { right: 1, of: 1 }; 3]);
        assert_eq!(order.recall(), 1.0);
        order.add(&truth, &scores(0.3, 0.8)).unwrap();
        assert_eq!(order.order, [Rate { right: 1, of: 2 }; 3]);
        assert_eq!((order.recall(), order.order[0].share()), (0.5, 0.5));
        // The unrelated pair says another predicate: it is in no group of the first.
        let mut other = scores(0.3, 0.8);
        other.predicates.row_mut(1).assign(&array![0.2, 0.0, 0.8]);
        let mut order = RelationOrder::default();
        order.add(&truth, &other).unwrap();
        assert_eq!(order.order[2], Rate { right: 0, of: 0 });
        let none = SceneGraph { relations: vec![], ..truth.clone() };
        order.add(&none, &scores(0.5, 0.5)).unwrap();
        assert_eq!(order.images, 1);
    }
}
