//! Which classes the counterfactual baseline sums over: all, or the published shortcut.

use super::Scene;

/// The classes of each agent that a baseline sums over.
#[derive(Clone, Debug)]
pub(super) enum Classes {
    /// Every class.
    All,
    /// For each agent background and its two most probable other classes: the shortcut of the published method.
    Truncated(Vec<Vec<usize>>),
}

impl Classes {
    /// Background and the two most probable other classes of each agent; of equal ones the lower.
    pub fn truncated(scene: &Scene<'_>) -> Self {
        let best_two = |agent| {
            let policy = scene.policy(agent);
            let mut order: Vec<usize> = (1..scene.classes()).collect();
            order.sort_by(|&a, &b| policy[b].total_cmp(&policy[a]));
            order.truncate(2);
            order.push(0);
            order
        };
        Self::Truncated((0..scene.agents()).map(best_two).collect())
    }

    /// Whether the sum of this agent has this class.
    pub fn have(&self, agent: usize, class: usize) -> bool {
        match self {
            Self::All => true,
            Self::Truncated(kept) => kept[agent].contains(&class),
        }
    }
}
