//! Training: random views, the loss on the embeddings, cross-entropy on the foreground, Adam.

use std::ops::ControlFlow;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use lossmith::loss::{Inputs, Loss};
use lossmith_data::label_images::Sample;
use ndarray::{ArrayD, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::model::EmbeddingNet;
use super::planes::{self, CHANNELS, Planes};
use super::{EmbeddingError, Model, Recipe};
use crate::bridge;
use crate::checkpoint::{Checkpoint, Save};

/// What one step came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Steps done.
    pub step: usize,
    /// Steps to do in all.
    pub of: usize,
    /// The loss of the embeddings.
    pub loss: f64,
    /// Its parts, if it has any.
    pub parts: Vec<(&'static str, f64)>,
    /// The cross-entropy of the foreground.
    pub foreground: f64,
}

/// Random numbers of views have their own stream, so that they do not depend on the network's size.
const VIEWS: u64 = 1;

/// Trains a network by the recipe. `loss` reads `embedding` and `labels`; `progress` hears of every step and ends the training
/// early by returning false.
///
/// # Errors
/// A wrong recipe, no data, a loss that refuses its input or diverges.
pub fn train(
    samples: &[Sample],
    recipe: &Recipe,
    loss: &dyn Loss,
    mut progress: impl FnMut(&Step) -> bool + Send,
) -> Result<Model, EmbeddingError> {
    train_from(samples, recipe, loss, None, &mut |step, _| {
        if progress(step) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

/// Trains by the recipe, from where an earlier training of the same samples, recipe and loss stood, if one is given: the steps that
/// follow are the same as if it had never been stopped. `watch` hears of every step, can have the state after it, and may end the
/// training.
///
/// # Errors
/// As [`train`], and a checkpoint of another network.
pub fn train_from(
    samples: &[Sample],
    recipe: &Recipe,
    loss: &dyn Loss,
    from: Option<&Checkpoint>,
    watch: &mut Watch<'_>,
) -> Result<Model, EmbeddingError> {
    recipe.check()?;
    if samples.is_empty() {
        return Err(EmbeddingError::NoData);
    }
    // On a thread of the pool, which need not be woken for every layer then.
    rayon::scope(|_| steps(samples, recipe, loss, from, watch))
}

/// Hears of every step, can have the state after it, and may end the training.
pub type Watch<'a> = dyn FnMut(&Step, &Save<'_>) -> ControlFlow<()> + Send + 'a;

fn steps(
    samples: &[Sample],
    recipe: &Recipe,
    loss: &dyn Loss,
    from: Option<&Checkpoint>,
    watch: &mut Watch<'_>,
) -> Result<Model, EmbeddingError> {
    let device = Device::flex().autodiff();
    let planes = planes::of_samples(samples);
    let mut net = EmbeddingNet::new(recipe, &device);
    let clipping = GradientClippingConfig::Norm(recipe.clip);
    let mut optimiser = AdamConfig::new().with_epsilon(1e-8).with_grad_clipping(Some(clipping)).init();
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    rng.set_stream(VIEWS);
    let done = from.map_or(0, |state| state.step);
    if let Some(state) = from {
        (net, optimiser) = state.restore(net, optimiser)?;
    }
    // The random numbers of the steps done are drawn again.
    (0..done).for_each(|_| drop(Batch::choose(samples.len(), recipe, &mut rng)));
    for step in done..recipe.steps {
        let batch = Batch::random(samples, &planes, recipe, &mut rng);
        let (embedding, foreground) = net.forward(batch.pictures(recipe, &device));
        let inputs = batch.inputs(recipe, &embedding);
        // The loss would only say at which place its input is no number.
        if inputs.f32("embedding", 4).is_err() {
            return Err(EmbeddingError::Diverged { step: step + 1, value: f64::NAN });
        }
        let evaluation = loss.evaluate(&inputs)?;
        let entropy = batch.foreground_loss(recipe, foreground);
        let report = Step {
            step: step + 1,
            of: recipe.steps,
            loss: evaluation.value,
            parts: evaluation.parts.clone(),
            foreground: f64::from(entropy.clone().into_scalar::<f32>()),
        };
        if !(report.loss + report.foreground).is_finite() {
            return Err(EmbeddingError::Diverged { step: step + 1, value: report.loss + report.foreground });
        }
        // Row by row, as the tensor lies.
        let gradient: Vec<f32> = evaluation.grad.iter().copied().collect();
        let gradients = (bridge::hang(embedding, evaluation.value, gradient) + entropy).backward();
        let gradients = GradientsParams::from_grads(gradients, &net);
        net = optimiser.step(learning_rate(recipe, step), net, gradients);
        if watch(&report, &|| Checkpoint::of(step + 1, &net, &optimiser)).is_break() {
            break;
        }
    }
    Ok(Model::new(recipe.clone(), net.valid()))
}

/// Half a cosine from the recipe's rate to 0, after a short rise.
fn learning_rate(recipe: &Recipe, step: usize) -> f64 {
    const RISE: usize = 20;
    let rise = ((step + 1) as f64 / RISE as f64).min(1.0);
    let done = step as f64 / recipe.steps as f64;
    recipe.learning_rate * rise * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// Views of one step.
struct Batch {
    views: Vec<f32>,
    labels: Vec<i64>,
}

impl Batch {
    /// Which samples are seen next, each with the seed of its view: so the views can be made in parallel.
    fn choose(samples: usize, recipe: &Recipe, rng: &mut ChaCha8Rng) -> Vec<(usize, u64)> {
        (0..recipe.batch).map(|_| (rng.random_range(0..samples), rng.random())).collect()
    }

    fn random(samples: &[Sample], planes: &[Planes], recipe: &Recipe, rng: &mut ChaCha8Rng) -> Self {
        let views: Vec<(Vec<f32>, Vec<i64>)> = Self::choose(samples.len(), recipe, rng)
            .into_par_iter()
            .map(|(at, seed)| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                planes::random_view(&planes[at], &samples[at].labels, recipe, &mut rng)
            })
            .collect();
        let (views, labels): (Vec<_>, Vec<_>) = views.into_iter().unzip();
        Self { views: views.concat(), labels: labels.concat() }
    }

    fn pictures(&self, recipe: &Recipe, device: &Device) -> Tensor<4> {
        let shape = [recipe.batch, CHANNELS, recipe.side, recipe.side];
        Tensor::from_data(TensorData::new(self.views.clone(), shape), device)
    }

    /// What the loss reads.
    fn inputs(&self, recipe: &Recipe, embedding: &Tensor<4>) -> Inputs {
        let shape = IxDyn(&embedding.dims());
        let values = embedding.clone().into_data().try_to_vec::<f32>().expect("embeddings are f32");
        let embedding = ArrayD::from_shape_vec(shape, values).expect("as many numbers as the shape holds");
        let labels = IxDyn(&[recipe.batch, recipe.side, recipe.side]);
        let labels = ArrayD::from_shape_vec(labels, self.labels.clone()).expect("one label for every pixel");
        Inputs::new().with("embedding", embedding).with("labels", labels)
    }

    /// The mean cross-entropy of foreground against background.
    fn foreground_loss(&self, recipe: &Recipe, logits: Tensor<4>) -> Tensor<1> {
        let truth: Vec<f32> = self.labels.iter().map(|l| f32::from(u8::from(*l != 0))).collect();
        let shape = [recipe.batch, 1, recipe.side, recipe.side];
        let truth = Tensor::<4>::from_data(TensorData::new(truth, shape), &logits.device());
        // -t log s(z) - (1 - t) log s(-z), and log s(-z) = log s(z) - z.
        let log = log_sigmoid(logits.clone());
        (logits * (truth.mul_scalar(-1.0).add_scalar(1.0)) - log).mean()
    }
}
