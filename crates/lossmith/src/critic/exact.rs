//! Counterfactual recall of every agent and class, exact, for the price of one or two graph evaluations if policies are peaked.
//!
//! When agent `i` changes its class, only its own `2(n-1)` pairs change score or order. So every pair is scored once; then,
//! per agent, the ranking without `i` is read off one sorted list, and per class the pairs of `i` are merged into it:
//!
//! 1. A class that no true triplet asks of `i` finds nothing; it can only push hits of the others out. The hit at place `h`
//!    goes once `K - h` pairs of `i` come before it, so that only pairs that may pass the last hit are looked at. A
//!    confidence is at most 1, so that those need `p_i(c) * p_j` of its score; probabilities sum to 1, so that few do. Scoring
//!    ends as soon as too few are left to push even the last hit out.
//! 2. A class that some true triplet asks of `i` (one or two per agent) has all pairs scored that may pass the `K`-th.
//!
//! All tests hold to the last bit: rounding is monotone, so a bound computed in f32 bounds the score computed in f32.
//!
//! Cost: `O(E*P)` for the scores of the `E = n*(n-1)` pairs, `O((K + n) log(K + n))` for the sorted list, `O(K + n + G)` per
//! agent for `G` triplets, `O(1)` per pruned class, and at most `O(n*P + n log n)` per surviving one.

use ndarray::Array2;
use rayon::prelude::*;

use super::reward::share;
use super::score::Labelled;
use super::truncated::Classes;
use super::{Counterfactuals, Scene};
use crate::simd::widest;

/// Scenes with fewer pairs are done before other threads have woken up.
const MANY_PAIRS: usize = 800;
/// How many classes a thread takes at a time.
const CLASSES_AT_ONCE: usize = 8;

/// The place of a pair in the ranking: lower is better. Score, descending, above pair index, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    /// Behind every pair.
    const LAST: Self = Self(u64::MAX);

    #[inline]
    fn new(score: f32, pair: usize) -> Self {
        Self(u64::from(descending(score)) << 32 | pair as u64)
    }

    fn pair(self) -> usize {
        self.0 as u32 as usize
    }

    /// Whether a pair of this score might come before: equal scores go by index, which the bound does not know.
    #[inline]
    fn may_follow(self, score: f32) -> bool {
        u64::from(descending(score)) <= self.0 >> 32
    }
}

/// The bits of a score in reverse order: scores are not negative, so that their bits are in their order.
#[inline]
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
struct Rest {
    keys: Vec<Key>,
    /// `found[r]`: how many triplets the first `r` pairs find.
    found: Vec<usize>,
    /// For each triplet the first place that finds it, past the end if none does.
    first: Vec<usize>,
    /// The places that find some triplet first, ascending.
    hits: Vec<usize>,
}

/// An agent that is no background, with its class and that class's probability.
#[derive(Clone, Copy, Debug)]
struct Other {
    agent: usize,
    class: usize,
    p: f32,
}

pub(super) fn counterfactuals(scene: &Scene<'_>, actions: &[usize], k: usize, classes: &Classes) -> Counterfactuals {
    let agents = scene.agents();
    let others = by_probability(scene, actions);
    let ranking = Ranking::new(scene, actions, &others, k);
    let triplets = scene.truth().triplets().len();
    let reward = share(Rest::of(&ranking, None, k, triplets).all_found(), triplets);
    let rests: Vec<Rest> = (0..agents).map(|agent| Rest::of(&ranking, Some(agent), k, triplets)).collect();
    // Class by class, so that the rows of the bias table that a class needs are at hand for all agents.
    let judge = |(part, rewards): (usize, &mut [f64])| {
        let mut merge =
            Merge { scene, actions, others: &others, k, entering: Vec::new(), seen: Vec::new(), evaluated: 0 };
        for (at, rewards) in rewards.chunks_exact_mut(agents).enumerate() {
            let class = part * CLASSES_AT_ONCE + at;
            for (agent, rest) in rests.iter().enumerate().filter(|&(agent, _)| classes.have(agent, class)) {
                let changed = class != actions[agent];
                rewards[agent] = if changed { share(merge.found(rest, agent, class), triplets) } else { reward };
            }
        }
        merge.evaluated
    };
    let mut by_class = Array2::from_elem((scene.classes(), agents), f64::NAN);
    let all = by_class.as_slice_mut().expect("a fresh array is contiguous");
    let evaluated = if scene.pairs() < MANY_PAIRS {
        all.chunks_mut(CLASSES_AT_ONCE * agents).enumerate().map(judge).sum()
    } else {
        all.par_chunks_mut(CLASSES_AT_ONCE * agents).enumerate().map(judge).sum()
    };
    Counterfactuals { reward, rewards: by_class.t().as_standard_layout().into_owned(), evaluated }
}

/// The agents that are no background, the surest of its class first.
fn by_probability(scene: &Scene<'_>, actions: &[usize]) -> Vec<Other> {
    let other = |agent: usize| Other { agent, class: actions[agent], p: scene.policy(agent)[actions[agent]] };
    let mut others: Vec<Other> = (0..scene.agents()).filter(|&agent| actions[agent] != 0).map(other).collect();
    others.sort_by(|a, b| b.p.total_cmp(&a.p));
    others
}

impl Ranking {
    fn new(scene: &Scene<'_>, actions: &[usize], others: &[Other], k: usize) -> Self {
        let mut scored: Vec<Key> = Vec::with_capacity(scene.pairs());
        widest(
            #[inline(always)]
            || {
                for s in others {
                    for o in others.iter().filter(|o| o.agent != s.agent) {
                        let pair = scene.pair(s.agent, o.agent);
                        let labelled = Labelled { pair, subject: s.class, object: o.class };
                        scored.push(Key::new(labelled.confidence_inlined(scene) * s.p * o.p, pair));
                    }
                }
            },
        );
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
    fn of(ranking: &Ranking, agent: Option<usize>, k: usize, triplets: usize) -> Self {
        let mut rest = Self { keys: Vec::new(), found: vec![0], first: vec![usize::MAX; triplets], hits: Vec::new() };
        let others = ranking.pairs.iter().filter(|p| Some(p.subject) != agent && Some(p.object) != agent);
        for (place, pair) in others.take(k).enumerate() {
            let mut found = rest.found[place];
            for &triplet in &ranking.hits[pair.hits.0..pair.hits.1] {
                if rest.first[triplet] == usize::MAX {
                    rest.first[triplet] = place;
                    found += 1;
                }
            }
            if found > rest.found[place] {
                rest.hits.push(place);
            }
            rest.keys.push(pair.key);
            rest.found.push(found);
        }
        rest
    }

    fn all_found(&self) -> usize {
        self.found[self.keys.len()]
    }

    /// The pair that a new one must pass to be among the first `k`, if there are `k`.
    fn bar(&self, k: usize) -> Option<Key> {
        (self.keys.len() == k).then(|| self.keys[k - 1])
    }
}

/// Merges the pairs of an agent with a changed class into the ranking of the rest.
struct Merge<'s> {
    scene: &'s Scene<'s>,
    actions: &'s [usize],
    others: &'s [Other],
    k: usize,
    entering: Vec<Key>,
    /// Triplets that the entering pairs have found already.
    seen: Vec<usize>,
    /// How many classes were not pruned.
    evaluated: usize,
}

/// How many other agents are scored between two looks at whether enough are left.
const AT_ONCE: usize = 8;

impl Merge<'_> {
    /// How many triplets the graph finds where `agent` has this class.
    fn found(&mut self, rest: &Rest, agent: usize, class: usize) -> usize {
        if class == 0 {
            return rest.all_found();
        }
        if self.scene.truth().is_useful(agent, class) {
            return self.found_with_own(rest, agent, class);
        }
        let Some(&last) = rest.hits.last() else { return 0 };
        // Each other agent brings two pairs; the agent itself is counted among them here, which prunes a little less.
        let needed = self.k.saturating_sub(last);
        let candidates = self.candidates(Some(rest.keys[last]), agent, class);
        if 2 * candidates < needed || !self.collect(Some(rest.keys[last]), candidates, agent, class, needed) {
            return rest.all_found();
        }
        // From the last hit up: each is pushed out while enough pairs come before it.
        let stays =
            |&&place: &&usize| place + self.entering.partition_point(|&entering| entering < rest.keys[place]) < self.k;
        rest.hits.iter().rev().find(stays).map_or(0, |&place| rest.found[place + 1])
    }

    /// The same for a class with which the agent's own pairs may find something.
    fn found_with_own(&mut self, rest: &Rest, agent: usize, class: usize) -> usize {
        let bar = rest.bar(self.k);
        self.collect(bar, self.candidates(bar, agent, class), agent, class, 0);
        let (stay, enter) = self.split(&rest.keys);
        rest.found[stay] + self.found_by_entering(rest, stay, enter, agent, class)
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

    /// The first so many of the others are all whose pairs with this agent might come before the bar.
    fn candidates(&self, bar: Option<Key>, agent: usize, class: usize) -> usize {
        let p = self.scene.policy(agent)[class];
        let may_pass = |other: &Other| bar.is_none_or(|bar| bar.may_follow(p * other.p));
        // Most classes have none.
        if self.others.first().is_some_and(may_pass) { self.others.partition_point(may_pass) } else { 0 }
    }

    /// Collects the pairs of `agent` that come before the bar, best first; gives up once they must stay below `needed`.
    fn collect(&mut self, bar: Option<Key>, candidates: usize, agent: usize, class: usize, needed: usize) -> bool {
        self.evaluated += usize::from(candidates > 0);
        self.entering.clear();
        let mut left = candidates;
        for others in self.others[..candidates].chunks(AT_ONCE) {
            if self.entering.len() + 2 * left < needed {
                return false;
            }
            left -= others.len();
            self.score(bar, others, agent, class);
        }
        self.entering.sort_unstable();
        self.entering.len() >= needed
    }

    /// Adds the pairs with these others that come before the bar.
    fn score(&mut self, bar: Option<Key>, others: &[Other], agent: usize, class: usize) {
        let Self { scene, entering, .. } = self;
        let p = scene.policy(agent)[class];
        let bar = bar.unwrap_or(Key::LAST);
        widest(
            #[inline(always)]
            || {
                for other in others.iter().filter(|other| other.agent != agent) {
                    let there = Labelled { pair: scene.pair(agent, other.agent), subject: class, object: other.class };
                    let back = Labelled { pair: scene.pair(other.agent, agent), subject: other.class, object: class };
                    let there = Key::new(there.confidence_inlined(scene) * p * other.p, there.pair);
                    let back = Key::new(back.confidence_inlined(scene) * other.p * p, back.pair);
                    entering.extend([there, back].into_iter().filter(|&key| key < bar));
                }
            },
        );
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
