//! The reward of a labelled scene graph, computed the plain way: every pair scored, all ranked, all matched.

use std::fmt;
use std::str::FromStr;

use super::score::Labelled;
use super::{CriticError, Scene};

/// What a sampled graph is rewarded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reward {
    /// Recall@K with graph constraint: the share of the true triplets among the best `K` pairs.
    ///
    /// Each ordered pair of two agents that are no background says its best predicate, with the score
    /// `confidence * p_subject(class) * p_object(class)`, in f32 and in this order. Pairs are ranked by score, descending,
    /// and pair index, ascending.
    Recall(usize),
    /// F1 of precision and recall over the triplets of all pairs whose best predicate beats none; nothing is ranked.
    /// 0 if nothing is predicted.
    Spice,
}

impl fmt::Display for Reward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recall(k) => write!(f, "recall@{k}"),
            Self::Spice => f.write_str("spice"),
        }
    }
}

impl FromStr for Reward {
    type Err = CriticError;

    fn from_str(text: &str) -> Result<Self, CriticError> {
        if text == "spice" {
            return Ok(Self::Spice);
        }
        let cut = text.strip_prefix("recall@").and_then(|k| k.parse().ok());
        match cut {
            Some(k) if k > 0 => Ok(Self::Recall(k)),
            _ => Err(CriticError::new(
                "reward",
                format!(
                    "expected recall@K with K at least 1 (recall@20, recall@50, recall@100) or spice, found '{text}'"
                ),
            )),
        }
    }
}

impl Reward {
    /// The reward of the graph in which agent `i` has the class `actions[i]`; 0 where the truth has no triplets.
    ///
    /// One graph evaluation: `O(E*P + E log E)` for `E = n*(n-1)` pairs. The oracle of the faster ways.
    ///
    /// # Errors
    /// Another number of actions than agents, or a class out of range.
    pub fn of(self, scene: &Scene<'_>, actions: &[usize]) -> Result<f64, CriticError> {
        scene.check_actions(actions)?;
        Ok(self.of_checked(scene, actions))
    }

    pub(super) fn of_checked(self, scene: &Scene<'_>, actions: &[usize]) -> f64 {
        let predictions = predictions(scene, actions);
        match self {
            Self::Recall(k) => recall(scene, actions, predictions, k),
            Self::Spice => {
                let graph: Vec<Prediction> = predictions.into_iter().filter(|p| p.beats_none).collect();
                let right = graph.iter().filter(|p| p.is_right(scene, actions)).count();
                f1(right, graph.len(), covered(scene, actions, &graph), scene.truth().triplets().len())
            }
        }
    }
}

/// What one pair of a labelled graph says.
#[derive(Clone, Copy, Debug)]
struct Prediction {
    score: f32,
    subject: usize,
    object: usize,
    predicate: usize,
    beats_none: bool,
}

/// The predictions of all pairs without background, in the order of the pairs.
fn predictions(scene: &Scene<'_>, actions: &[usize]) -> Vec<Prediction> {
    let mut all = Vec::with_capacity(scene.pairs());
    for pair in 0..scene.pairs() {
        let (subject, object) = scene.ends(pair);
        let (s, o) = (actions[subject], actions[object]);
        if s == 0 || o == 0 {
            continue;
        }
        let labelled = Labelled { pair, subject: s, object: o };
        // The absolute value takes the sign off a negative zero.
        let score = (labelled.confidence(scene) * scene.policy(subject)[s] * scene.policy(object)[o]).abs();
        let (predicate, beats_none) = (labelled.predicate(scene), labelled.beats_none(scene));
        all.push(Prediction { score, subject, object, predicate, beats_none });
    }
    all
}

fn recall(scene: &Scene<'_>, actions: &[usize], mut predictions: Vec<Prediction>, k: usize) -> f64 {
    // The sort is stable, so that pairs of equal score stay in the order of their index.
    predictions.sort_by(|a, b| b.score.total_cmp(&a.score));
    predictions.truncate(k);
    share(covered(scene, actions, &predictions), scene.truth().triplets().len())
}

/// How many true triplets some prediction is right about.
fn covered(scene: &Scene<'_>, actions: &[usize], predictions: &[Prediction]) -> usize {
    let found = |triplet: &&[usize; 3]| predictions.iter().any(|p| p.says(scene, actions, triplet));
    scene.truth().triplets().iter().filter(found).count()
}

impl Prediction {
    fn is_right(&self, scene: &Scene<'_>, actions: &[usize]) -> bool {
        scene.truth().triplets().iter().any(|triplet| self.says(scene, actions, triplet))
    }

    fn says(&self, scene: &Scene<'_>, actions: &[usize], &[subject, object, predicate]: &[usize; 3]) -> bool {
        let stands_for = |agent: usize, node: usize| {
            actions[agent] == scene.truth().labels()[node] && scene.truth().matches(agent).contains(&node)
        };
        self.predicate == predicate && stands_for(self.subject, subject) && stands_for(self.object, object)
    }
}

/// `part/whole`, 0 of nothing.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The harmonic mean of the shares of right predictions and of covered triplets; 0 if either is.
pub(super) fn f1(right: usize, predicted: usize, covered: usize, triplets: usize) -> f64 {
    let (precision, recall) = (share(right, predicted), share(covered, triplets));
    if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
}
