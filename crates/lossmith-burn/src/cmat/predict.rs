//! Scene graphs from trained agents, and what they would have scored had a node been something else.

use lossmith::critic::{Critic, CriticError, Kind, Reward, Scene};

/// What a graph's score would be had one node another class.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Counterfactual {
    /// The class.
    pub class: usize,
    /// How probable the agent holds it.
    pub probability: f64,
    /// The reward of the graph in which the node has it.
    pub reward: f64,
    /// The reward above the node's baseline: what the class is worth.
    pub advantage: f64,
}

/// The counterfactuals of one node, the most probable class first.
///
/// # Errors
/// There is no such node, or the labels do not fit the scene.
pub fn explain(
    scene: &Scene<'_>,
    labels: &[usize],
    node: usize,
    reward: Reward,
) -> Result<Vec<Counterfactual>, CriticError> {
    let judged = Critic::new(Kind::Exact, reward).judge(scene, labels)?;
    if node >= labels.len() {
        let message = format!("expected a node below {}, found {node}", labels.len());
        return Err(CriticError { input: "node", message });
    }
    let rewards = judged.counterfactuals.map(|c| c.rewards.row(node).to_vec()).unwrap_or_default();
    let row = |(class, reward): (usize, f64)| Counterfactual {
        class,
        probability: f64::from(scene.policy(node)[class]),
        reward,
        advantage: reward - judged.baselines[node],
    };
    let mut table: Vec<Counterfactual> = rewards.into_iter().enumerate().map(row).collect();
    table.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    Ok(table)
}
