//! How good the agents' graphs are: recall by the Visual Genome protocol, node accuracy, and the spread of the gradients.

use lossmith::critic::{Bias, Critic, CriticError, Kind, Reward, Scene};
use lossmith::graph::{GraphScores, SceneGraph};
use lossmith::metric::visual_genome::{Mode, Report, VisualGenome};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::CmatError;
use super::agents::Agents;
use super::scene::Seen;
use super::train::{Numbers, bias, sample};

/// What the agents reach on a set of scenes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// The recalls of the protocol with given boxes, with greedy labels.
    pub graphs: Report,
    /// The share of nodes with the true label.
    pub node_accuracy: f64,
}

/// What is given when graphs are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The boxes: each node gets its most probable class but background.
    Boxes,
    /// Boxes and classes; then only the predicates are judged.
    Classes,
}

/// Predicts the graphs of the scenes, and judges them.
///
/// # Errors
/// The agents' numbers are no longer finite, or a scene does not fit them.
pub fn evaluate(
    agents: &Agents,
    classes: usize,
    scenes: &[(Seen, SceneGraph)],
    given: Given,
) -> Result<Outcome, CmatError> {
    let Some((first, _)) = scenes.first() else {
        return Err(CmatError::Argument("there are no scenes to evaluate".to_owned()));
    };
    let bias = bias(agents, classes).map_err(|cause| CmatError::Scene { scene: 0, cause })?;
    let predicates = agents.forward(first).pair_logits.dims()[1] - 1;
    let mode = if given == Given::Boxes { Mode::SgCls } else { Mode::PredCls };
    let mut protocol = VisualGenome::new(mode, predicates, None);
    let (mut right, mut nodes) = (0, 0);
    for (at, (seen, graph)) in scenes.iter().enumerate() {
        let numbers = Numbers::of(&agents.forward(seen));
        let scores =
            scores(&numbers, &bias, seen, graph, given).map_err(|cause| CmatError::Scene { scene: at, cause })?;
        right += scores.labels.iter().zip(&graph.labels).filter(|(a, b)| a == b).count();
        nodes += graph.labels.len();
        let image = protocol.judge(graph, &scores).map_err(|e| CmatError::Argument(format!("scene {at}: {e}")))?;
        protocol.add(&image);
    }
    Ok(Outcome { graphs: protocol.report(), node_accuracy: right as f64 / nodes.max(1) as f64 })
}

/// What the agents say, as the protocols read it.
///
/// # Errors
/// The agents' numbers are no longer finite.
pub fn scores(
    numbers: &Numbers,
    bias: &Bias,
    seen: &Seen,
    graph: &SceneGraph,
    given: Given,
) -> Result<GraphScores, CriticError> {
    let scene = Scene::new(numbers.policy.view(), numbers.pair_logits.view(), Some(bias), &seen.truth)?;
    let labels = if given == Given::Boxes { scene.greedy() } else { seen.truth.labels().to_vec() };
    let score = |(i, &l): (usize, &usize)| if given == Given::Boxes { f64::from(scene.policy(i)[l]) } else { 1.0 };
    let n = labels.len() as u32;
    Ok(GraphScores {
        boxes: graph.boxes.clone(),
        scores: labels.iter().enumerate().map(score).collect(),
        predicates: scene.relation_probabilities(&labels)?,
        labels: labels.iter().map(|&l| l as u32).collect(),
        pairs: (0..n).flat_map(|s| (0..n).filter(move |&o| o != s).map(move |o| [s, o])).collect(),
    })
}

/// How much the policy gradient of a critic scatters: the mean over scenes of the variance of the gradient with respect to
/// the class logits, summed over its components, over `samples` graphs drawn from the same agents.
///
/// # Errors
/// The agents' numbers are no longer finite.
pub fn gradient_variance(
    agents: &Agents,
    classes: usize,
    scenes: &[Seen],
    (kind, reward): (Kind, Reward),
    samples: usize,
    seed: u64,
) -> Result<f64, CmatError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut critic = Critic::new(kind, reward);
    let mut variance = 0.0;
    let bias = bias(agents, classes).map_err(|cause| CmatError::Scene { scene: 0, cause })?;
    for (at, seen) in scenes.iter().enumerate() {
        let refused = |cause| CmatError::Scene { scene: at, cause };
        let numbers = Numbers::of(&agents.forward(seen));
        let scene =
            Scene::new(numbers.policy.view(), numbers.pair_logits.view(), Some(&bias), &seen.truth).map_err(refused)?;
        let mut sum = numbers.policy.mapv(|_| 0.0f64);
        let mut squares = sum.clone();
        for _ in 0..samples {
            let actions = sample(&numbers.policy, &mut random);
            let judged = critic.judge(&scene, &actions).map_err(refused)?;
            for ((agent, class), p) in numbers.policy.indexed_iter() {
                let g = judged.advantages[agent] * (f64::from(u8::from(class == actions[agent])) - f64::from(*p));
                sum[[agent, class]] += g;
                squares[[agent, class]] += g * g;
            }
        }
        let count = samples as f64;
        variance += sum.iter().zip(&squares).map(|(s, q)| (q - s * s / count) / (count - 1.0)).sum::<f64>();
    }
    Ok(variance / scenes.len().max(1) as f64)
}
