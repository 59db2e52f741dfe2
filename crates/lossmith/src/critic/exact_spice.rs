//! Counterfactual SPICE of every agent and class, exact, from counts.
//!
//! Nothing is ranked, so that a change of agent `i` only takes the counts of its `2(n-1)` pairs back and adds the new ones.
//! A class that no true triplet asks of `i` finds nothing, so that only the number of its predictions matters, and not even
//! that where the rest of the graph is right about nothing.
//!
//! Cost: `O(E*P)` once for `E = n*(n-1)` pairs; per agent and class `O(n)` without a bias table, at most `O(n*P)` with one.

use ndarray::Array2;

use super::reward::f1;
use super::score::{Best, Scorer};
use super::truncated::Classes;
use super::{Counterfactuals, Scene};

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
    fn add(&mut self, subject: (usize, usize), best: Best, object: (usize, usize)) {
        if !best.beats_none {
            return;
        }
        let mut right = false;
        self.scene.truth().hits(subject, best.predicate, object, |triplet| {
            right = true;
            self.counts.covered += usize::from(self.covers[triplet] == 0);
            self.covers[triplet] += 1;
        });
        self.counts.predicted += 1;
        self.counts.right += usize::from(right);
    }

    fn remove(&mut self, subject: (usize, usize), best: Best, object: (usize, usize)) {
        if !best.beats_none {
            return;
        }
        let mut right = false;
        self.scene.truth().hits(subject, best.predicate, object, |triplet| {
            right = true;
            self.covers[triplet] -= 1;
            self.counts.covered -= usize::from(self.covers[triplet] == 0);
        });
        self.counts.predicted -= 1;
        self.counts.right -= usize::from(right);
    }
}

/// The predictions of the pairs of one agent: the pair's two ends with their classes, and what it says.
type Incident = Vec<((usize, usize), Best, (usize, usize))>;

pub(super) fn counterfactuals(scene: &Scene<'_>, actions: &[usize], classes: &Classes) -> Counterfactuals {
    let mut rewards = Array2::from_elem((scene.agents(), scene.classes()), f64::NAN);
    let mut scorer = Scorer::new(scene);
    let triplets = scene.truth().triplets().len();
    let mut graph = Graph { scene, counts: Counts::default(), covers: vec![0; triplets] };
    let mut incident = Incident::new();
    for agent in 0..scene.agents() {
        pairs_of(scene, &mut scorer, actions, agent, actions[agent], &mut incident);
        // Each pair is added once: with its subject.
        incident.iter().filter(|(subject, ..)| subject.0 == agent).for_each(|&(s, best, o)| graph.add(s, best, o));
    }
    let reward = graph.counts.f1(triplets);
    let mut evaluated = 0;
    for agent in 0..scene.agents() {
        pairs_of(scene, &mut scorer, actions, agent, actions[agent], &mut incident);
        let own = incident.clone();
        own.iter().for_each(|&(s, best, o)| graph.remove(s, best, o));
        let without = graph.counts;
        for class in classes.of(agent, scene.classes()) {
            let useful = scene.truth().is_useful(agent, class);
            rewards[[agent, class]] = if class == actions[agent] {
                reward
            } else if class == 0 || (!useful && without.right == 0) {
                without.f1(triplets)
            } else if useful {
                evaluated += 1;
                pairs_of(scene, &mut scorer, actions, agent, class, &mut incident);
                incident.iter().for_each(|&(s, best, o)| graph.add(s, best, o));
                let changed = graph.counts.f1(triplets);
                incident.iter().for_each(|&(s, best, o)| graph.remove(s, best, o));
                changed
            } else {
                evaluated += 1;
                let more = predicted(scene, &scorer, actions, agent, class);
                Counts { predicted: without.predicted + more, ..without }.f1(triplets)
            };
        }
        own.iter().for_each(|&(s, best, o)| graph.add(s, best, o));
    }
    Counterfactuals { reward, rewards, evaluated }
}

/// What the pairs of `agent` say where it has this class: none if it is background.
fn pairs_of(
    scene: &Scene<'_>,
    scorer: &mut Scorer<'_>,
    actions: &[usize],
    agent: usize,
    class: usize,
    incident: &mut Incident,
) {
    incident.clear();
    for other in others(scene, actions, agent).filter(|_| class != 0) {
        let (own, theirs) = ((agent, class), (other, actions[other]));
        incident.push((own, scorer.best(scene.pair(agent, other), class, theirs.1), theirs));
        incident.push((theirs, scorer.best(scene.pair(other, agent), theirs.1, class), own));
    }
}

/// How many pairs of `agent` predict anything where it has this class.
fn predicted(scene: &Scene<'_>, scorer: &Scorer<'_>, actions: &[usize], agent: usize, class: usize) -> usize {
    let speaks = |pair, s, o| usize::from(scorer.beats_none(pair, s, o));
    let both = |other: usize| {
        let theirs = actions[other];
        speaks(scene.pair(agent, other), class, theirs) + speaks(scene.pair(other, agent), theirs, class)
    };
    others(scene, actions, agent).map(both).sum()
}

fn others<'a>(scene: &Scene<'_>, actions: &'a [usize], agent: usize) -> impl Iterator<Item = usize> + use<'a> {
    (0..scene.agents()).filter(move |&other| other != agent && actions[other] != 0)
}
