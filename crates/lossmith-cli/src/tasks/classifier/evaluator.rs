//! Does the trials of a classifier study with the fitness engine.

use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use lossmith::loss::{ClassLoss, Spec};
use lossmith_data::classification::{Classification, LabelledImages, Split};
use lossmith_data::tensors::{self, Tensor};
use lossmith_data::{folder, make};
use lossmith_nets::{Augment, Candidate, Control, Data, Dataset, Event, Layer, Precision, Shape};
use lossmith_search::trial::{End, Outcome, Part, Trial};

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::Recipe;
use crate::interrupt;
use crate::tasks::Judge;
use crate::tasks::fingerprint::Fingerprint;

impl Judge for Evaluator {
    fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        Self::evaluate(self, trials)
    }

    fn data(&self) -> &str {
        &self.data
    }

    /// Of all images and labels, in the parts that they are used in.
    fn checksum(&self) -> anyhow::Result<String> {
        let mut print = Fingerprint::default();
        for part in [&self.split.train, &self.split.validation, &self.split.test] {
            let shape = part.shape();
            print.numbers([part.len(), shape.height, shape.width, shape.channels]);
            print.bytes(part.labels());
            print.bytes(part.pixels());
        }
        Ok(print.text())
    }

    fn recipe(&self) -> anyhow::Result<String> {
        crate::recipe::to_text(&self.recipe)
    }

    fn arithmetic(&self) -> String {
        self.recipe.train.precision.arithmetic()
    }
}

/// The data, the network and the recipe that trials are trained with.
pub struct Evaluator {
    recipe: Recipe,
    layers: Vec<Layer>,
    split: Split,
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    mean_and_sd: Vec<(f64, f64)>,
    /// What the data are, in words.
    pub data: String,
}

impl Evaluator {
    /// Reads or makes the data and checks that the network fits it.
    pub fn new(recipe: &Recipe, data: Option<&Path>) -> anyhow::Result<Self> {
        let (found, data) = load(recipe, data)?;
        let (asked, validation) = (recipe.data.validation, found.fitting_validation(recipe.data.validation));
        if validation != asked {
            tracing::warn!(
                "data.validation: there are not {asked} images to spare; {validation} are set apart instead"
            );
        }
        let split = found.split(validation, recipe.seed).context("data.validation")?;
        let layers = lossmith_nets::preset(&recipe.train.net).ok_or_else(|| {
            anyhow!("train.net: there is no '{}'; there is: {}", recipe.train.net, lossmith_nets::PRESETS.join(", "))
        })?;
        let mean_and_sd = scale(&split.train);
        let classes = split.classes.len();
        let train = dataset(&split.train, classes, &mean_and_sd)?;
        let validation = dataset(&split.validation, classes, &mean_and_sd)?;
        let test = dataset(&split.test, classes, &mean_and_sd)?;
        let (crop, shape) = (recipe.train.crop, validation.shape());
        ensure!(
            crop == 0 || crop < shape.height.min(shape.width),
            "train.crop: expected less than the side of the images, {} x {}, found {crop}",
            shape.height,
            shape.width
        );
        lossmith_nets::Network::new(&layers, validation.shape(), classes).context("train.net")?;
        let precision = recipe.train.precision;
        if precision == Precision::Bf16 && precision.unit().is_none() {
            tracing::warn!("this processor has neither AMX nor AVX512-BF16: training in f32 instead of bf16");
        }
        Ok(Self { recipe: recipe.clone(), layers, split, train, validation, test, mean_and_sd, data })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.split.classes.len()
    }

    /// How many images there are to train on.
    pub fn training_images(&self) -> usize {
        self.split.train.len()
    }

    /// Does the trials, those that can share their batches in lock-step. `None` for a trial that was stopped on request.
    pub fn evaluate(&self, trials: &[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (i, trial) in trials.iter().enumerate() {
            match groups.iter_mut().find(|group| shares(&trials[group[0]], trial)) {
                Some(group) => group.push(i),
                None => groups.push(vec![i]),
            }
        }
        let done = groups.par_iter().map(|group| {
            let members: Vec<&Trial> = group.iter().map(|i| &trials[*i]).collect();
            self.lock_step(&members)
        });
        let mut outcomes = vec![None; trials.len()];
        for (group, done) in groups.iter().zip(done.collect::<anyhow::Result<Vec<_>>>()?) {
            for (i, outcome) in group.iter().zip(done) {
                outcomes[*i] = outcome;
            }
        }
        Ok(outcomes)
    }

    /// Does one trial and gives the trained parameters as safetensors bytes.
    /// `progress` hears of every step.
    pub fn train(&self, trial: &Trial, progress: &mut dyn FnMut(usize)) -> anyhow::Result<(Option<Outcome>, Vec<u8>)> {
        let mut outcomes = self.train_together(&[trial], progress)?;
        let outcome = outcomes.pop().context("one trial has one outcome")?;
        let tensors = outcome.weights.iter().map(|w| {
            let array = ArrayD::from_shape_vec(IxDyn(&w.shape), w.values.clone())?;
            Ok((w.name.clone(), Tensor::F32(array)))
        });
        let tensors: Vec<(String, Tensor)> = tensors.collect::<anyhow::Result<_>>()?;
        let bytes = tensors::to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        Ok((told(outcome), bytes))
    }

    fn lock_step(&self, trials: &[&Trial]) -> anyhow::Result<Vec<Option<Outcome>>> {
        Ok(self.train_together(trials, &mut |_| {})?.into_iter().map(told).collect())
    }

    /// Trials of one seed, length, part and training size.
    fn train_together(
        &self,
        trials: &[&Trial],
        progress: &mut dyn FnMut(usize),
    ) -> anyhow::Result<Vec<lossmith_nets::Outcome>> {
        let losses = trials.iter().map(|t| class_loss(&t.loss)).collect::<anyhow::Result<Vec<_>>>()?;
        let functions: Vec<_> = losses
            .iter()
            .map(|loss| {
                move |logits: &[f32], labels: &[u32], classes: usize, grad: &mut [f32]| {
                    loss.value_and_gradient(logits, labels, classes, grad)
                }
            })
            .collect();
        let candidates: Vec<Candidate<'_>> = functions
            .iter()
            .zip(trials)
            .map(|(f, trial)| Candidate { loss: f, rate: trial.rate.map(|r| r as f32), penalty: None })
            .collect();
        let fewer = trials[0].train_size.map(|size| self.training_set(size)).transpose()?;
        let judged = match trials[0].part {
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        };
        let data = Data { train: fewer.as_ref().unwrap_or(&self.train), validation: judged, test: None };
        let mut watch = |event: Event| {
            if let Event::Step(step) = event {
                progress(step);
            }
            if interrupt::asked() { Control::Stop } else { Control::Continue }
        };
        Ok(lossmith_nets::train(&self.layers, data, &self.engine_recipe(trials[0]), &candidates, &mut watch)?)
    }

    fn training_set(&self, size: u32) -> anyhow::Result<Dataset> {
        let fewer = self.split.train.first(size as usize).context("--train-size")?;
        dataset(&fewer, self.classes(), &self.mean_and_sd)
    }

    fn engine_recipe(&self, trial: &Trial) -> lossmith_nets::Recipe {
        let t = &self.recipe.train;
        let factor = |k: usize| (t.rate_factor as f32).powi(k as i32 + 1);
        lossmith_nets::Recipe {
            steps: trial.steps as usize,
            batch: t.batch,
            rate: t.rate as f32,
            rate_steps: t.rate_steps.iter().enumerate().map(|(k, step)| (*step as usize, factor(k))).collect(),
            momentum: t.momentum as f32,
            weight_decay: t.weight_decay as f32,
            augment: Augment { shift: t.crop, flip: t.flip },
            precision: t.precision,
            eval_every: t.eval_every as usize,
            floor: trial.floor.map(|(step, accuracy)| (step as usize, accuracy)),
            // Replicates of one study, and the same replicate of two studies, have streams of their own.
            seed: self.recipe.seed.wrapping_mul(1_000_003).wrapping_add(trial.seed),
        }
    }
}

fn shares(a: &Trial, b: &Trial) -> bool {
    (a.seed, a.steps, a.part, a.train_size, a.floor) == (b.seed, b.steps, b.part, b.train_size, b.floor)
}

fn told(outcome: lossmith_nets::Outcome) -> Option<Outcome> {
    let steps = outcome.steps as u32;
    let curve = outcome.points.iter().map(|p| (p.step as u32, p.accuracy)).collect();
    match outcome.end {
        lossmith_nets::End::Done => {
            Some(Outcome { end: End::Done, accuracy: outcome.validation.unwrap_or(0.0), steps, curve })
        }
        lossmith_nets::End::Diverged => Some(Outcome { curve, ..Outcome::without_score(End::Diverged, steps) }),
        lossmith_nets::End::GivenUp => {
            Some(Outcome { curve, ..Outcome::without_score(End::Rejected("floor".to_owned()), steps) })
        }
        lossmith_nets::End::Stopped => None,
    }
}

/// A loss that a classifier can be trained with.
pub fn class_loss(text: &str) -> anyhow::Result<ClassLoss> {
    let spec = Spec::parse(text)?;
    ClassLoss::from_spec(&spec).with_context(|| format!("{text}: a classifier cannot be trained with it"))
}

/// The user's data, or generated digits.
fn load(recipe: &Recipe, data: Option<&Path>) -> anyhow::Result<(Classification, String)> {
    let d = &recipe.data;
    match data {
        Some(path) => {
            let found = folder::classification(path)?;
            let words = format!("{}, {} training images", folder::recognise(path)?.name, found.train.len());
            Ok((found, words))
        }
        None => {
            let found = make::digits::make(d.digits_train, d.digits_test, recipe.seed)?;
            Ok((found, format!("generated digits, {} training and {} test images", d.digits_train, d.digits_test)))
        }
    }
}

/// Grey images stay in 0 to 1; colour images are normalised channel by channel, as published for CIFAR-10.
fn scale(train: &LabelledImages) -> Vec<(f64, f64)> {
    match train.shape().channels {
        1 => vec![(0.0, 1.0)],
        _ => train.mean_and_sd().into_iter().map(|(mean, sd)| (mean, sd.max(1e-6))).collect(),
    }
}

fn dataset(images: &LabelledImages, classes: usize, mean_and_sd: &[(f64, f64)]) -> anyhow::Result<Dataset> {
    let s = images.shape();
    let shape = Shape { height: s.height, width: s.width, channels: s.channels };
    Ok(Dataset::new(shape, classes, images.pixels(), images.labels(), mean_and_sd)?)
}
