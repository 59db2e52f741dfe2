//! Training: AdamW with warm-up and a cosine, left-right flips, gradients cut at a length.

use std::ops::ControlFlow;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use lossmith::loss::{Centerness, LossError, Spec};
use lossmith_data::picture::Picture;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::loss::Criterion;
use super::network::{ConfigError, PolarMask, PolarMaskConfig};
use super::samples::{Sample, batch};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// The loss on the rays.
    pub loss: String,
    /// Whether the centerness is soft, as in PolarMask++.
    pub soft_centerness: bool,
    /// How often every picture is seen.
    pub epochs: usize,
    /// Pictures at once.
    pub batch: usize,
    /// The greatest rate, reached after the warm-up.
    pub rate: f64,
    /// Random numbers: weights, order, flips.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        let loss = "polar-iou".to_owned();
        Self { loss, soft_centerness: false, epochs: 20, batch: 8, rate: 2e-3, seed: 0 }
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
    watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<PolarMask, TrainError> {
    device.seed(settings.seed);
    continue_from(config.init(device)?, config, settings, samples, device, watch)
}

/// Trains a network from where it is: pretrained weights, for instance. `device` has a graph (`Device::autodiff`).
/// `watch` hears of every step and may end the training. What comes back has no graph and is ready to predict.
///
/// # Errors
/// No pictures with an object, a loss that is not one of rays, a training that diverges.
pub fn continue_from(
    mut network: PolarMask,
    config: &PolarMaskConfig,
    settings: &TrainSettings,
    samples: &[Sample],
    device: &Device,
    watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<PolarMask, TrainError> {
    check(settings, samples)?;
    let centerness = if settings.soft_centerness { Centerness::Soft } else { Centerness::Hard };
    let criterion = Criterion::new(&Spec::parse(&settings.loss)?, centerness, config.rays)?;
    let assigner = config.assigner()?;
    const LONGEST_GRADIENT: f32 = 10.0;
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(1e-4)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(LONGEST_GRADIENT)))
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    rng.set_stream(ORDER);
    let steps = settings.epochs * samples.len().div_ceil(settings.batch);
    let mut step = 0;
    for epoch in 1..=settings.epochs {
        let mut order: Vec<(usize, bool)> = (0..samples.len()).map(|i| (i, rng.random())).collect();
        order.shuffle(&mut rng);
        for chosen in order.chunks(settings.batch) {
            step += 1;
            let prepared: Vec<_> = chosen
                .par_iter()
                .map(|(index, flip)| {
                    let sample = if *flip { samples[*index].flipped() } else { samples[*index].clone() };
                    let targets = assigner.targets(&sample.objects, config.width, config.height);
                    (sample.picture, targets)
                })
                .collect();
            let (pictures, targets): (Vec<Picture>, Vec<_>) = prepared.into_iter().unzip();
            let output = network.forward(batch(&pictures.iter().collect::<Vec<_>>(), device));
            let loss = criterion.batch(&output, &targets)?;
            let gradients = GradientsParams::from_grads(loss.total.backward(), &network);
            network = optimizer.step(rate(settings.rate, step, steps), network, gradients);
            if watch(&Progress { step, steps, epoch, parts: loss.parts }).is_break() {
                return Ok(network.valid());
            }
        }
    }
    Ok(network.valid())
}

fn check(settings: &TrainSettings, samples: &[Sample]) -> Result<(), TrainError> {
    if samples.iter().all(|s| s.objects.is_empty()) {
        return Err(TrainError::NoSamples);
    }
    if settings.batch == 0 || settings.epochs == 0 {
        return Err(TrainError::Setting("batch and epochs: expected 1 or more".to_owned()));
    }
    if !(settings.rate.is_finite() && settings.rate > 0.0) {
        return Err(TrainError::Setting(format!("rate: expected a number above 0, found {}", settings.rate)));
    }
    Ok(())
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
