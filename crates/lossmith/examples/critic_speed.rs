//! Times the exact counterfactual critic against one graph evaluation, the published shortcut done naively, and the full
//! naive sum, on random scenes of the size of Visual Genome: `cargo run --release --example critic_speed [SECONDS]`.
//!
//! `graph_ms` is one graph evaluation from logits, `again_ms` one that shares their exponentials with others of the same
//! scene, as the naive sums here do; `exact_ms` is all counterfactuals from logits. The naive sum is timed as one evaluation
//! times their number. Rounds are interleaved, so that other load falls on all alike; figures are medians on one thread.
//! Prints one JSON line per setting.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use lossmith::critic::{Bias, Critic, Kind, Reward, Scene, Truth};
use ndarray::{Array2, Array3};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

const CLASSES: usize = 151;
const COLUMNS: usize = 51;

struct Sample {
    policy: Array2<f32>,
    pair_logits: Array2<f32>,
    truth: Truth,
    actions: Vec<usize>,
}

/// Agents with a peaked or a flat policy and labels drawn from it. Four of five true nodes have the drawn label, and the
/// pairs of the true relations are sure of their predicate, so that about half of the relations are found.
fn sample(rng: &mut ChaCha8Rng, agents: usize, spread: f32) -> Sample {
    let mut policy = Array2::from_shape_simple_fn((agents, CLASSES), || (spread * rng.random_range(-1f32..1.0)).exp());
    policy.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
    let actions: Vec<usize> =
        policy.rows().into_iter().map(|row| draw(rng, row.as_slice().unwrap_or_default())).collect();
    let mut pair_logits =
        Array2::from_shape_simple_fn((agents * (agents - 1), COLUMNS), || rng.random_range(-2f32..2.0));
    let label =
        |rng: &mut ChaCha8Rng, a: usize| if a != 0 && rng.random_bool(0.8) { a } else { rng.random_range(1..CLASSES) };
    let labels: Vec<usize> = actions.iter().map(|&a| label(rng, a)).collect();
    let mut triplets = Vec::new();
    for _ in 0..(agents / 2).max(4) {
        let subject = rng.random_range(0..agents);
        let object = (subject + rng.random_range(1..agents)) % agents;
        let predicate = rng.random_range(1..COLUMNS);
        pair_logits[[subject * (agents - 1) + object - usize::from(object > subject), predicate]] += 8.0;
        triplets.push([subject, object, predicate]);
    }
    Sample { policy, pair_logits, truth: Truth::new(labels, triplets).expect("a truth in range"), actions }
}

fn draw(rng: &mut ChaCha8Rng, policy: &[f32]) -> usize {
    let mut left: f32 = rng.random();
    policy
        .iter()
        .position(|p| {
            left -= p;
            left < 0.0
        })
        .unwrap_or(policy.len() - 1)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let seconds: f64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1.0);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let bias = Array3::from_shape_simple_fn((CLASSES, CLASSES, COLUMNS), || rng.random_range(-2f32..2.0));
    let bias = Bias::new(bias.view()).expect("a table in range");
    for (policy, spread) in [("peaked", 14.0), ("flat", 3.0)] {
        for agents in [8, 20, 32, 64, 128] {
            for reward in [Reward::Recall(20), Reward::Recall(50), Reward::Recall(100), Reward::Spice] {
                measure(&mut rng, &bias, (policy, spread), agents, reward, seconds);
            }
        }
    }
}

fn measure(
    rng: &mut ChaCha8Rng,
    bias: &Bias,
    (policy, spread): (&str, f32),
    agents: usize,
    reward: Reward,
    seconds: f64,
) {
    let (mut once, mut again, mut exact, mut shortcut) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut evaluated, mut earned) = (Vec::new(), 0.0);
    let start = Instant::now();
    while once.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let s = sample(rng, agents, spread);

        let time = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        };
        let make =
            || Scene::new(s.policy.view(), s.pair_logits.view(), Some(bias), &s.truth).expect("a scene in range");
        let scene = make();
        once.push(time(&mut || {
            std::hint::black_box(reward.of(&make(), &s.actions)).expect("actions in range");
        }));
        again.push(time(&mut || {
            std::hint::black_box(reward.of(&scene, &s.actions)).expect("actions in range");
        }));
        let mut judged = None;
        exact.push(time(&mut || judged = Critic::new(Kind::Exact, reward).judge(&make(), &s.actions).ok()));
        earned += judged.as_ref().map_or(0.0, |j| j.reward);
        evaluated.push(judged.and_then(|j| j.counterfactuals).map_or(0, |c| c.evaluated) as f64);
        if shortcut.len() < 3 {
            let kind = Kind::Truncated { renormalise: false, naive: true };
            shortcut.push(time(&mut || {
                std::hint::black_box(Critic::new(kind, reward).judge(&scene, &s.actions)).expect("actions in range");
            }));
        }
    }
    let earned = earned / once.len() as f64;
    let (once, again, exact, shortcut) = (median(once), median(again), median(exact), median(shortcut));
    let evaluations = (agents * CLASSES) as f64;
    println!(
        "{{\"policy\":\"{policy}\",\"agents\":{agents},\"reward\":\"{reward}\",\"mean_reward\":{earned:.3},\
         \"graph_ms\":{once:.4},\"again_ms\":{again:.4},\"exact_ms\":{exact:.4},\"survivors\":{},\
         \"exact_per_graph\":{:.2},\"shortcut_per_exact\":{:.0},\"naive_per_exact\":{:.0},\
         \"naive_from_logits_per_exact\":{:.0}}}",
        median(evaluated),
        exact / once,
        shortcut / exact,
        again * evaluations / exact,
        once * evaluations / exact
    );
}
