//! The price of the critic: all counterfactuals exactly, against one graph evaluation, the published shortcut, and the full sum.

use std::time::Instant;

use lossmith::critic::{Bias, Critic, Kind, Reward, Scene, Truth};
use ndarray::{Array2, Array3};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::super::{Context, Experiment, Made};
use crate::interrupt::{self, Interrupted};
use crate::output::Table;
use crate::plot::{Axis, Chart, Series};

/// What exactness costs.
pub static SPEED: Experiment = Experiment {
    id: "cmat/speed",
    title: "The time of the exact critic beside one graph evaluation, the truncated sum and the full one, 8 to 128 agents",
    data: "none: random policies and logits of the size of Visual Genome (151 classes, 50 predicates)",
    time: "1 minute",
    published: "three classes instead of 151: about 70 times less training time (unverified)",
    make: speed,
};

const CLASSES: usize = 151;
const COLUMNS: usize = 51;
const AGENTS: [usize; 5] = [8, 20, 32, 64, 128];
const CUTS: [usize; 3] = [20, 50, 100];
/// How many random scenes each setting is timed on, how often each.
const SCENES: usize = 25;
const RUNS: usize = 5;

struct Sample {
    policy: Array2<f32>,
    pair_logits: Array2<f32>,
    truth: Truth,
    actions: Vec<usize>,
}

/// Agents with a peaked or a flat policy and labels drawn from it. Four of five true nodes have the drawn label, and the
/// pairs of the true relations are sure of their predicate, so that about half of the relations are found.
fn sample(rng: &mut ChaCha8Rng, agents: usize, spread: f32) -> anyhow::Result<Sample> {
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
    Ok(Sample { policy, pair_logits, truth: Truth::new(labels, triplets)?, actions })
}

fn draw(rng: &mut ChaCha8Rng, policy: &[f32]) -> usize {
    let mut left: f32 = rng.random();
    let drawn = policy.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    drawn.unwrap_or(policy.len() - 1)
}

/// Milliseconds, the medians over scenes of the least of some runs: other programs lengthen a run, nothing shortens it.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// One graph evaluation from logits.
    graph: f64,
    /// One that shares the logits' exponentials with others of the scene.
    again: f64,
    /// All counterfactuals from logits, on one thread.
    exact: f64,
    /// The same on all cores.
    cores: f64,
    /// How many of them had to be evaluated.
    survivors: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least<T>(runs: usize, mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        std::hint::black_box(work()?);
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(least)
}

fn time(rng: &mut ChaCha8Rng, bias: &Bias, agents: usize, spread: f32, k: usize) -> anyhow::Result<Times> {
    let reward = Reward::Recall(k);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut all = [const { Vec::new() }; 5];
    for _ in 0..SCENES {
        let s = sample(rng, agents, spread)?;
        let make = || Scene::new(s.policy.view(), s.pair_logits.view(), Some(bias), &s.truth);
        let scene = make()?;
        let mut judged = None;
        let mut all_counterfactuals = || {
            judged = Some(Critic::new(Kind::Exact, reward).judge(&make()?, &s.actions)?);
            Ok(())
        };
        all[0].push(least(RUNS, || Ok(reward.of(&make()?, &s.actions)?))?);
        all[1].push(least(RUNS, || Ok(reward.of(&scene, &s.actions)?))?);
        all[2].push(alone.install(|| least(RUNS, &mut all_counterfactuals))?);
        all[3].push(least(RUNS, &mut all_counterfactuals)?);
        all[4].push(judged.and_then(|j| j.counterfactuals).map_or(0, |c| c.evaluated) as f64);
    }
    let [graph, again, exact, cores, survivors] = all.map(median);
    Ok(Times { graph, again, exact, cores, survivors })
}

fn speed(context: &Context) -> anyhow::Result<Made> {
    context.run.write("recipe.toml", b"")?;
    interrupt::listen();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let table = Array3::from_shape_simple_fn((CLASSES, CLASSES, COLUMNS), || rng.random_range(-2f32..2.0));
    let bias = Bias::new(table.view())?;
    let heads = [
        "policy",
        "agents",
        "K",
        "graph ms",
        "exact ms",
        "all cores",
        "exact/graph",
        "truncated/exact",
        "naive/exact",
        "(again)",
        "survivors",
    ];
    let (mut table, mut rows, mut series) = (Table::new(heads), Vec::new(), Vec::new());
    for (policy, spread) in [("peaked", 14.0), ("flat", 3.0)] {
        let mut lines: Vec<Vec<(f64, f64)>> = vec![Vec::new(); CUTS.len()];
        for agents in AGENTS {
            for (k, line) in CUTS.into_iter().zip(&mut lines) {
                if interrupt::asked() {
                    return Err(Interrupted.into());
                }
                let t = time(&mut rng, &bias, agents, spread, k)?;
                // The shortcut sums over background and two classes an agent, the full sum over all.
                let (three, all) = ((3 * agents) as f64, (CLASSES * agents) as f64);
                let ratios =
                    [t.exact / t.graph, three * t.graph / t.exact, all * t.graph / t.exact, all * t.again / t.exact];
                let times = [t.graph, t.exact, t.cores].map(|ms| format!("{ms:.4}"));
                let shown = [
                    format!("{:.2}", ratios[0]),
                    format!("{:.0}", ratios[1]),
                    format!("{:.0}", ratios[2]),
                    format!("{:.0}", ratios[3]),
                ];
                let head = [policy.to_owned(), agents.to_string(), k.to_string()];
                table.row(head.into_iter().chain(times).chain(shown).chain([format!("{:.0}", t.survivors)]));
                rows.push(json!({"policy": policy, "agents": agents, "k": k, "graph_ms": t.graph, "again_ms": t.again,
                    "exact_ms": t.exact, "all_cores_ms": t.cores, "survivors": t.survivors, "exact_per_graph": ratios[0], "truncated_per_exact": ratios[1],
                    "naive_per_exact": ratios[2], "naive_again_per_exact": ratios[3]}));
                line.push((agents as f64, ratios[0]));
            }
        }
        series.extend(CUTS.into_iter().zip(lines).map(|(k, line)| Series::line(format!("{policy}, K = {k}"), line)));
    }
    let title = "All counterfactuals, in graph evaluations".to_owned();
    let drawing = Chart { title, x: Axis::new("agents").log(), y: Axis::new("graph evaluations").log(), series }.draw();
    let picture = context.run.write("figure.svg", drawing.file().as_bytes())?;
    let text = format!(
        "{table}\none thread but for the column of all cores; logits and bias table uniform in [-2, 2], true pairs 8 above; policies exp(u)/sum with u in [-14, 14] (peaked) or [-3, 3] (flat)\n\
         truncated and naive: as many graph evaluations from logits as they sum over; (again): evaluations that share the logits' exponentials\npublished: {}\n\npicture {}\n",
        SPEED.published,
        picture.display()
    );
    Ok(Made { text, json: json!(rows) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scenes are of the kind that is claimed: some relations are found, and pruning leaves something over.
    #[test]
    fn scenes_earn_something() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let table = Array3::from_shape_simple_fn((CLASSES, CLASSES, COLUMNS), || rng.random_range(-2f32..2.0));
        let bias = Bias::new(table.view()).unwrap();
        let s = sample(&mut rng, 20, 3.0).unwrap();
        let scene = Scene::new(s.policy.view(), s.pair_logits.view(), Some(&bias), &s.truth).unwrap();
        let judged = Critic::new(Kind::Exact, Reward::Recall(20)).judge(&scene, &s.actions).unwrap();
        let evaluated = judged.counterfactuals.unwrap().evaluated;
        assert!(judged.reward > 0.1 && judged.reward < 0.9, "{}", judged.reward);
        assert!(evaluated > 20 && evaluated < 20 * CLASSES, "{evaluated}");
    }
}
