//! Counterfactual recall of every agent and class, exact, for about the price of one or two graph evaluations.
//!
//! When agent `i` changes its class, only its own `2(n-1)` pairs change score or order. So every pair is scored once; then,
//! per agent, the ranking without `i` is read off one sorted list, and per class the pairs of `i` are merged into it:
//!
//! 1. A class whose best possible score `p_i(c) * max_j p_j` stays below the `K`-th of that ranking changes nothing
//!    (a confidence is at most 1). Probabilities sum to 1, so that few classes pass.
//! 2. A class that no true triplet asks of `i` can only push others out. It changes nothing unless enough of its pairs pass
//!    the last hit of the ranking to push that one out; scoring them ends as soon as too few are left.
//! 3. For what is left the pairs that could enter are scored, ranked and merged.
//!
//! All tests hold to the last bit: rounding is monotone, so a bound computed in f32 bounds the score computed in f32.
//!
//! Cost: `O(E*P)` for the scores of the `E = n*(n-1)` pairs, `O((K + n) log(K + n))` for the sorted list, `O(K + n + G)` per
//! agent for `G` triplets, `O(1)` per pruned class, and `O(n*P + n log n)` per surviving one.

use ndarray::Array2;

use super::reward::share;
use super::score::Labelled;
use super::truncated::Classes;
use super::{Counterfactuals, Scene};

/// The place of a pair in the ranking: lower is better. Score, descending, above pair index, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    fn new(score: f32, pair: usize) -> Self {
        Self(u64::from(descending(score)) << 32 | pair as u64)
    }

    fn pair(self) -> usize {
        self.0 as u32 as usize
    }

    /// Whether a pair of this score might come before: equal scores go by index, which the bound does not know.
    fn may_follow(self, score: f32) -> bool {
        u64::from(descending(score)) <= self.0 >> 32
    }
}

/// The bits of a score in reverse order: scores are not negative, so that their bits are in their order.
fn descending(score: f32) -> u32 {
    !score.abs().to_bits()
}

/// A pair of the ranking.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    key: Key,
    subject: usize,
    object: usize,
    /// Where its hits stand in [`Ranking::hits`].
    hits: (usize, usize),
}

/// The best pairs of the sampled graph, as many as are left for any agent once its own are taken out.
struct Ranking {
    pairs: Vec<Ranked>,
    hits: Vec<usize>,
}

/// The best `K` pairs without one agent.
#[derive(Default)]
struct Rest {
    keys: Vec<Key>,
    /// `found[r]`: how many triplets the first `r` pairs find.
    found: Vec<usize>,
    /// For each triplet the first place that finds it, past the end if none does.
    first: Vec<usize>,
    /// The last place that finds a triplet first.
    last_hit: Option<usize>,
}

pub(super) fn counterfactuals(scene: &Scene<'_>, actions: &[usize], k: usize, classes: &Classes) -> Counterfactuals {
    let mut rewards = Array2::from_elem((scene.agents(), scene.classes()), f64::NAN);
    let ranking = Ranking::new(scene, actions, k);
    let triplets = scene.truth().triplets().len();
    let mut rest = Rest::default();
    rest.fill(&ranking, None, k, triplets);
    let reward = share(rest.all_found(), triplets);
    let others = by_probability(scene, actions);
    let mut merge = Merge::new(scene, actions, k);
    let mut evaluated = 0;
    for agent in 0..scene.agents() {
        rest.fill(&ranking, Some(agent), k, triplets);
        let without = share(rest.all_found(), triplets);
        for class in classes.of(agent, scene.classes()) {
            rewards[[agent, class]] = if class == actions[agent] {
                reward
            } else if is_pruned(scene, &rest, &others, agent, class, k) {
                without
            } else {
                evaluated += 1;
                let found = merge.found_unless_unchanged(&rest, &others, agent, class);
                found.map_or(without, |found| share(found, triplets))
            };
        }
    }
    Counterfactuals { reward, rewards, evaluated }
}

/// The agents that are no background with the probability of their class, the most probable first.
fn by_probability(scene: &Scene<'_>, actions: &[usize]) -> Vec<(usize, f32)> {
    let there = (0..scene.agents()).filter(|&agent| actions[agent] != 0);
    let mut others: Vec<(usize, f32)> = there.map(|agent| (agent, scene.policy(agent)[actions[agent]])).collect();
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    others
}

impl Ranking {
    fn new(scene: &Scene<'_>, actions: &[usize], k: usize) -> Self {
        let mut scored: Vec<Key> = Vec::with_capacity(scene.pairs());
        for subject in (0..scene.agents()).filter(|&agent| actions[agent] != 0) {
            for object in (0..scene.agents()).filter(|&agent| agent != subject && actions[agent] != 0) {
                let pair = scene.pair(subject, object);
                let labelled = Labelled { pair, subject: actions[subject], object: actions[object] };
                let (p, q) = (scene.policy(subject)[actions[subject]], scene.policy(object)[actions[object]]);
                scored.push(Key::new(labelled.confidence(scene) * p * q, pair));
            }
        }
        // Taking an agent out removes at most 2(n-1) pairs.
        let kept = k.saturating_add(2 * (scene.agents() - 1));
        if kept < scored.len() {
            scored.select_nth_unstable(kept);
            scored.truncate(kept);
        }
        scored.sort_unstable();
        let mut ranking = Self { pairs: Vec::with_capacity(scored.len()), hits: Vec::new() };
        for key in scored {
            let (subject, object) = scene.ends(key.pair());
            let start = ranking.hits.len();
            let ends = ((subject, actions[subject]), (object, actions[object]));
            let labelled = Labelled { pair: key.pair(), subject: actions[subject], object: actions[object] };
            scene.truth().hits(ends.0, labelled.predicate(scene), ends.1, |triplet| ranking.hits.push(triplet));
            ranking.pairs.push(Ranked { key, subject, object, hits: (start, ranking.hits.len()) });
        }
        ranking
    }
}

impl Rest {
    /// The first `k` pairs that have nothing to do with `agent`.
    fn fill(&mut self, ranking: &Ranking, agent: Option<usize>, k: usize, triplets: usize) {
        self.keys.clear();
        self.found.clear();
        self.found.push(0);
        self.first.clear();
        self.first.resize(triplets, usize::MAX);
        self.last_hit = None;
        let others = ranking.pairs.iter().filter(|p| Some(p.subject) != agent && Some(p.object) != agent);
        for (place, pair) in others.take(k).enumerate() {
            let mut found = self.found[place];
            for &triplet in &ranking.hits[pair.hits.0..pair.hits.1] {
                if self.first[triplet] == usize::MAX {
                    self.first[triplet] = place;
                    self.last_hit = Some(place);
                    found += 1;
                }
            }
            self.keys.push(pair.key);
            self.found.push(found);
        }
    }

    fn all_found(&self) -> usize {
        self.found[self.keys.len()]
    }

    /// The pair that a new one must pass to be among the first `k`, if there are `k`.
    fn bar(&self, k: usize) -> Option<Key> {
        (self.keys.len() == k).then(|| self.keys[k - 1])
    }
}

/// Whether the graph without `agent` surely has the same reward as the one where it has this class.
fn is_pruned(scene: &Scene<'_>, rest: &Rest, others: &[(usize, f32)], agent: usize, class: usize, k: usize) -> bool {
    if class == 0 {
        return true;
    }
    let p = scene.policy(agent)[class];
    // Other agents whose pairs with this one might come before `key`; their products with p fall along the list.
    let could_pass = |key: Key| others.iter().take_while(move |(_, q)| key.may_follow(p * q)).filter(|o| o.0 != agent);
    if rest.bar(k).is_some_and(|bar| could_pass(bar).next().is_none()) {
        return true;
    }
    if scene.truth().is_useful(agent, class) {
        return false;
    }
    match rest.last_hit {
        None => true,
        // The last hit is pushed out once k - place pairs come before it; each other agent brings two.
        Some(place) => place + 2 * could_pass(rest.keys[place]).count() < k,
    }
}

/// Merges the pairs of an agent with a changed class into the ranking of the rest.
struct Merge<'s> {
    scene: &'s Scene<'s>,
    actions: &'s [usize],
    k: usize,
    entering: Vec<Key>,
    /// Triplets that the entering pairs have found already.
    seen: Vec<usize>,
}

impl<'s> Merge<'s> {
    fn new(scene: &'s Scene<'s>, actions: &'s [usize], k: usize) -> Self {
        Self { scene, actions, k, entering: Vec::new(), seen: Vec::new() }
    }

    /// How many triplets the graph finds where `agent` has this class, or nothing if surely as many as without it.
    fn found_unless_unchanged(
        &mut self,
        rest: &Rest,
        others: &[(usize, f32)],
        agent: usize,
        class: usize,
    ) -> Option<usize> {
        if self.scene.truth().is_useful(agent, class) {
            self.collect(rest.bar(self.k), others, agent, class, 0);
            let (stay, enter) = self.split(&rest.keys);
            return Some(rest.found[stay] + self.found_by_entering(rest, stay, enter, agent, class));
        }
        let place = rest.last_hit?;
        let needed = self.k.saturating_sub(place);
        if !self.collect(Some(rest.keys[place]), others, agent, class, needed) {
            return None;
        }
        self.collect(rest.bar(self.k), others, agent, class, 0);
        Some(rest.found[self.split(&rest.keys).0])
    }

    /// How many triplets the first `enter` of the entering pairs find that the first `stay` of the rest do not.
    fn found_by_entering(&mut self, rest: &Rest, stay: usize, enter: usize, agent: usize, class: usize) -> usize {
        self.seen.clear();
        for key in &self.entering[..enter] {
            let (subject, object) = self.scene.ends(key.pair());
            let class_of = |a: usize| if a == agent { class } else { self.actions[a] };
            let labelled = Labelled { pair: key.pair(), subject: class_of(subject), object: class_of(object) };
            let ends = ((subject, labelled.subject), (object, labelled.object));
            let seen = &mut self.seen;
            self.scene.truth().hits(ends.0, labelled.predicate(self.scene), ends.1, |triplet| {
                if rest.first[triplet] >= stay && !seen.contains(&triplet) {
                    seen.push(triplet);
                }
            });
        }
        self.seen.len()
    }

    /// Collects the pairs of `agent` that come before the bar, best first; gives up once they must stay below `needed`.
    fn collect(
        &mut self,
        bar: Option<Key>,
        others: &[(usize, f32)],
        agent: usize,
        class: usize,
        needed: usize,
    ) -> bool {
        self.entering.clear();
        let p = self.scene.policy(agent)[class];
        let passes = |q: f32| bar.is_none_or(|bar| bar.may_follow(p * q));
        let candidates = others.partition_point(|&(_, q)| passes(q));
        for (at, &(other, q)) in others[..candidates].iter().enumerate() {
            if self.entering.len() + 2 * (candidates - at) < needed {
                return false;
            }
            if other != agent {
                let theirs = self.actions[other];
                self.score(bar, Labelled { pair: self.scene.pair(agent, other), subject: class, object: theirs }, p, q);
                self.score(bar, Labelled { pair: self.scene.pair(other, agent), subject: theirs, object: class }, q, p);
            }
        }
        self.entering.sort_unstable();
        self.entering.len() >= needed
    }

    fn score(&mut self, bar: Option<Key>, labelled: Labelled, subject: f32, object: f32) {
        let key = Key::new(labelled.confidence(self.scene) * subject * object, labelled.pair);
        if bar.is_none_or(|bar| key < bar) {
            self.entering.push(key);
        }
    }

    /// How many of the rest and how many of the entering pairs are the first `k` of both.
    fn split(&self, keys: &[Key]) -> (usize, usize) {
        let (mut stay, mut enter) = (keys.len(), self.entering.len());
        while stay + enter > self.k {
            if enter == 0 || (stay > 0 && self.entering[enter - 1] < keys[stay - 1]) {
                stay -= 1;
            } else {
                enter -= 1;
            }
        }
        (stay, enter)
    }
}
