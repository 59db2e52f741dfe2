//! Frequencies of predicates given the classes of subject and object: the baselines FREQ and FREQ+OVERLAP, and the
//! table that RelDN's semantic module and Neural Motifs start from.
//!
//! For classes `(s, o)`: `c_p` relations with predicate p, and `c_0 = 1 +` the ordered pairs of boxes of these classes (related
//! ones too). The baseline scores `c / sum c`; the table is `ln(c / (sum c + 1e-8) + 1e-3)`. Classes that never met have
//! `c = [1, 0, ...]`.
//!
//! The baseline takes no logarithm and no softmax: predicates with equal counts tie exactly, and the tie rule of the
//! metric decides, not the rounding of `exp(ln(x))`.
//!
//! Sources: rowanz/neural-motifs `lib/get_dataset_counts.py`; NVIDIA/ContrastiveLosses4VRD
//! `get_dataset_counts_rel.py`, `sparse_targets_rel.py` (which adds the 1e-8).

use std::collections::HashMap;

use ndarray::Array2;

use crate::graph::{Corners, Edge, GraphScores, NOT_PREDICTED, SceneGraph};

/// Which ordered pairs of an image's boxes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// All.
    All,
    /// Those whose boxes overlap.
    Overlapping(Edge),
}

/// Counts by the classes of subject and object.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequency {
    width: usize,
    rows: HashMap<(u32, u32), Vec<u64>>,
    unseen: Vec<u64>,
}

impl Candidates {
    /// The ordered pairs of these boxes, in row-major order.
    pub fn pairs(self, boxes: &[Corners]) -> Vec<[u32; 2]> {
        let meet = |s: usize, o: usize| match self {
            Candidates::All => true,
            Candidates::Overlapping(edge) => edge.intersection(boxes[s], boxes[o]) > 0.0,
        };
        let of = |s: usize| (0..boxes.len()).filter(move |&o| o != s && meet(s, o)).map(move |o| [s as u32, o as u32]);
        (0..boxes.len()).flat_map(of).collect()
    }

    /// The same, or all pairs where no two boxes overlap: what the published counts of the background do.
    fn pairs_or_all(self, boxes: &[Corners]) -> Vec<[u32; 2]> {
        let pairs = self.pairs(boxes);
        if pairs.is_empty() { Candidates::All.pairs(boxes) } else { pairs }
    }
}

impl Frequency {
    /// Counts the relations of graphs, and the pairs of boxes that `background` says.
    pub fn count<'a>(
        graphs: impl IntoIterator<Item = &'a SceneGraph>,
        predicates: usize,
        background: Candidates,
    ) -> Self {
        let mut unseen = vec![0; predicates + 1];
        unseen[0] = 1;
        let mut frequency = Self { width: predicates + 1, rows: HashMap::new(), unseen };
        for graph in graphs {
            for relation in &graph.relations {
                let triple = graph.triple(*relation);
                if let Some(count) = frequency.row_mut(triple.subject, triple.object).get_mut(triple.predicate as usize)
                {
                    *count += 1;
                }
            }
            for [s, o] in background.pairs_or_all(&graph.boxes) {
                frequency.row_mut(graph.labels[s as usize], graph.labels[o as usize])[0] += 1;
            }
        }
        frequency
    }

    fn row_mut(&mut self, subject: u32, object: u32) -> &mut Vec<u64> {
        self.rows.entry((subject, object)).or_insert_with(|| self.unseen.clone())
    }

    /// The counts of a pair of classes: none, then the predicates.
    pub fn counts(&self, subject: u32, object: u32) -> &[u64] {
        self.rows.get(&(subject, object)).unwrap_or(&self.unseen)
    }

    /// The number of predicates.
    pub fn predicates(&self) -> usize {
        self.width - 1
    }

    /// The shares of a pair of classes; they add up to 1.
    pub fn shares(&self, subject: u32, object: u32) -> impl Iterator<Item = f64> + '_ {
        let counts = self.counts(subject, object);
        let sum = counts.iter().sum::<u64>() as f64;
        counts.iter().map(move |&c| c as f64 / sum)
    }

    /// What the baseline says of a pair of classes: the shares, but that a predicate which training never showed is none of its
    /// predictions.
    ///
    /// Neural Motifs' program keeps pairs whose best score is above 0. Without graph constraint it fills the list of an image with few
    /// pairs with the zeros of those, in the order of an unstable sort; they are left out here.
    pub fn scores(&self, subject: u32, object: u32) -> impl Iterator<Item = f64> + '_ {
        let shares = self.shares(subject, object).enumerate();
        shares.map(|(predicate, share)| if predicate > 0 && share == 0.0 { NOT_PREDICTED } else { share })
    }

    /// The row of the table: logits, whose softmax is nearly the shares.
    pub fn logits(&self, subject: u32, object: u32) -> impl Iterator<Item = f64> + '_ {
        let counts = self.counts(subject, object);
        let sum = counts.iter().sum::<u64>() as f64;
        counts.iter().map(move |&c| (c as f64 / (sum + 1e-8) + 1e-3).ln())
    }

    /// The baseline on given boxes and classes: FREQ with all pairs as candidates, FREQ+OVERLAP with overlapping ones.
    pub fn predict(&self, boxes: &[Corners], labels: &[u32], candidates: Candidates) -> GraphScores {
        let pairs = candidates.pairs(boxes);
        let mut predicates = Array2::zeros((pairs.len(), self.width));
        for (mut row, &[s, o]) in predicates.outer_iter_mut().zip(&pairs) {
            row.iter_mut().zip(self.scores(labels[s as usize], labels[o as usize])).for_each(|(to, share)| *to = share);
        }
        GraphScores {
            boxes: boxes.to_vec(),
            labels: labels.to_vec(),
            scores: vec![1.0; boxes.len()],
            pairs,
            predicates,
        }
    }
}

/// Shares that lean on what each of the two classes does with all others, so that few counts, or none, say something too.
///
/// ```text
/// (c_p + w (a_p + b_p)/2) / (sum c + w)        a_p = (subject's counts of p + w m_p) / (its sum + w), b of the object's alike
/// ```
///
/// `m` are the shares of all counts together, `w` is the weight of the prior in counts.
#[derive(Clone, Debug)]
pub struct Smoothed<'f> {
    frequency: &'f Frequency,
    weight: f64,
    all: Vec<f64>,
    subjects: HashMap<u32, Vec<f64>>,
    objects: HashMap<u32, Vec<f64>>,
}

impl Frequency {
    /// With a prior of so many counts, above 0.
    pub fn smoothed(&self, weight: f64) -> Smoothed<'_> {
        let none = || vec![0u64; self.width];
        let (mut all, mut subjects, mut objects) = (none(), HashMap::new(), HashMap::new());
        for (&(subject, object), counts) in &self.rows {
            let sums =
                [&mut all, subjects.entry(subject).or_insert_with(none), objects.entry(object).or_insert_with(none)];
            for sum in sums {
                sum.iter_mut().zip(counts).for_each(|(sum, c)| *sum += c);
            }
        }
        let all = leant(&all, &vec![0.0; self.width], 0.0);
        let shares = |sums: HashMap<u32, Vec<u64>>| {
            sums.into_iter().map(|(class, counts)| (class, leant(&counts, &all, weight))).collect()
        };
        let (subjects, objects) = (shares(subjects), shares(objects));
        Smoothed { frequency: self, weight, all, subjects, objects }
    }
}

/// The shares of counts with a prior; the prior itself where there is neither count nor weight.
fn leant(counts: &[u64], prior: &[f64], weight: f64) -> Vec<f64> {
    let sum = counts.iter().sum::<u64>() as f64 + weight;
    if sum > 0.0 {
        counts.iter().zip(prior).map(|(&c, &p)| (c as f64 + weight * p) / sum).collect()
    } else {
        prior.to_vec()
    }
}

impl Smoothed<'_> {
    /// The shares of a pair of classes: none, then the predicates; they add up to 1.
    pub fn shares(&self, subject: u32, object: u32) -> Vec<f64> {
        let of = |side: &HashMap<u32, Vec<f64>>, class: u32| side.get(&class).unwrap_or(&self.all).clone();
        let prior: Vec<f64> =
            of(&self.subjects, subject).iter().zip(of(&self.objects, object)).map(|(a, b)| (a + b) / 2.0).collect();
        match self.frequency.rows.get(&(subject, object)) {
            Some(counts) => leant(counts, &prior, self.weight),
            None => prior,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Relation;

    #[test]
    fn counts_by_hand() {
        let relation = |subject, object, predicate| Relation { subject, object, predicate };
        let graph = SceneGraph {
            boxes: vec![[0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 14.0, 14.0], [50.0, 50.0, 59.0, 59.0]],
            labels: vec![0, 1, 1],
            relations: vec![relation(0, 1, 2), relation(0, 2, 2), relation(0, 2, 1)],
        };
        let all = Frequency::count([&graph], 3, Candidates::All);
        assert_eq!(all.counts(0, 1), [3, 1, 2, 0]);
        assert_eq!(all.counts(1, 1), [3, 0, 0, 0]);
        assert_eq!(all.counts(7, 7), [1, 0, 0, 0]);
        let overlapping = Candidates::Overlapping(Edge::Inclusive);
        assert_eq!(Frequency::count([&graph], 3, overlapping).counts(0, 1), [2, 1, 2, 0]);
        assert_eq!(all.shares(0, 1).collect::<Vec<_>>(), [0.5, 1.0 / 6.0, 2.0 / 6.0, 0.0]);
        let logits: Vec<f64> = all.logits(0, 1).collect();
        assert!((logits[3] - 1e-3f64.ln()).abs() < 1e-12 && (logits[0] - 0.501f64.ln()).abs() < 1e-8);
        let scores = all.predict(&graph.boxes, &graph.labels, overlapping);
        assert_eq!(scores.pairs, [[0, 1], [1, 0]]);
        assert_eq!(scores.check(), Ok(()));
        // Never shown: predicate 3 of the first pair, all of the second.
        assert_eq!(scores.predicates.row(0).to_vec(), [0.5, 1.0 / 6.0, 2.0 / 6.0, NOT_PREDICTED]);
        assert_eq!(scores.predicates.row(1).to_vec(), [1.0, NOT_PREDICTED, NOT_PREDICTED, NOT_PREDICTED]);
    }

    #[test]
    fn a_prior_leans_on_each_class() {
        let relation = |subject, object, predicate| Relation { subject, object, predicate };
        let graph = |labels: Vec<u32>, predicate| SceneGraph {
            boxes: vec![[0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 14.0, 14.0]],
            labels,
            relations: vec![relation(0, 1, predicate)],
        };
        let graphs = [graph(vec![0, 1], 1), graph(vec![0, 2], 1), graph(vec![3, 2], 2)];
        let smoothed = Frequency::count(&graphs, 3, Candidates::All);
        let smoothed = smoothed.smoothed(2.0);
        for (s, o) in [(0, 1), (1, 0), (3, 1), (8, 9)] {
            let shares = smoothed.shares(s, o);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares[3] == 0.0, "{shares:?}");
        }
        // Class 3 was never the subject of predicate 1, and 1 never the object of 2; together both may be.
        let never_met = smoothed.shares(3, 1);
        assert!(never_met[1] > 0.0 && never_met[2] > 0.0);
        // (0, 1) counts [2, 1, 0, 0], subject 0 [4, 2, 0, 0], object 1 [2, 1, 0, 0], all [12, 2, 1, 0].
        let all = 2.0 / 15.0;
        let (subject, object) = ((2.0 + 2.0 * all) / 8.0, (1.0 + 2.0 * all) / 5.0);
        assert!((smoothed.shares(0, 1)[1] - (1.0 + subject + object) / 5.0).abs() < 1e-12);
        assert_eq!(smoothed.shares(8, 9)[1], all);
    }
}
