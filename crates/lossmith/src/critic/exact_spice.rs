//! Counterfactual SPICE of every agent and class, exact, from counts.
//!
//! Nothing is ranked, so that a change of agent `i` only takes the counts of its `2(n-1)` pairs back and adds the new ones.
//! A class that no true triplet asks of `i` finds nothing, so that only the number of its predictions matters, and not even
//! that where the rest of the graph is right about nothing.
//!
//! Cost: `O(E*P)` once for `E = n*(n-1)` pairs; per agent and class `O(n)` without a bias table, at most `O(n*P)` with one.

use ndarray::Array2;

use super::reward::f1;
use super::score::Labelled;
use super::truncated::Classes;
use super::{Counterfactuals, Scene};
use crate::simd::widest;

/// What a graph predicts and finds.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    predicted: usize,
    right: usize,
    covered: usize,
}

impl Counts {
    fn f1(self, triplets: usize) -> f64 {
        f1(self.right, self.predicted, self.covered, triplets)
    }
}

/// The counts of a graph, and how many predictions find each triplet: a bit would not survive taking one back.
struct Graph<'s> {
    scene: &'s Scene<'s>,
    counts: Counts,
    covers: Vec<usize>,
}

impl Graph<'_> {
    fn add(&mut self, says: &Said) {
        let mut right = false;
        self.scene.truth().hits(says.subject, says.predicate, says.object, |triplet| {
            right = true;
            self.counts.covered += usize::from(self.covers[triplet] == 0);
            self.covers[triplet] += 1;
        });
        self.counts.predicted += 1;
        self.counts.right += usize::from(right);
    }

    fn remove(&mut self, says: &Said) {
        let mut right = false;
        self.scene.truth().hits(says.subject, says.predicate, says.object, |triplet| {
            right = true;
            self.covers[triplet] -= 1;
            self.counts.covered -= usize::from(self.covers[triplet] == 0);
        });
        self.counts.predicted -= 1;
        self.counts.right -= usize::from(right);
    }
}

/// What a pair says that says more than none; subject and object are an agent and its class.
#[derive(Clone, Copy, Debug)]
struct Said {
    subject: (usize, usize),
    predicate: usize,
    object: (usize, usize),
}

pub(super) fn counterfactuals(scene: &Scene<'_>, actions: &[usize], classes: &Classes) -> Counterfactuals {
    let mut rewards = Array2::from_elem((scene.agents(), scene.classes()), f64::NAN);
    let triplets = scene.truth().triplets().len();
    let mut graph = Graph { scene, counts: Counts::default(), covers: vec![0; triplets] };
    let (mut own, mut changed) = (Vec::new(), Vec::new());
    for agent in 0..scene.agents() {
        said_by(scene, actions, agent, actions[agent], &mut own);
        // Each pair is added once: with its subject.
        own.iter().filter(|says| says.subject.0 == agent).for_each(|says| graph.add(says));
    }
    let reward = graph.counts.f1(triplets);
    let asks = |agent, class| classes.have(agent, class) && class != actions[agent];
    let mut evaluated = 0;
    let mut without = Vec::with_capacity(scene.agents());
    for agent in 0..scene.agents() {
        said_by(scene, actions, agent, actions[agent], &mut own);
        own.iter().for_each(|says| graph.remove(says));
        without.push(graph.counts);
        for class in (1..scene.classes()).filter(|&class| asks(agent, class) && scene.truth().is_useful(agent, class)) {
            evaluated += 1;
            said_by(scene, actions, agent, class, &mut changed);
            changed.iter().for_each(|says| graph.add(says));
            rewards[[agent, class]] = graph.counts.f1(triplets);
            changed.iter().for_each(|says| graph.remove(says));
        }
        own.iter().for_each(|says| graph.add(says));
    }
    // Class by class, so that the rows of the bias table that a class needs are at hand for all agents.
    for class in 0..scene.classes() {
        for (agent, &without) in without.iter().enumerate().filter(|&(agent, _)| classes.have(agent, class)) {
            if class == actions[agent] {
                rewards[[agent, class]] = reward;
            } else if class == 0 || (without.right == 0 && !scene.truth().is_useful(agent, class)) {
                rewards[[agent, class]] = without.f1(triplets);
            } else if !scene.truth().is_useful(agent, class) {
                evaluated += 1;
                let more = predicted(scene, actions, agent, class);
                rewards[[agent, class]] = Counts { predicted: without.predicted + more, ..without }.f1(triplets);
            }
        }
    }
    Counterfactuals { reward, rewards, evaluated }
}

/// What the pairs of `agent` say where it has this class: nothing if it is background.
fn said_by(scene: &Scene<'_>, actions: &[usize], agent: usize, class: usize, said: &mut Vec<Said>) {
    said.clear();
    for other in others(scene, actions, agent).filter(|_| class != 0) {
        let (own, theirs) = ((agent, class), (other, actions[other]));
        for (subject, object) in [(own, theirs), (theirs, own)] {
            let labelled = Labelled { pair: scene.pair(subject.0, object.0), subject: subject.1, object: object.1 };
            if labelled.beats_none(scene) {
                said.push(Said { subject, predicate: labelled.predicate(scene), object });
            }
        }
    }
}

/// How many pairs of `agent` say more than none where it has this class.
fn predicted(scene: &Scene<'_>, actions: &[usize], agent: usize, class: usize) -> usize {
    widest(
        #[inline(always)]
        || {
            let mut said = 0;
            for other in (0..scene.agents()).filter(|&other| other != agent && actions[other] != 0) {
                let theirs = actions[other];
                let there = Labelled { pair: scene.pair(agent, other), subject: class, object: theirs };
                let back = Labelled { pair: scene.pair(other, agent), subject: theirs, object: class };
                said += usize::from(there.beats_none_inlined(scene)) + usize::from(back.beats_none_inlined(scene));
            }
            said
        },
    )
}

fn others<'a>(scene: &Scene<'_>, actions: &'a [usize], agent: usize) -> impl Iterator<Item = usize> + use<'a> {
    (0..scene.agents()).filter(move |&other| other != agent && actions[other] != 0)
}
