//! Scene graphs by agents with a counterfactual critic.

pub mod compare;
mod picture;
pub mod predict;
mod recipe;
pub mod search;
pub mod train;

use burn::module::Module;
use burn::prelude::Device;
use lossmith::critic::{Kind, Reward};
use lossmith::graph::SceneGraph;
use lossmith_burn::cmat::evaluate::{Given, Outcome, evaluate, gradient_variance};
use lossmith_burn::cmat::scene::{Seen, frequency_bias};
use lossmith_burn::cmat::train::Progress;
use lossmith_burn::cmat::{CmatError, Config, Settings, Trainer, store};
use lossmith_data::node_graphs::{NodeGraph, NodeGraphs};
pub use recipe::{Common, PRESETS, Recipe};

use crate::interrupt;
use crate::study::Identity;
use crate::tasks;
use crate::tasks::fingerprint::Fingerprint;

/// Scenes on the devices of training and of testing.
pub struct Session {
    pub config: Config,
    bias: Vec<f32>,
    train: Vec<Seen>,
    test: Vec<(Seen, SceneGraph)>,
    device: Device,
}

impl Session {
    pub fn new(data: &NodeGraphs, recipe: &Recipe) -> anyhow::Result<Self> {
        let device = Device::flex().autodiff();
        let train = data.train.iter().enumerate().map(|(at, scene)| Seen::new(scene, at, &device));
        Ok(Self {
            config: recipe.config(data),
            bias: frequency_bias(&data.about, &data.train),
            train: train.collect::<Result<_, CmatError>>()?,
            test: judged(&data.test)?,
            device,
        })
    }

    /// Stage 1, which all losses share. `progress` hears of each epoch.
    pub fn first_stage(
        &self,
        settings: Settings,
        mut progress: impl FnMut(&str, usize, Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trainer> {
        let epochs = settings.epochs;
        let mut trainer = Trainer::new(&self.config, self.bias.clone(), settings, &self.device);
        for epoch in 1..=epochs {
            progress("cross-entropy", epoch, trainer.cross_entropy_epoch(&self.train)?)?;
            stop_if_asked()?;
        }
        Ok(trainer)
    }

    /// Stage 2, from the agents of stage 1.
    pub fn second_stage(
        &self,
        first: &Trainer,
        settings: Settings,
        progress: impl FnMut(&str, usize, Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trainer> {
        self.second_stage_on(&self.train, first, settings, progress)
    }

    /// The same on some of the training scenes.
    fn second_stage_on(
        &self,
        scenes: &[Seen],
        first: &Trainer,
        settings: Settings,
        mut progress: impl FnMut(&str, usize, Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trainer> {
        let epochs = settings.policy_epochs;
        let mut trainer = Trainer::from_agents(first.agents.clone(), self.config.classes, settings);
        for epoch in 1..=epochs {
            progress("second", epoch, trainer.policy_epoch(scenes)?)?;
            stop_if_asked()?;
        }
        Ok(trainer)
    }

    /// Agents that were kept earlier, for the second stage or for judging.
    pub fn kept(&self, bytes: Vec<u8>, settings: Settings) -> anyhow::Result<Trainer> {
        let agents = store::from_bytes(&self.config, bytes, &self.device)?;
        Ok(Trainer::from_agents(agents, self.config.classes, settings))
    }

    /// What the agents reach on the test scenes.
    pub fn outcome(&self, trainer: &Trainer, given: Given) -> anyhow::Result<Outcome> {
        self.outcome_on(&self.test, trainer, given)
    }

    /// What they reach on other scenes.
    fn outcome_on(&self, scenes: &[(Seen, SceneGraph)], trainer: &Trainer, given: Given) -> anyhow::Result<Outcome> {
        Ok(evaluate(&trainer.agents.valid(), self.config.classes, scenes, given)?)
    }

    /// How much the policy gradient of a critic scatters on the first test scenes.
    pub fn variance(&self, trainer: &Trainer, critic: (Kind, Reward), seed: u64) -> anyhow::Result<f64> {
        const SCENES: usize = 20;
        const SAMPLES: usize = 50;
        let some: Vec<Seen> = self.test.iter().take(SCENES).map(|(seen, _)| seen.clone()).collect();
        Ok(gradient_variance(&trainer.agents.valid(), self.config.classes, &some, critic, SAMPLES, seed)?)
    }
}

/// The identity of a run of `command`.
pub fn identity(command: &str, recipe: &Recipe, data: &NodeGraphs) -> anyhow::Result<Identity> {
    let mut print = Fingerprint::default();
    print.json(&data.about)?;
    [&data.train, &data.test].into_iter().try_for_each(|part| print.json(part))?;
    tasks::identity(command, print, recipe)
}

/// Scenes to judge by.
fn judged(scenes: &[NodeGraph]) -> anyhow::Result<Vec<(Seen, SceneGraph)>> {
    let plain = Device::flex();
    let scene = |(at, scene): (usize, &NodeGraph)| Ok((Seen::new(scene, at, &plain)?, scene.graph.clone()));
    scenes.iter().enumerate().map(scene).collect()
}

/// The cut of the protocol that is nearest to the reward's: 20 unless the reward asks for more.
fn cut(reward: &str) -> usize {
    match reward.parse() {
        Ok(Reward::Recall(k)) if k > 50 => 2,
        Ok(Reward::Recall(k)) if k > 20 => 1,
        _ => 0,
    }
}

fn stop_if_asked() -> anyhow::Result<()> {
    if interrupt::asked() { Err(interrupt::Interrupted.into()) } else { Ok(()) }
}
