//! `hubs`: scene graphs in which errors at hubs are dear and some labels cannot be read from the node, with known ceilings.
//!
//! A scene is made of blocks, whose nodes stand near each other, and of fillers. Each node shows a code, as a vector with
//! noise, and a box; where in its block it stands says nothing. Two kinds of blocks come in pairs:
//!
//! - *Coherence*: a latent `z` is 1, 2 or 3 with probability 0.45, 0.275, 0.275. A hub (code H) is an A if `z = 1`, else a B.
//!   Its 3 to 5 leaves (code L) are all a, b or c by `z`. Each leaf relates to the hub.
//! - *Hub weight*: one hub and two leaves share the code U; the hub is a Y with 4 to 6 spokes that relate to it, each leaf is an
//!   X that relates to an anchor of its own. Two thirds of the U are X, but Y carries most relations.
//!
//! No model can know `z` or tell the U apart. So the labels that are best depend on the objective alone, and what they reach is
//! known in closed form ([`Settings::ceilings`]). Following section 6.2 of the notes on counterfactual critics.
//!
//! On request there are groups too, whose labels need *communication*: seven leaves stand on a circle around a centre, all
//! are u or all are v, and each shows a cue that is wrong in three cases of ten. Alone a leaf knows its label as well as its
//! cue does; the majority of its group's cues knows better. Only the distance of leaf and centre says who belongs together
//! (another centre is never at that distance), so that cues have to pass through the centre.

use std::path::Path;

use lossmith::graph::{Corners, Relation, SceneGraph, Vocabulary};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::check_count;
use crate::node_graphs::{About, NodeGraph, NodeGraphs};
use crate::{DataError, Result};

/// The number of training scenes unless told otherwise.
pub const TRAIN: usize = 2_000;
/// The number of test scenes unless told otherwise.
pub const TEST: usize = 1_000;
/// The length of a node's vector.
pub const WIDTH: usize = 16;

/// The classes; the last four are fillers.
const OBJECTS: [&str; 14] = [
    "background",
    "A",
    "B",
    "a",
    "b",
    "c",
    "X",
    "Y",
    "spoke",
    "anchor",
    "filler 1",
    "filler 2",
    "filler 3",
    "filler 4",
];
const PREDICATES: [&str; 5] = ["of A", "b of B", "c of B", "spoke of", "tied to"];
/// What scenes with groups have besides.
const GROUP_OBJECTS: [&str; 3] = ["centre", "u", "v"];
const GROUP_PREDICATES: [&str; 2] = ["u of", "v of"];

const A: u32 = 1;
const B: u32 = 2;
const LEAF_A: u32 = 3;
const LEAF_B: u32 = 4;
const LEAF_C: u32 = 5;
const X: u32 = 6;
const Y: u32 = 7;
const SPOKE: u32 = 8;
const ANCHOR: u32 = 9;
const FILLER: u32 = 10;
const CENTRE: u32 = 14;
const LEAF_U: u32 = 15;

/// The codes that nodes show: H, L, U, spoke, anchor, then the four fillers.
const CODE_H: usize = 0;
const CODE_L: usize = 1;
const CODE_U: usize = 2;
const CODE_SPOKE: usize = 3;
const CODE_ANCHOR: usize = 4;
const CODE_FILLER: usize = 5;
const CODES: usize = 9;
/// The codes of groups follow those of all scenes: centre, cue of u, cue of v.
const CODE_CENTRE: usize = 9;
const CODE_CUE: usize = 10;
const ALL_CODES: usize = 12;

/// How probable each latent is.
const LATENT: [f64; 3] = [0.45, 0.275, 0.275];
/// The least number of leaves of a coherence hub, of spokes of the other; the most is two more.
const LEAST_LEAVES: usize = 3;
const LEAST_SPOKES: usize = 4;
const FILLERS: usize = 3;
/// The leaves of a group; odd, so that there is a majority.
const GROUP_LEAVES: usize = 7;
/// How often a leaf of a group shows the wrong cue.
const WRONG_CUE: f64 = 0.3;

/// How scenes are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many pairs of blocks a scene has: 1 makes about 18 nodes, 3 about 48.
    pub blocks: usize,
    /// The standard deviation of the noise on the codes, whose numbers are -1 or 1.
    pub noise: f64,
    /// How many groups a scene has, whose labels need communication; 8 nodes each.
    #[serde(default)]
    pub groups: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { blocks: 1, noise: 0.3, groups: 0 }
    }
}

/// The recall that the best labels reach under each objective, as long as the cut K is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// Cross-entropy: the most probable class of each node, (B, a, X).
    pub cross_entropy: f64,
    /// Cross-entropy weighted by the number of relations of each node: (B, a, Y).
    pub degree: f64,
    /// The reward of the graph: (A, a, Y).
    pub graph: f64,
    /// Cross-entropy where every node decides alone: less than the first only in scenes with groups.
    pub alone: f64,
}

impl Settings {
    /// The ceilings, from the distribution of the numbers of leaves and spokes.
    pub fn ceilings(&self) -> Ceilings {
        let mut ceilings = Ceilings { cross_entropy: 0.0, degree: 0.0, graph: 0.0, alone: 0.0 };
        let grouped = (self.groups * GROUP_LEAVES) as f64;
        let majority = majority_is_right();
        let extra = sum_of_sizes(self.blocks);
        for (leaves, p) in extra.iter().enumerate() {
            for (spokes, q) in extra.iter().enumerate() {
                let leaves = (leaves + LEAST_LEAVES * self.blocks) as f64;
                let spokes = (spokes + LEAST_SPOKES * self.blocks) as f64;
                let tied = 2.0 * self.blocks as f64;
                let share = p * q / (leaves + spokes + tied + grouped);
                ceilings.cross_entropy += share * (tied + majority * grouped);
                ceilings.degree += share * (spokes + majority * grouped);
                ceilings.graph += share * (LATENT[0] * leaves + spokes + majority * grouped);
                ceilings.alone += share * (tied + (1.0 - WRONG_CUE) * grouped);
            }
        }
        ceilings
    }

    fn check(&self) -> Result<()> {
        for (name, count) in [("blocks", self.blocks), ("groups", self.groups)] {
            if count > 20 {
                return Err(DataError::Argument(format!("{name}: expected at most 20, found {count}")));
            }
        }
        if self.blocks + self.groups == 0 {
            return Err(DataError::Argument(
                "blocks: expected 1 or more where there are no groups, found 0".to_owned(),
            ));
        }
        if !(0.0..=10.0).contains(&self.noise) {
            return Err(DataError::Argument(format!("noise: expected 0 to 10, found {}", self.noise)));
        }
        Ok(())
    }
}

/// The probability that most cues of a group are right.
fn majority_is_right() -> f64 {
    let ways = |right: usize| (0..right).fold(1.0, |ways, i| ways * (GROUP_LEAVES - i) as f64 / (i + 1) as f64);
    let exactly = |right: usize| {
        let wrong = (GROUP_LEAVES - right) as i32;
        ways(right) * (1.0 - WRONG_CUE).powi(right as i32) * WRONG_CUE.powi(wrong)
    };
    (GROUP_LEAVES / 2 + 1..=GROUP_LEAVES).map(exactly).sum()
}

/// The distribution of the sum of `blocks` sizes, each 0, 1 or 2 above the least.
fn sum_of_sizes(blocks: usize) -> Vec<f64> {
    let mut sums = vec![1.0];
    for _ in 0..blocks {
        let mut next = vec![0.0; sums.len() + 2];
        for (sum, p) in sums.iter().enumerate() {
            (0..3).for_each(|more| next[sum + more] += p / 3.0);
        }
        sums = next;
    }
    sums
}

/// Makes scenes to train and to test on.
///
/// # Errors
/// Settings out of range.
pub fn make(settings: Settings, train: usize, test: usize, seed: u64) -> Result<NodeGraphs> {
    settings.check()?;
    // About 18 nodes with their vectors, boxes and relations for each pair of blocks, 8 for each group.
    let nodes = 18 * settings.blocks + 8 * settings.groups;
    check_count("hubs", train, test, nodes * (WIDTH * size_of::<f32>() + 128))?;
    let names = |all: &[&str], of_groups: &[&str]| {
        let of_groups = if settings.groups > 0 { of_groups } else { &[] };
        all.iter().chain(of_groups).map(|&n| n.to_owned()).collect()
    };
    let vocabulary =
        Vocabulary { objects: names(&OBJECTS, &GROUP_OBJECTS), predicates: names(&PREDICATES, &GROUP_PREDICATES) };
    let codes = prototypes(seed);
    let scenes = |part: u64, count: usize| -> Vec<NodeGraph> {
        (0..count as u64).into_par_iter().map(|index| scene(settings, &codes, seed, part, index)).collect()
    };
    Ok(NodeGraphs { about: About { vocabulary, hubs: Some(settings) }, train: scenes(1, train), test: scenes(2, test) })
}

/// Makes scenes and writes them as a new folder.
///
/// # Errors
/// Settings out of range; the folder is there already, or the system refuses.
pub fn write(settings: Settings, folder: &Path, train: usize, test: usize, seed: u64) -> Result<()> {
    make(settings, train, test, seed)?.write(folder)
}

type Codes = [[f32; WIDTH]; ALL_CODES];

/// One vector of -1 and 1 for each code, every two of them different in many places.
fn prototypes(seed: u64) -> Codes {
    let mut rng = stream(seed, 0, 0);
    let apart = |codes: &[[f32; WIDTH]]| {
        let differences = |a: usize, b: usize| codes[a].iter().zip(&codes[b]).filter(|(x, y)| x != y).count();
        (0..codes.len()).all(|a| (0..a).all(|b| differences(a, b) >= WIDTH / 4))
    };
    let mut codes = [[0.0; WIDTH]; ALL_CODES];
    // Those of groups come after the others are fixed, so that scenes without groups do not depend on them.
    for kept in [0..CODES, CODES..ALL_CODES] {
        let end = kept.end;
        while codes[end - 1][0] == 0.0 || !apart(&codes[..end]) {
            codes[kept.clone()].fill_with(|| std::array::from_fn(|_| if rng.random() { 1.0 } else { -1.0 }));
        }
    }
    codes
}

/// A random stream of its own for each scene, so that any number of threads makes the same scenes.
fn stream(seed: u64, part: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(part << 32 | index);
    rng
}

/// A node before it is placed among the others: its label, its code, the middle of its box.
#[derive(Clone, Copy, Debug)]
struct Node {
    label: u32,
    code: usize,
    middle: [f64; 2],
    /// The half side of its box, if that is not left to chance.
    half: Option<f64>,
}

fn scene(settings: Settings, codes: &Codes, seed: u64, part: u64, index: u64) -> NodeGraph {
    let mut rng = stream(seed, part, index);
    let mut draft = Draft { nodes: Vec::new(), relations: Vec::new(), free: places(settings.blocks) };
    draft.free.shuffle(&mut rng);
    for _ in 0..settings.blocks {
        draft.coherence(&mut rng);
        draft.hub_weight(&mut rng);
    }
    draft.groups(&mut rng, settings.groups);
    let span = (side(settings.blocks) as f64 * STEP).max(AREA);
    for _ in 0..FILLERS {
        let kind = rng.random_range(0..4);
        let middle = [rng.random_range(0.0..span), rng.random_range(0.0..span)];
        draft.nodes.push(Node { label: FILLER + kind, code: CODE_FILLER + kind as usize, middle, half: None });
    }
    draft.finish(&mut rng, codes, settings.noise)
}

/// How far apart the middles of blocks stand, in pixels.
const STEP: f64 = 180.0;
/// How far the nodes of a block stand from its middle, at most.
const SPREAD: f64 = 60.0;

/// How far a leaf stands from the centre of its group.
const CIRCLE: f64 = 100.0;
/// How near to that distance no other centre comes.
const CLEAR: f64 = 35.0;
/// The side of the square in which centres stand, below the blocks.
const AREA: f64 = 160.0;
/// The half side of all boxes of groups: distances are seen in units of size.
const GROUP_HALF: f64 = 15.0;

/// How many blocks stand side by side.
fn side(blocks: usize) -> usize {
    (0..).find(|c| c * c >= 2 * blocks).unwrap_or(0)
}

/// The middles of blocks: a grid, so that blocks never touch.
fn places(blocks: usize) -> Vec<[f64; 2]> {
    let columns = side(blocks);
    (0..columns * columns).map(|i| [(i % columns) as f64 * STEP + 90.0, (i / columns) as f64 * STEP + 90.0]).collect()
}

struct Draft {
    nodes: Vec<Node>,
    relations: Vec<Relation>,
    free: Vec<[f64; 2]>,
}

impl Draft {
    fn node(&mut self, rng: &mut ChaCha8Rng, place: [f64; 2], label: u32, code: usize) -> u32 {
        let middle = place.map(|m| m + rng.random_range(-SPREAD..SPREAD));
        self.nodes.push(Node { label, code, middle, half: None });
        self.nodes.len() as u32 - 1
    }

    fn coherence(&mut self, rng: &mut ChaCha8Rng) {
        let place = self.free.pop().unwrap_or_default();
        let draw: f64 = rng.random();
        let latent = if draw < LATENT[0] { 0 } else { 1 + usize::from(draw >= LATENT[0] + LATENT[1]) };
        let hub = self.node(rng, place, if latent == 0 { A } else { B }, CODE_H);
        for _ in 0..LEAST_LEAVES + rng.random_range(0..3) {
            let leaf = self.node(rng, place, [LEAF_A, LEAF_B, LEAF_C][latent], CODE_L);
            self.relations.push(Relation { subject: leaf, object: hub, predicate: latent as u32 + 1 });
        }
    }

    fn hub_weight(&mut self, rng: &mut ChaCha8Rng) {
        let place = self.free.pop().unwrap_or_default();
        let hub = self.node(rng, place, Y, CODE_U);
        for _ in 0..LEAST_SPOKES + rng.random_range(0..3) {
            let spoke = self.node(rng, place, SPOKE, CODE_SPOKE);
            self.relations.push(Relation { subject: spoke, object: hub, predicate: 4 });
        }
        for _ in 0..2 {
            let (leaf, anchor) = (self.node(rng, place, X, CODE_U), self.node(rng, place, ANCHOR, CODE_ANCHOR));
            self.relations.push(Relation { subject: leaf, object: anchor, predicate: 5 });
        }
    }

    /// Groups on top of each other: only the distance of leaf and centre tells them apart.
    fn groups(&mut self, rng: &mut ChaCha8Rng, groups: usize) {
        let below = self.nodes.iter().map(|n| n.middle[1]).fold(0.0, f64::max) + 2.0 * CIRCLE;
        let centres: Vec<[f64; 2]> =
            (0..groups).map(|_| [rng.random_range(0.0..AREA), below + rng.random_range(0.0..AREA)]).collect();
        let fixed = |label, code, middle| Node { label, code, middle, half: Some(GROUP_HALF) };
        for &centre in &centres {
            let (hub, latent) = (self.nodes.len() as u32, u32::from(rng.random::<bool>()));
            self.nodes.push(fixed(CENTRE, CODE_CENTRE, centre));
            for _ in 0..GROUP_LEAVES {
                let middle = self.leaf_place(rng, centre, &centres);
                let cue = if rng.random_bool(WRONG_CUE) { 1 - latent } else { latent };
                let leaf = self.nodes.len() as u32;
                self.nodes.push(fixed(LEAF_U + latent, CODE_CUE + cue as usize, middle));
                self.relations.push(Relation { subject: leaf, object: hub, predicate: 6 + latent });
            }
        }
    }

    /// A place on the circle around a centre that is at no such distance from any other centre and clear of all nodes, which would
    /// else pass for each other; the last of many tries if there is none.
    fn leaf_place(&self, rng: &mut ChaCha8Rng, centre: [f64; 2], centres: &[[f64; 2]]) -> [f64; 2] {
        let mut place = centre;
        for _ in 0..200 {
            let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
            place = [centre[0] + CIRCLE * cos, centre[1] + CIRCLE * sin];
            let distance = |c: [f64; 2]| (place[0] - c[0]).hypot(place[1] - c[1]);
            let elsewhere = centres.iter().filter(|&&c| c != centre);
            if elsewhere.map(|&c| (distance(c) - CIRCLE).abs()).all(|off| off >= CLEAR)
                && self.nodes.iter().all(|node| distance(node.middle) >= GROUP_HALF)
            {
                break;
            }
        }
        place
    }

    /// Shuffles the nodes, so that their order says nothing, and gives them boxes and vectors.
    fn finish(self, rng: &mut ChaCha8Rng, codes: &Codes, noise: f64) -> NodeGraph {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.shuffle(rng);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new as u32);
        let nodes: Vec<Node> = order.iter().map(|&old| self.nodes[old]).collect();
        let boxes = nodes.iter().map(|n| square(rng, n)).collect();
        let moved =
            |r: &Relation| Relation { subject: place[r.subject as usize], object: place[r.object as usize], ..*r };
        let mut relations: Vec<Relation> = self.relations.iter().map(moved).collect();
        relations.sort_unstable();
        let mut vector = |code: usize| -> Vec<f32> {
            let shaken = |&x: &f32| {
                let z: f64 = StandardNormal.sample(rng);
                x + (noise * z) as f32
            };
            codes[code].iter().map(shaken).collect()
        };
        let features = nodes.iter().map(|n| vector(n.code)).collect();
        NodeGraph { graph: SceneGraph { boxes, labels: nodes.iter().map(|n| n.label).collect(), relations }, features }
    }
}

/// A square around the middle of a node, in whole pixels: of 20 to 40 unless its size is given.
fn square(rng: &mut ChaCha8Rng, node: &Node) -> Corners {
    let half = node.half.unwrap_or_else(|| rng.random_range(10.0..20.0f64));
    let [x, y] = node.middle;
    [x - half, y - half, x + half, y + half].map(f64::round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_the_same_for_any_number_of_threads_and_of_scenes() {
        let settings = Settings { blocks: 2, noise: 0.5, groups: 1 };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let many = make(settings, 40, 10, 7).unwrap();
        assert_eq!(one.install(|| make(settings, 40, 10, 7)).unwrap(), many);
        assert_eq!(make(settings, 5, 10, 7).unwrap().train, many.train[..5]);
        assert_ne!(make(settings, 5, 10, 8).unwrap().train, many.train[..5]);
    }

    /// The labels that each objective asks for, by what a node shows, reach the ceilings: counted on made scenes.
    #[test]
    fn ceilings_are_what_the_best_labels_reach() {
        for blocks in [1, 3] {
            let settings = Settings { blocks, noise: 0.0, groups: 0 };
            let data = make(settings, 0, 3_000, 5).unwrap();
            let reached = |[hub, leaf, shared]: [u32; 3]| {
                let sum: f64 = data.test.iter().map(|s| recall_of(&s.graph, hub, leaf, shared)).sum();
                sum / data.test.len() as f64
            };
            let ceilings = settings.ceilings();
            for (labels, ceiling) in [
                ([B, LEAF_A, X], ceilings.cross_entropy),
                ([B, LEAF_A, Y], ceilings.degree),
                ([A, LEAF_A, Y], ceilings.graph),
            ] {
                assert!((reached(labels) - ceiling).abs() < 0.01, "{labels:?}: {} {ceiling}", reached(labels));
            }
        }
        let one = Settings::default().ceilings();
        assert!((one.cross_entropy - 0.18).abs() < 0.01 && (one.degree - 0.45).abs() < 0.01, "{one:?}");
        assert!((one.graph - 0.62).abs() < 0.01, "{one:?}");
    }

    /// The share of relations between nodes of which all ambiguous ones have the label that is claimed for them.
    fn recall_of(graph: &SceneGraph, hub: u32, leaf: u32, shared: u32) -> f64 {
        let right = |label: u32| match label {
            A | B => label == hub,
            LEAF_A | LEAF_B | LEAF_C => label == leaf,
            X | Y => label == shared,
            _ => true,
        };
        let found = |r: &&Relation| right(graph.labels[r.subject as usize]) && right(graph.labels[r.object as usize]);
        graph.relations.iter().filter(found).count() as f64 / graph.relations.len() as f64
    }

    /// What a node shows says nothing about the latent, nor which U is the hub.
    #[test]
    fn ambiguous_nodes_look_alike() {
        let data = make(Settings { blocks: 1, noise: 0.0, groups: 0 }, 2_000, 0, 9).unwrap();
        let mut shown = std::collections::BTreeMap::<u32, std::collections::BTreeSet<String>>::new();
        let mut middles = [[0.0f64; 3]; 2];
        for scene in &data.train {
            for ((label, vector), b) in scene.graph.labels.iter().zip(&scene.features).zip(&scene.graph.boxes) {
                shown.entry(*label).or_default().insert(format!("{vector:?}"));
                if [X, Y].contains(label) {
                    let of = &mut middles[usize::from(*label == Y)];
                    [of[0], of[1], of[2]] = [of[0] + b[0] + b[2], of[1] + b[1] + b[3], of[2] + 2.0];
                }
            }
        }
        assert!(shown[&A] == shown[&B] && shown[&X] == shown[&Y] && shown[&LEAF_A] == shown[&LEAF_C]);
        for axis in 0..2 {
            let gap = middles[0][axis] / middles[0][2] - middles[1][axis] / middles[1][2];
            assert!(gap.abs() < 8.0, "{gap}");
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let error = |s| make(s, 1, 1, 1).unwrap_err().to_string();
        let settings = Settings::default();
        let found = error(Settings { blocks: 0, ..settings });
        assert_eq!(found, "blocks: expected 1 or more where there are no groups, found 0");
        assert_eq!(error(Settings { groups: 21, ..settings }), "groups: expected at most 20, found 21");
        assert_eq!(error(Settings { noise: f64::NAN, ..settings }), "noise: expected 0 to 10, found NaN");
    }

    /// What a leaf shows is right in seven cases of ten; the majority of its group is right as often as the ceiling says.
    #[test]
    fn groups_know_more_than_leaves() {
        let settings = Settings { blocks: 0, noise: 0.0, groups: 2 };
        let data = make(settings, 0, 2_000, 3).unwrap();
        let vectors = prototypes(3);
        let (mut right, mut majority, mut leaves, mut groups) = (0, 0, 0, 0);
        for scene in &data.test {
            for hub in (0..scene.graph.labels.len()).filter(|&i| scene.graph.labels[i] == CENTRE) {
                let own = scene.graph.relations.iter().filter(|r| r.object as usize == hub);
                let cues: Vec<bool> = own
                    .map(|r| {
                        let (node, latent) = (r.subject as usize, r.predicate - 6);
                        assert_eq!(scene.graph.labels[node], LEAF_U + latent);
                        scene.features[node] == vectors[CODE_CUE + latent as usize]
                    })
                    .collect();
                let good = cues.iter().filter(|&&c| c).count();
                (right, leaves, groups) = (right + good, leaves + cues.len(), groups + 1);
                majority += usize::from(2 * good > cues.len());
            }
        }
        let ceilings = settings.ceilings();
        assert_eq!((leaves, groups), (28_000, 4_000));
        assert!((right as f64 / leaves as f64 - ceilings.alone).abs() < 0.01, "{right}");
        assert!((majority as f64 / groups as f64 - ceilings.cross_entropy).abs() < 0.02, "{majority} {ceilings:?}");
        assert!(ceilings.cross_entropy > 0.87 && (ceilings.graph - ceilings.degree).abs() < 1e-12);
    }
}
