//! Training: AdamW with warm-up and a cosine, turned pictures, gradients cut at a length.

use std::ops::ControlFlow;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use lossmith::loss::{Centerness, LossError, Spec};
use lossmith_data::DataError;
use lossmith_data::picture::Picture;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::loss::Criterion;
use super::network::{ConfigError, PolarMask, PolarMaskConfig};
use super::samples::{Sample, Turn, batch};
use crate::checkpoint::{Checkpoint, CheckpointError, Save};

/// How pictures may be turned while they are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turns {
    /// Left to right or not, as published: for pictures that have an up and a down.
    #[default]
    Flip,
    /// All eight of a square.
    All,
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// The loss on the rays.
    pub loss: String,
    /// What the centerness is.
    pub centerness: Centerness,
    /// How often every picture is seen.
    pub epochs: usize,
    /// How many steps in all, whatever `epochs` says; as many as `epochs` make if 0.
    pub steps: usize,
    /// Pictures at once.
    pub batch: usize,
    /// The greatest rate, reached after the warm-up.
    pub rate: f64,
    /// How pictures are turned.
    pub turns: Turns,
    /// Random numbers: weights, order, flips.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        let loss = "polar-iou".to_owned();
        let centerness = Centerness::Hard;
        Self { loss, centerness, epochs: 20, steps: 0, batch: 8, rate: 2e-3, turns: Turns::Flip, seed: 0 }
    }
}

/// What can go wrong in a training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The network cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The loss cannot be made, or says that the training has diverged.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// A picture can no longer be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint that does not fit the recipe, or cannot be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Nothing to learn from.
    #[error("there are no pictures with an object to learn from")]
    NoSamples,
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
}

/// How a training goes, after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// From 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// From 1.
    pub epoch: usize,
    /// Whether no more of it follows.
    pub ends_epoch: bool,
    /// The three parts of the loss of this batch: class, rays, centerness.
    pub parts: [(&'static str, f64); 3],
}

/// Streams of the seed: one for each purpose.
const ORDER: u64 = 1;

/// Trains a network from fresh weights.
///
/// # Errors
/// As [`continue_from`], and a configuration that is no network.
pub fn train(
    config: &PolarMaskConfig,
    settings: &TrainSettings,
    samples: &[Sample],
    device: &Device,
    watch: &mut Watch<'_>,
) -> Result<PolarMask, TrainError> {
    device.seed(settings.seed);
    continue_from(config.init(device)?, config, settings, samples, device, None, watch)
}

/// Hears of every step, can have the state of the training after it, and may end the training.
pub type Watch<'a> = dyn FnMut(&Progress, &Save<'_>) -> ControlFlow<()> + Send + 'a;

/// Trains a network from where it is: pretrained weights, for instance. `device` has a graph (`Device::autodiff`). With the state
/// of an earlier training of the same network, settings and samples, the steps that follow it are the same as if it had never been
/// stopped. What comes back has no graph and is ready to predict.
///
/// # Errors
/// No pictures with an object, a loss that is not one of rays, a training that diverges, a checkpoint of another network.
pub fn continue_from(
    network: PolarMask,
    config: &PolarMaskConfig,
    settings: &TrainSettings,
    samples: &[Sample],
    device: &Device,
    from: Option<&Checkpoint>,
    watch: &mut Watch<'_>,
) -> Result<PolarMask, TrainError> {
    // On a thread of the pool, which need not be woken for every layer then.
    rayon::scope(|_| all_steps(network, config, settings, samples, device, from, watch))
}

fn all_steps(
    mut network: PolarMask,
    config: &PolarMaskConfig,
    settings: &TrainSettings,
    samples: &[Sample],
    device: &Device,
    from: Option<&Checkpoint>,
    watch: &mut Watch<'_>,
) -> Result<PolarMask, TrainError> {
    settings.check(config)?;
    if samples.iter().all(|s| s.objects().is_empty()) {
        return Err(TrainError::NoSamples);
    }
    let criterion = settings.criterion(config)?;
    let assigner = config.assigner()?;
    const LONGEST_GRADIENT: f32 = 10.0;
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(1e-4)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(LONGEST_GRADIENT)))
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    rng.set_stream(ORDER);
    let in_epoch = samples.len().div_ceil(settings.batch);
    let steps = if settings.steps > 0 { settings.steps } else { settings.epochs * in_epoch };
    let epochs = steps.div_ceil(in_epoch);
    let done = from.map_or(0, |state| state.step);
    if let Some(state) = from {
        (network, optimizer) = state.restore(network, optimizer)?;
    }
    let mut step = 0;
    for epoch in 1..=epochs {
        let mut order: Vec<(usize, Turn)> = (0..samples.len()).map(|i| (i, settings.turns.any(&mut rng))).collect();
        order.shuffle(&mut rng);
        for chosen in order.chunks(settings.batch) {
            step += 1;
            // The random numbers of the steps done are drawn again, nothing else.
            if step <= done {
                continue;
            }
            let prepare = |(index, turn): &(usize, Turn)| -> Result<_, DataError> {
                let (picture, objects) = samples[*index].view(*turn)?;
                Ok((picture, assigner.targets(&objects, config.width, config.height)))
            };
            let prepared = chosen.par_iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
            let (pictures, targets): (Vec<Picture>, Vec<_>) = prepared.into_iter().unzip();
            let output = network.forward(batch(&pictures.iter().collect::<Vec<_>>(), device));
            let loss = criterion.batch(&output, &targets)?;
            let gradients = GradientsParams::from_grads(loss.total.backward(), &network);
            network = optimizer.step(rate(settings.rate, step, steps), network, gradients);
            let ends_epoch = step == steps || step % in_epoch == 0;
            let progress = Progress { step, steps, epoch, ends_epoch, parts: loss.parts };
            let stopped = watch(&progress, &|| Checkpoint::of(step, &network, &optimizer)).is_break();
            if stopped || step == steps {
                return Ok(network.valid());
            }
        }
    }
    Ok(network.valid())
}

impl Turns {
    fn any(self, rng: &mut ChaCha8Rng) -> Turn {
        let across = rng.random();
        match self {
            Self::Flip => Turn { across, ..Turn::default() },
            Self::All => Turn { across, down: rng.random(), diagonal: rng.random() },
        }
    }
}

/// The most pixels of a step: a backbone holds hundreds of numbers for each.
const MOST_PIXELS: usize = 1 << 26;

impl TrainSettings {
    /// Whether this network can be trained so.
    ///
    /// # Errors
    /// A loss that is not one of rays, a number out of range, turns that the network's size does not allow.
    pub fn check(&self, config: &PolarMaskConfig) -> Result<(), TrainError> {
        self.criterion(config)?;
        if self.batch == 0 || self.epochs == 0 {
            return Err(TrainError::Setting("batch and epochs: expected 1 or more".to_owned()));
        }
        let pixels = self.batch.saturating_mul(config.width * config.height);
        if pixels > MOST_PIXELS {
            return Err(TrainError::Setting(format!(
                "batch x width x height: expected at most {MOST_PIXELS} pixels in a step, found {pixels}"
            )));
        }
        if self.turns == Turns::All && config.width != config.height {
            let size = format!("{} x {}", config.width, config.height);
            return Err(TrainError::Setting(format!(
                "turns: 'all' needs a square network, found {size}; choose 'flip'"
            )));
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return Err(TrainError::Setting(format!("rate: expected a number above 0, found {}", self.rate)));
        }
        Ok(())
    }

    fn criterion(&self, config: &PolarMaskConfig) -> Result<Criterion, LossError> {
        Criterion::new(&Spec::parse(&self.loss)?, self.centerness, config.rays)
    }
}

/// A straight rise over the first twentieth, then a cosine down to a hundredth.
fn rate(most: f64, step: usize, steps: usize) -> f64 {
    let done = step as f64 / steps as f64;
    const RISE: f64 = 0.05;
    if done < RISE {
        return most * done / RISE;
    }
    let fall = (done - RISE) / (1.0 - RISE);
    most * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos()))
}
