//! Counterfactual rewards by one full graph evaluation per agent and class: the oracle of [`exact`](super::exact).

use ndarray::Array2;

use super::truncated::Classes;
use super::{Counterfactuals, Reward, Scene};

/// `O(n*C*(E*P + E log E))` for `E = n*(n-1)` pairs.
pub(super) fn counterfactuals(
    scene: &Scene<'_>,
    actions: &[usize],
    reward: Reward,
    classes: &Classes,
) -> Counterfactuals {
    let mut rewards = Array2::from_elem((scene.agents(), scene.classes()), f64::NAN);
    let mut evaluated = 0;
    let mut changed = actions.to_vec();
    for agent in 0..scene.agents() {
        for class in (0..scene.classes()).filter(|&class| classes.have(agent, class)) {
            changed[agent] = class;
            rewards[[agent, class]] = reward.of_checked(scene, &changed);
            evaluated += 1;
        }
        changed[agent] = actions[agent];
    }
    Counterfactuals { reward: reward.of_checked(scene, actions), rewards, evaluated }
}
