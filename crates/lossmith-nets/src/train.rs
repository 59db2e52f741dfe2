//! Training of many candidates in lock-step: the same batches from the same weights, each with a loss of its own.

use std::sync::{Mutex, PoisonError};

use lossmith::loss::ClassLoss;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::NetsError;
use crate::dataset::{Augment, Dataset, Feeder};
use crate::kernel::bf16::Precision;
use crate::kernel::softmax;
use crate::network::{Network, Stage};
use crate::pass::{Batch, Pass};
use crate::sgd::{self, Pull};
use crate::weights::{self, Weights};
use crate::{Layer, Model};

/// Batches made at once hold about so many values: few enough to stay in the cache that the cores share.
const BATCH_VALUES: usize = 1 << 19;
/// Images judged at once.
const JUDGED: usize = 250;

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Steps of gradient descent.
    pub steps: usize,
    /// Images per step; all training images where there are fewer.
    pub batch: usize,
    /// Learning rate.
    pub rate: f32,
    /// The rate is multiplied by the factor from the step on: `(step, factor)`.
    pub rate_steps: Vec<(usize, f32)>,
    /// Momentum; 0 for plain gradient descent.
    pub momentum: f32,
    /// Weight decay, as a multiple of every parameter that is added to its gradient.
    pub weight_decay: f32,
    /// Random changes of the training images.
    pub augment: Augment,
    /// How exactly the operands of products are kept, in training and judging; weights and sums are f32.
    pub precision: Precision,
    /// Validation accuracy is measured every so many steps; 0: only at the end.
    pub eval_every: usize,
    /// A candidate below the validation accuracy at the step is given up: `(step, accuracy)`.
    pub floor: Option<(usize, f64)>,
    /// Seed of weights, order of images, dropout and augmentation.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            steps: 2_000,
            batch: 100,
            rate: 0.01,
            rate_steps: Vec::new(),
            momentum: 0.0,
            weight_decay: 0.0,
            augment: Augment::default(),
            precision: Precision::default(),
            eval_every: 0,
            floor: None,
            seed: 0,
        }
    }
}

/// A weight penalty that is added to the loss: structural risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// `lambda * sum |w|` over the weights (not the biases); slope 0 at 0.
    L1(f32),
    /// `lambda * sum w^2` over the weights (not the biases).
    L2(f32),
}

/// What a candidate minimises: a class loss, or a function of the same arguments.
pub trait BatchLoss: Sync {
    /// The mean loss of a batch of logits (row by row, `classes` wide), and its gradient into `gradient`.
    fn value_and_gradient(&self, logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64;
}

impl BatchLoss for ClassLoss {
    fn value_and_gradient(&self, logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64 {
        self.value_and_gradient(logits, labels, classes, gradient)
    }
}

impl<F: Fn(&[f32], &[u32], usize, &mut [f32]) -> f64 + Sync> BatchLoss for F {
    fn value_and_gradient(&self, logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64 {
        self(logits, labels, classes, gradient)
    }
}

/// One of the trainings that run in lock-step.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// What it minimises.
    pub loss: &'a dyn BatchLoss,
    /// Its own learning rate, instead of the recipe's.
    pub rate: Option<f32>,
    /// A penalty on its weights.
    pub penalty: Option<Penalty>,
}

impl<'a> Candidate<'a> {
    /// A loss at the recipe's rate, without penalty.
    pub fn new(loss: &'a dyn BatchLoss) -> Self {
        Self { loss, rate: None, penalty: None }
    }
}

/// The images a training reads, and is judged on.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Trained on.
    pub train: &'a Dataset,
    /// Judged on while training and at the end.
    pub validation: &'a Dataset,
    /// Judged on once, at the end.
    pub test: Option<&'a Dataset>,
}

/// How a training stands at a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// Mean training loss of the batches since the last point, without penalty.
    pub loss: f64,
    /// Share of the validation images that are answered right.
    pub accuracy: f64,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All steps done.
    Done,
    /// The loss, its gradient or a weight was not finite at the last step.
    Diverged,
    /// Below the recipe's floor.
    GivenUp,
    /// Stopped from outside.
    Stopped,
}

/// What came of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The course of the training: one point for every `eval_every` steps, and one at the end.
    pub points: Vec<Point>,
    /// Final validation accuracy; none if it diverged or was stopped.
    pub validation: Option<f64>,
    /// Final test accuracy, where there are test images and a validation accuracy.
    pub test: Option<f64>,
    /// Steps done, the one that diverged included.
    pub steps: usize,
    /// How it ended.
    pub end: End,
    /// The parameters at the end, as PyTorch lays them out.
    pub weights: Weights,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop: the training(s) end as [`End::Stopped`].
    Stop,
}

/// What a watcher is told, between steps and always from the same thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// All candidates that still run have done so many steps. `Stop` stops them all.
    Step(usize),
    /// A candidate was judged. `Stop` stops this one.
    Judged(usize, Point),
}

/// Trains the candidates in lock-step, from the weights of the recipe's seed. What comes of one depends neither on the
/// others nor on the number of threads.
///
/// # Errors
/// A network that does not fit the images, data that do not fit together, a setting that training cannot take.
pub fn train(
    layers: &[Layer],
    data: Data<'_>,
    recipe: &Recipe,
    candidates: &[Candidate<'_>],
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<Vec<Outcome>, NetsError> {
    Model::new(layers, data.train.shape(), data.train.classes(), recipe.seed)?.train(data, recipe, candidates, watch)
}

/// The same from given weights.
pub(crate) fn train_from(
    network: &Network,
    start: &[f32],
    data: Data<'_>,
    recipe: &Recipe,
    candidates: &[Candidate<'_>],
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<Vec<Outcome>, NetsError> {
    check(network, data, recipe, candidates)?;
    let network = &network.clone().at(recipe.precision);
    let mut runs: Vec<Run<'_>> = candidates.iter().map(|c| Run::new(*c, recipe, start)).collect();
    let trainer = Trainer { network, recipe, pulls: pulls(network), passes: Mutex::default() };
    let mut feeder = Feeder::new(data.train, network, recipe.augment, recipe.batch, recipe.seed);
    let most = (BATCH_VALUES / feeder.values()).clamp(1, 32);
    let (mut batches, mut next) = (Vec::new(), Vec::new());
    let mut step = 0;
    fill(&mut feeder, &mut batches, pause(recipe, step, most) - step);
    while step < recipe.steps && runs.iter().any(Run::goes_on) {
        let to = pause(recipe, step, most);
        let after = if to < recipe.steps { pause(recipe, to, most) - to } else { 0 };
        let running = runs.par_iter_mut().filter(|r| r.goes_on());
        // While the candidates train, somebody makes the next batches.
        rayon::join(
            || running.for_each(|run| trainer.run(run, step, &batches)),
            || fill(&mut feeder, &mut next, after),
        );
        std::mem::swap(&mut batches, &mut next);
        step = to;
        if is_judged(recipe, step) {
            trainer.judge(&mut runs, step, data.validation, watch);
        }
        if watch(Event::Step(step)) == Control::Stop && step < recipe.steps {
            runs.iter_mut().filter(|r| r.goes_on()).for_each(|r| r.end = Some(End::Stopped));
        }
    }
    Ok(runs.into_par_iter().map(|run| trainer.finish(run, data.test)).collect())
}

fn check(network: &Network, data: Data<'_>, recipe: &Recipe, candidates: &[Candidate<'_>]) -> Result<(), NetsError> {
    let parts = [("training", Some(data.train)), ("validation", Some(data.validation)), ("test", data.test)];
    for (name, part) in parts {
        let Some(part) = part else { continue };
        let (shape, input) = (part.shape(), &network.input);
        if (shape.height, shape.width, shape.channels) != (input.height, input.width, input.channels) {
            let message = format!(
                "the network takes {} x {} x {}, {name} images are {} x {} x {}",
                input.height, input.width, input.channels, shape.height, shape.width, shape.channels
            );
            return Err(NetsError::Data(message));
        }
        if part.classes() != network.classes {
            let message = format!("the network has {} classes, {name} has {}", network.classes, part.classes());
            return Err(NetsError::Data(message));
        }
    }
    let rates = candidates.iter().filter_map(|c| c.rate).chain([recipe.rate]);
    let penalties = candidates.iter().filter_map(|c| c.penalty).map(|(Penalty::L1(v) | Penalty::L2(v))| v);
    let numbers = [("momentum", recipe.momentum), ("weight_decay", recipe.weight_decay)].into_iter();
    let numbers = numbers.chain(rates.map(|r| ("rate", r))).chain(penalties.map(|p| ("penalty", p)));
    let factors = recipe.rate_steps.iter().map(|(_, factor)| ("rate_steps", *factor));
    for (name, value) in numbers.chain(factors) {
        if !(value.is_finite() && value >= 0.0) {
            return Err(NetsError::Recipe(format!("{name}: expected a number that is not below 0, found {value}")));
        }
    }
    let (shift, side) = (recipe.augment.shift, network.input.height.min(network.input.width));
    if shift > 0 && shift >= side {
        return Err(NetsError::Recipe(format!(
            "augment.shift: expected less than the images' side of {side}, found {shift}"
        )));
    }
    for (name, value) in [("steps", recipe.steps), ("batch", recipe.batch)] {
        if value == 0 {
            return Err(NetsError::Recipe(format!("{name}: expected at least 1, found 0")));
        }
    }
    Ok(())
}

/// The step, after `step`, up to which batches are made at once.
fn pause(recipe: &Recipe, step: usize, most: usize) -> usize {
    let mut to = (step + most).min(recipe.steps);
    if let Some(judged) = step.checked_div(recipe.eval_every) {
        to = to.min((judged + 1) * recipe.eval_every);
    }
    match recipe.floor {
        Some((at, _)) if at > step => to.min(at),
        _ => to,
    }
}

fn is_judged(recipe: &Recipe, step: usize) -> bool {
    let due = recipe.eval_every > 0 && step.is_multiple_of(recipe.eval_every);
    due || step == recipe.steps || recipe.floor.is_some_and(|(at, _)| at == step)
}

fn fill(feeder: &mut Feeder<'_>, batches: &mut Vec<Batch>, count: usize) {
    batches.resize_with(count, Batch::default);
    batches.iter_mut().for_each(|batch| feeder.fill(batch));
}

/// Ranges of parameters, and whether they are weights (which a penalty concerns) or biases.
fn pulls(network: &Network) -> Vec<(std::ops::Range<usize>, bool)> {
    let features = network.features.iter().filter_map(|stage| match stage {
        Stage::Conv { weights, bias, .. } => Some((weights.clone(), bias.clone())),
        Stage::Pool(_) => None,
    });
    let head = network.head.iter().map(|d| (d.weights.clone(), d.bias.clone()));
    features.chain(head).flat_map(|(weights, bias)| [(weights, true), (bias, false)]).collect()
}

/// A candidate on its way.
struct Run<'a> {
    candidate: Candidate<'a>,
    rate: f32,
    parameters: Vec<f32>,
    /// Empty without momentum.
    velocity: Vec<f32>,
    /// Sum of the losses since the last point, and of how many steps.
    loss: (f64, usize),
    points: Vec<Point>,
    steps: usize,
    end: Option<End>,
}

impl<'a> Run<'a> {
    fn new(candidate: Candidate<'a>, recipe: &Recipe, start: &[f32]) -> Self {
        Self {
            candidate,
            rate: candidate.rate.unwrap_or(recipe.rate),
            parameters: start.to_vec(),
            velocity: vec![0.0; if recipe.momentum > 0.0 { start.len() } else { 0 }],
            loss: (0.0, 0),
            points: Vec::new(),
            steps: 0,
            end: None,
        }
    }

    fn goes_on(&self) -> bool {
        self.end.is_none()
    }
}

/// What the candidates share.
struct Trainer<'a> {
    network: &'a Network,
    recipe: &'a Recipe,
    pulls: Vec<(std::ops::Range<usize>, bool)>,
    /// Buffers that nobody uses at the moment: as many as there were threads at work at once.
    passes: Mutex<Vec<Pass>>,
}

impl Trainer<'_> {
    /// Lends buffers for one batch.
    fn with_pass<R>(&self, work: impl FnOnce(&mut Pass) -> R) -> R {
        let free = || self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = free().pop();
        let mut pass = spare.unwrap_or_else(|| Pass::new(self.network));
        let result = work(&mut pass);
        free().push(pass);
        result
    }

    fn run(&self, run: &mut Run<'_>, first: usize, batches: &[Batch]) {
        self.with_pass(|pass| {
            for (batch, step) in batches.iter().zip(first..) {
                run.steps = step + 1;
                if !self.step(run, step, batch, pass) {
                    run.end = Some(End::Diverged);
                    return;
                }
            }
        });
    }

    /// One step of gradient descent. Whether all that it met is finite.
    fn step(&self, run: &mut Run<'_>, step: usize, batch: &Batch, pass: &mut Pass) -> bool {
        pass.forward(self.network, &run.parameters, batch);
        let (logits, gradient) = pass.logits_and_gradient();
        let loss = run.candidate.loss.value_and_gradient(logits, &batch.labels, self.network.classes, gradient);
        if !loss.is_finite() || !gradient.iter().all(|g| g.is_finite()) {
            return false;
        }
        run.loss = (run.loss.0 + loss, run.loss.1 + 1);
        pass.backward(self.network, &run.parameters, batch);
        self.descend(run, step, &pass.gradient)
    }

    fn descend(&self, run: &mut Run<'_>, step: usize, gradient: &[f32]) -> bool {
        let recipe = self.recipe;
        let factors = recipe.rate_steps.iter().filter(|(at, _)| *at <= step).map(|(_, factor)| factor);
        let rate = run.rate * factors.product::<f32>();
        let decay = Pull { l1: 0.0, l2: recipe.weight_decay };
        let penalised = match run.candidate.penalty {
            None => decay,
            Some(Penalty::L1(lambda)) => Pull { l1: lambda, ..decay },
            Some(Penalty::L2(lambda)) => Pull { l2: decay.l2 + 2.0 * lambda, ..decay },
        };
        let mut finite = true;
        for (range, is_weight) in &self.pulls {
            let velocity = run.velocity.get_mut(range.clone()).unwrap_or_default();
            let pull = if *is_weight { penalised } else { decay };
            let parameters = &mut run.parameters[range.clone()];
            finite &= sgd::update(parameters, velocity, &gradient[range.clone()], rate, recipe.momentum, pull);
        }
        finite
    }

    /// Adds a point to each training that goes on; gives up those below the floor.
    fn judge(&self, runs: &mut [Run<'_>], step: usize, images: &Dataset, watch: &mut dyn FnMut(Event) -> Control) {
        runs.par_iter_mut().filter(|r| r.goes_on()).for_each(|run| {
            let accuracy = self.accuracy(&run.parameters, images);
            let (sum, steps) = std::mem::take(&mut run.loss);
            run.points.push(Point { step, loss: sum / steps.max(1) as f64, accuracy });
            run.end = match self.recipe.floor {
                Some((at, least)) if at == step && accuracy < least => Some(End::GivenUp),
                _ => (step == self.recipe.steps).then_some(End::Done),
            };
        });
        for (number, run) in runs.iter_mut().enumerate() {
            let Some(point) = run.points.last().filter(|p| p.step == step) else { continue };
            if watch(Event::Judged(number, *point)) == Control::Stop && run.goes_on() {
                run.end = Some(End::Stopped);
            }
        }
    }

    /// The share of images that are answered right; an answer that is not a number is wrong.
    fn accuracy(&self, parameters: &[f32], images: &Dataset) -> f64 {
        let starts: Vec<usize> = (0..images.len()).step_by(JUDGED).collect();
        let correct = |&start: &usize| {
            let batch = images.batch(start..(start + JUDGED).min(images.len()), &self.network.input);
            self.with_pass(|pass| {
                let logits = pass.forward(self.network, parameters, &batch);
                softmax::correct(logits, &batch.labels, self.network.classes)
            })
        };
        starts.par_iter().map(correct).sum::<usize>() as f64 / images.len() as f64
    }

    fn finish(&self, run: Run<'_>, test: Option<&Dataset>) -> Outcome {
        let end = run.end.unwrap_or(End::Stopped);
        let judged = matches!(end, End::Done | End::GivenUp);
        Outcome {
            validation: run.points.last().filter(|_| judged).map(|p| p.accuracy),
            test: test.filter(|_| judged).map(|test| self.accuracy(&run.parameters, test)),
            weights: weights::export(self.network, &run.parameters),
            points: run.points,
            steps: run.steps,
            end,
        }
    }
}
