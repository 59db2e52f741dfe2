//! Scene graphs as plain data: boxes, labels, relations, and what a model says about pairs of boxes.
//!
//! Boxes are `[x1, y1, x2, y2]` in pixels (or any one unit). Object classes are numbered as the data set numbers them.
//! Predicates count from 1: 0 means "no relation", so a row of predicate scores is `[none, 1, 2, ..., P]`.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Stands for the score of a predicate that a model does not predict for a pair: it is in no ranking. A score of 0 is.
pub const NOT_PREDICTED: f64 = f64::NEG_INFINITY;

/// The corners `[x1, y1, x2, y2]` of a box.
pub type Corners = [f64; 4];

/// What is true of one image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SceneGraph {
    /// One box per node.
    pub boxes: Vec<Corners>,
    /// The class of each node.
    pub labels: Vec<u32>,
    /// The annotated relations; a relation that is listed twice counts twice.
    pub relations: Vec<Relation>,
}

/// One relation between two nodes of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// The index of the subject's box.
    pub subject: u32,
    /// The index of the object's box.
    pub object: u32,
    /// The predicate, from 1.
    pub predicate: u32,
}

/// The class numbers of a relation: what it says, without saying where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Triple {
    /// The class of the subject.
    pub subject: u32,
    /// The predicate, from 1.
    pub predicate: u32,
    /// The class of the object.
    pub object: u32,
}

/// What a model says about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphScores {
    /// One box per detection.
    pub boxes: Vec<Corners>,
    /// The class of each detection.
    pub labels: Vec<u32>,
    /// The confidence of each detection, 1 where boxes and labels are given.
    pub scores: Vec<f64>,
    /// The ordered pairs that were scored: subject, object.
    pub pairs: Vec<[u32; 2]>,
    /// One row per pair: the score of "no relation", then of each predicate, or [`NOT_PREDICTED`]; `[pairs, 1 + P]`.
    pub predicates: Array2<f64>,
}

/// The names of classes and predicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// The names of the object classes; a label is an index into it.
    pub objects: Vec<String>,
    /// The names of the predicates; predicate `p` is `predicates[p - 1]`.
    pub predicates: Vec<String>,
}

/// Whether a box from `x1` to `x2` is `x2 - x1` wide, or counts the pixel at its end too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// `x2 - x1`: corners are points.
    Exclusive,
    /// `x2 - x1 + 1`: corners are pixels that belong to the box.
    Inclusive,
}

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct GraphError(String);

impl Edge {
    fn extra(self) -> f64 {
        if self == Edge::Inclusive { 1.0 } else { 0.0 }
    }

    /// The area of a box.
    pub fn area(self, b: Corners) -> f64 {
        (b[2] - b[0] + self.extra()) * (b[3] - b[1] + self.extra())
    }

    /// The area that two boxes share, 0 where they do not meet.
    pub fn intersection(self, a: Corners, b: Corners) -> f64 {
        let width = a[2].min(b[2]) - a[0].max(b[0]) + self.extra();
        let height = a[3].min(b[3]) - a[1].max(b[1]) + self.extra();
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union, 0 where nothing is shared.
    pub fn iou(self, a: Corners, b: Corners) -> f64 {
        let shared = self.intersection(a, b);
        if shared > 0.0 { shared / (self.area(a) + self.area(b) - shared) } else { 0.0 }
    }
}

/// The smallest box around two boxes.
pub fn enclosing(a: Corners, b: Corners) -> Corners {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

impl SceneGraph {
    /// The classes of a relation.
    ///
    /// # Panics
    /// If the relation names a box that is not there; [`check`](Self::check) finds that.
    pub fn triple(&self, relation: Relation) -> Triple {
        Triple {
            subject: self.labels[relation.subject as usize],
            predicate: relation.predicate,
            object: self.labels[relation.object as usize],
        }
    }

    /// Checks lengths, boxes, indices and predicate numbers (`predicates` = P, without "no relation"). A box that is
    /// related to itself is let through: VRD has 139 such rows, and its figures count them.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn check(&self, predicates: usize) -> Result<(), GraphError> {
        check_boxes(&self.boxes, self.labels.len())?;
        for (at, r) in self.relations.iter().enumerate() {
            check_ends([r.subject, r.object], self.boxes.len())
                .map_err(|e| GraphError(format!("relation {at}: {e}")))?;
            if r.predicate == 0 || r.predicate as usize > predicates {
                return Err(GraphError(format!("relation {at}: predicate {} is not in 1..={predicates}", r.predicate)));
            }
        }
        Ok(())
    }
}

impl GraphScores {
    /// The number of predicates, "no relation" left out.
    pub fn predicate_count(&self) -> usize {
        self.predicates.ncols().saturating_sub(1)
    }

    /// Checks lengths, boxes, and that scores are finite. A pair may be there twice, each row is ranked; see
    /// [`check_single_pairs`](Self::check_single_pairs). A pair of a box with itself is let through, as VRD annotates some; see
    /// [`check_no_loops`](Self::check_no_loops).
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn check(&self) -> Result<(), GraphError> {
        check_boxes(&self.boxes, self.labels.len())?;
        same_length("scores", self.scores.len(), "boxes", self.boxes.len())?;
        same_length("predicates", self.predicates.nrows(), "pairs", self.pairs.len())?;
        if let Some(at) = self.scores.iter().position(|s| !s.is_finite()) {
            return Err(GraphError(format!("score {at} is {}, expected a finite number", self.scores[at])));
        }
        for (at, &pair) in self.pairs.iter().enumerate() {
            check_ends(pair, self.boxes.len()).map_err(|e| GraphError(format!("pair {at}: {e}")))?;
        }
        // Without an early end, so that it compiles to vector instructions: mostly all are finite.
        let sound = |s: &f64| s.is_finite() | (*s == NOT_PREDICTED);
        if !self.predicates.iter().fold(true, |all, s| all & sound(s))
            && let Some(((at, p), found)) = self.predicates.indexed_iter().find(|(_, s)| !sound(s))
        {
            return Err(GraphError(format!("pair {at}: predicate score {p} is {found}, expected a finite number")));
        }
        Ok(())
    }
}

impl GraphScores {
    /// Checks that no box is paired with itself.
    ///
    /// # Errors
    /// The first pair that is.
    pub fn check_no_loops(&self) -> Result<(), GraphError> {
        match self.pairs.iter().position(|[s, o]| s == o) {
            Some(at) => {
                let own = self.pairs[at][0];
                Err(GraphError(format!("pair {at}: subject and object are the same box {own}")))
            }
            None => Ok(()),
        }
    }

    /// Checks that no ordered pair is there twice.
    ///
    /// # Errors
    /// The first pair that is.
    pub fn check_single_pairs(&self) -> Result<(), GraphError> {
        match first_double(&self.pairs, self.boxes.len()) {
            Some(at) => {
                let [s, o] = self.pairs[at];
                Err(GraphError(format!(
                    "pair {at}: [{s}, {o}] is there twice, expected one row of scores for each pair"
                )))
            }
            None => Ok(()),
        }
    }

    /// Checks that there is a column for "no relation" and one for each of `predicates`.
    ///
    /// # Errors
    /// There are more or fewer.
    pub fn check_width(&self, predicates: usize) -> Result<(), GraphError> {
        if self.pairs.is_empty() || self.predicate_count() == predicates {
            return Ok(());
        }
        let found = self.predicates.ncols();
        Err(GraphError(format!(
            "rows of {found} predicate scores, expected {} (none and {predicates})",
            predicates + 1
        )))
    }

    /// Checks that the boxes (and the labels) are those of the truth, in its order.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_given(&self, truth: &SceneGraph, boxes: bool, labels: bool) -> Result<(), GraphError> {
        if boxes {
            same_length("boxes", self.boxes.len(), "boxes of the truth", truth.boxes.len())?;
            if let Some(at) = (0..self.boxes.len()).find(|&at| self.boxes[at] != truth.boxes[at]) {
                let (found, given) = (self.boxes[at], truth.boxes[at]);
                return Err(GraphError(format!("box {at} is {found:?}, but boxes are given and it is {given:?}")));
            }
        }
        if labels && let Some(at) = (0..self.labels.len()).find(|&at| self.labels[at] != truth.labels[at]) {
            let (found, given) = (self.labels[at], truth.labels[at]);
            return Err(GraphError(format!("label {at} is {found}, but labels are given and it is {given}")));
        }
        Ok(())
    }
}

impl GraphScores {
    /// For each box the box of the truth that it is; with `labels` its label must be that one's too. Boxes of the truth may be
    /// missing, or there several times with labels of their own.
    ///
    /// # Errors
    /// The first box that is none of the truth's, or has a label of its own where labels are given.
    pub fn given(&self, truth: &SceneGraph, labels: bool) -> Result<Vec<u32>, GraphError> {
        let own = |at: usize, of: usize| {
            truth.boxes.get(of) == Some(&self.boxes[at]) && (!labels || truth.labels.get(of) == Some(&self.labels[at]))
        };
        let place = |at: usize| {
            // Mostly they are in the truth's order.
            let of = if own(at, at) { Some(at) } else { (0..truth.boxes.len()).find(|&of| own(at, of)) };
            of.map(|of| of as u32).ok_or_else(|| self.not_given(truth, at))
        };
        (0..self.boxes.len()).map(place).collect()
    }

    fn not_given(&self, truth: &SceneGraph, at: usize) -> GraphError {
        let (found, label) = (self.boxes[at], self.labels[at]);
        if let Some(of) = truth.boxes.iter().position(|b| *b == found) {
            let given = truth.labels[of];
            return GraphError(format!("label {at} is {label}, but labels are given and it is {given}"));
        }
        match truth.boxes.get(at).filter(|_| self.boxes.len() == truth.boxes.len()) {
            Some(given) => GraphError(format!("box {at} is {found:?}, but boxes are given and it is {given:?}")),
            None => {
                let count = truth.boxes.len();
                GraphError(format!(
                    "box {at} is {found:?}, but boxes are given and it is none of the {count} of the truth"
                ))
            }
        }
    }
}

fn check_boxes(boxes: &[Corners], labels: usize) -> Result<(), GraphError> {
    same_length("labels", labels, "boxes", boxes.len())?;
    for (at, b) in boxes.iter().enumerate() {
        if b.iter().any(|v| !v.is_finite()) {
            return Err(GraphError(format!("box {at} is {b:?}, expected finite numbers")));
        }
        if b[2] < b[0] || b[3] < b[1] {
            return Err(GraphError(format!("box {at} is {b:?}, expected [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2")));
        }
    }
    Ok(())
}

/// The first pair that was there before; all ends are below `boxes`.
fn first_double(pairs: &[[u32; 2]], boxes: usize) -> Option<usize> {
    // A table of all pairs is the fastest while it is small.
    if boxes <= 1024 {
        let mut seen = vec![false; boxes * boxes];
        return pairs.iter().position(|&[s, o]| std::mem::replace(&mut seen[s as usize * boxes + o as usize], true));
    }
    let mut seen = std::collections::HashSet::with_capacity(pairs.len());
    pairs.iter().position(|&pair| !seen.insert(pair))
}

fn check_ends(ends: [u32; 2], boxes: usize) -> Result<(), GraphError> {
    match ends.into_iter().find(|&i| i as usize >= boxes) {
        Some(missing) => Err(GraphError(format!("there is no box {missing}, the image has {boxes} (counted from 0)"))),
        None => Ok(()),
    }
}

fn same_length(a: &str, length_a: usize, b: &str, length_b: usize) -> Result<(), GraphError> {
    if length_a == length_b {
        return Ok(());
    }
    Err(GraphError(format!("{length_a} {a} for {length_b} {b}, expected as many")))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn graph() -> SceneGraph {
        SceneGraph {
            boxes: vec![[0.0, 0.0, 9.0, 9.0], [5.0, 0.0, 14.0, 9.0]],
            labels: vec![3, 4],
            relations: vec![Relation { subject: 0, object: 1, predicate: 2 }],
        }
    }

    #[test]
    fn the_pixel_at_the_end_counts_or_not() {
        let [a, b] = [graph().boxes[0], graph().boxes[1]];
        assert_eq!(Edge::Inclusive.iou(a, b), 50.0 / 150.0);
        assert_eq!(Edge::Exclusive.iou(a, b), 36.0 / (81.0 + 81.0 - 36.0));
        assert_eq!(Edge::Inclusive.iou(a, [10.0, 0.0, 12.0, 9.0]), 0.0);
        assert_eq!(enclosing(a, b), [0.0, 0.0, 14.0, 9.0]);
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(graph().check(2), Ok(()));
        let error = |change: fn(&mut SceneGraph)| {
            let mut g = graph();
            change(&mut g);
            g.check(2).unwrap_err().to_string()
        };
        assert_eq!(error(|g| g.relations[0].predicate = 3), "relation 0: predicate 3 is not in 1..=2");
        assert!(error(|g| g.relations[0].object = 2).contains("there is no box 2, the image has 2"));
        assert!(error(|g| g.boxes[1][2] = 4.0).contains("box 1 is [5.0, 0.0, 4.0, 9.0]"));
        assert!(error(|g| g.labels.clear()).contains("0 labels for 2 boxes"));
    }

    #[test]
    fn given_boxes_may_come_in_any_order_and_with_several_labels() {
        let [a, b] = [graph().boxes[0], graph().boxes[1]];
        let scores = |boxes: Vec<Corners>, labels: Vec<u32>| GraphScores {
            scores: vec![1.0; boxes.len()],
            boxes,
            labels,
            pairs: Vec::new(),
            predicates: Array2::zeros((0, 3)),
        };
        assert_eq!(scores(vec![a, b], vec![3, 4]).given(&graph(), true), Ok(vec![0, 1]));
        assert_eq!(scores(vec![b], vec![4]).given(&graph(), true), Ok(vec![1]));
        assert_eq!(scores(vec![b, a, a], vec![9, 3, 7]).given(&graph(), false), Ok(vec![1, 0, 0]));
        let error = |of: GraphScores, labels| of.given(&graph(), labels).unwrap_err().to_string();
        assert_eq!(error(scores(vec![a, b], vec![3, 5]), true), "label 1 is 5, but labels are given and it is 4");
        let other = [0.0, 0.0, 8.0, 9.0];
        assert!(
            error(scores(vec![a, other], vec![3, 4]), false)
                .contains("box 1 is [0.0, 0.0, 8.0, 9.0], but boxes are given and it is [5.0")
        );
        assert!(error(scores(vec![a, b, other], vec![3, 4, 4]), false).contains("it is none of the 2 of the truth"));
    }

    #[test]
    fn scores_are_checked_too() {
        let good = GraphScores {
            boxes: graph().boxes,
            labels: vec![3, 4],
            scores: vec![1.0, 1.0],
            pairs: vec![[0, 1], [1, 0]],
            predicates: array![[0.5, 0.5], [1.0, 0.0]],
        };
        assert_eq!(good.check(), Ok(()));
        let mut twice = good.clone();
        twice.pairs[1] = [0, 1];
        assert_eq!(twice.check(), Ok(()));
        let error = twice.check_single_pairs().unwrap_err().to_string();
        assert_eq!(error, "pair 1: [0, 1] is there twice, expected one row of scores for each pair");
        let mut own = good.clone();
        own.pairs[1] = [1, 1];
        assert_eq!(own.check_no_loops().unwrap_err().to_string(), "pair 1: subject and object are the same box 1");
        let mut undefined = good;
        undefined.predicates[[1, 0]] = f64::NAN;
        assert!(undefined.check().unwrap_err().to_string().contains("pair 1: predicate score 0 is NaN"));
    }
}
