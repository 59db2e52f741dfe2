//! Training: batches of images, their sampled pairs in one forward pass, one loss over them.
//!
//! As published with `Optimizer::Sgd`: momentum 0.9, weight decay, a warm-up of 500 steps from a third, the rate divided by ten after two
//! thirds and after eight ninths of the steps. Free choices: Adam with a rate that falls linearly to 0 needs fewer epochs; the loss is that of
//! the pairs of all images of a batch together, where the released code averages the images'; biases have the rate of weights; the frequency
//! table changes in the rows that a batch meets alone.

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use lossmith::loss::{Inputs, Loss};
use ndarray::{ArrayD, IxDyn};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ReldnError;
use super::example::{Example, show};
use super::model::{Config, Reldn};
use super::sampling::{Row, Sampling, sample};
use super::table::Table;
use crate::bridge::{hang, to_array};

/// How weights are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// The rate falls linearly to 0.
    Adam,
    /// As published.
    Sgd,
}

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Passes over the images.
    pub epochs: usize,
    /// Images of a step.
    pub batch: usize,
    /// How weights are changed.
    pub optimizer: Optimizer,
    /// The step size at the start.
    pub rate: f64,
    /// The share of the step size that the frequency table has; 0 keeps it as it was counted. 1 as published; Adam, whose steps do not
    /// shrink with the gradient, needs less for rows that are seldom met.
    pub table: f64,
    /// The weight decay.
    pub decay: f64,
    /// Which pairs are trained on.
    pub sampling: Sampling,
    /// Decides all randomness.
    pub seed: u64,
}

/// Random numbers of orders and of samples have their own streams, so that they do not depend on the model.
const ORDERS: u64 = 1;
const SAMPLES: u64 = 2;
/// The steps of the warm-up, and the share of the rate at its start.
const WARM_UP: f64 = 500.0;
const WARM_UP_START: f64 = 1.0 / 3.0;

/// A model in training.
pub struct Trainer<'a> {
    model: Reldn,
    /// The frequency tables of the heads, which the model gets back at the end.
    tables: Vec<Table>,
    config: Config,
    settings: Settings,
    loss: &'a dyn Loss,
    optimizer: ModuleOptimizer,
    device: Device,
    order: ChaCha8Rng,
    done: usize,
    step: usize,
}

/// What an epoch came to, as means over its steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Epochs done.
    pub epoch: usize,
    /// The loss, summed over the heads.
    pub loss: f64,
    /// Its named parts.
    pub parts: std::collections::BTreeMap<String, f64>,
}

impl<'a> Trainer<'a> {
    /// Training of a fresh model from `config.init` on `Device::flex().autodiff()`; `loss` is a graphical contrastive one.
    pub fn new(model: Reldn, config: Config, settings: Settings, loss: &'a dyn Loss) -> Self {
        let decay = (settings.decay > 0.0).then(|| WeightDecayConfig::new(settings.decay as f32));
        let optimizer = match settings.optimizer {
            Optimizer::Adam => AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).init(),
            Optimizer::Sgd => {
                let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
                SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(decay).init()
            }
        };
        let mut order = ChaCha8Rng::seed_from_u64(settings.seed);
        order.set_stream(ORDERS);
        let tables = model.tables().into_iter().map(|(numbers, columns)| Table::new(numbers, columns)).collect();
        Self {
            model,
            tables,
            config,
            settings,
            loss,
            optimizer,
            device: Device::flex().autodiff(),
            order,
            done: 0,
            step: 0,
        }
    }

    /// The model as it is now, without a tape.
    pub fn model(&self) -> Reldn {
        let tables: Vec<&[f32]> = self.tables.iter().map(|t| t.numbers.as_slice()).collect();
        self.model.valid().with_tables(&tables)
    }

    /// One pass over the images in random order; `go_on` is asked before each step, and ends the pass with `None`.
    ///
    /// # Errors
    /// The loss refuses the logits because they are no longer finite; a picture that cannot be read.
    pub fn epoch(
        &mut self,
        examples: &[Example],
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Progress>, ReldnError> {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.shuffle(&mut self.order);
        let mut progress = Progress::default();
        let batches = order.len().div_ceil(self.settings.batch.max(1));
        for batch in order.chunks(self.settings.batch.max(1)) {
            if !go_on() {
                return Ok(None);
            }
            let rate = self.rate(batches);
            self.step(examples, batch, rate, &mut progress)?;
        }
        self.done += 1;
        progress.epoch = self.done;
        progress.loss /= batches.max(1) as f64;
        progress.parts.values_mut().for_each(|v| *v /= batches.max(1) as f64);
        Ok(Some(progress))
    }

    fn step(
        &mut self,
        examples: &[Example],
        batch: &[usize],
        rate: f64,
        progress: &mut Progress,
    ) -> Result<(), ReldnError> {
        let sampled: Vec<Vec<Row>> = batch
            .par_iter()
            .map(|&at| {
                // A stream of its own for each image and epoch, so that they can be sampled in parallel.
                let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed ^ (self.done as u64) << 32);
                rng.set_stream(SAMPLES << 32 | at as u64);
                sample(&examples[at].graph, &self.settings.sampling, &mut rng)
            })
            .collect();
        self.step += 1;
        if sampled.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let pairs: Vec<Vec<[u32; 2]>> =
            sampled.iter().map(|rows| rows.iter().map(|r| [r.subject, r.object]).collect()).collect();
        let shown: Vec<(&Example, &[[u32; 2]])> =
            batch.iter().zip(&pairs).map(|(&at, pairs)| (&examples[at], pairs.as_slice())).collect();
        let mut shown = show(&shown, &self.config, &self.device)?;
        let mut rows = shown.classes.clone();
        rows.sort_unstable();
        rows.dedup();
        shown.classes.iter_mut().for_each(|class| *class = rows.partition_point(|row| row < class) as i32);
        let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
        let tables: Vec<Tensor<2>> = self.tables.iter().map(|table| table.rows(&rows, &self.device)).collect();
        let logits = self.model.forward_with(shown, &tables);
        let graphs: Vec<&Example> = batch.iter().map(|&at| &examples[at]).collect();
        let columns = Columns::new(&graphs, &sampled);
        let mut total: Option<Tensor<1>> = None;
        for (logits, own) in logits.into_iter().zip(self.config.heads()) {
            let inputs = columns.inputs(to_array(&logits), &own);
            let evaluation = self.loss.evaluate(&inputs).map_err(|e| ReldnError::Step { step: self.step, cause: e })?;
            progress.loss += evaluation.value;
            for (name, part) in &evaluation.parts {
                *progress.parts.entry((*name).to_owned()).or_default() += part;
            }
            let term = hang(logits, evaluation.value, evaluation.grad.iter().copied().collect());
            total = Some(total.map_or_else(|| term.clone(), |sum| sum + term.clone()));
        }
        if let Some(total) = total {
            let gradients = total.backward();
            for (table, tensor) in self.tables.iter_mut().zip(&tables) {
                if let Some(gradient) = tensor.grad(&gradients) {
                    let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
                    table.step(
                        &rows,
                        &gradient,
                        self.settings.optimizer,
                        rate * self.settings.table,
                        self.settings.decay,
                    );
                }
            }
            let gradients = GradientsParams::from_grads(gradients, &self.model);
            self.model = self.optimizer.step(rate, self.model.clone(), gradients);
        }
        Ok(())
    }

    /// The step size of the coming step.
    fn rate(&self, batches: usize) -> f64 {
        let steps = (batches * self.settings.epochs).max(1) as f64;
        let share = self.step as f64 / steps;
        let factor = match self.settings.optimizer {
            Optimizer::Adam => (1.0 - share).max(0.01),
            Optimizer::Sgd => {
                // Short trainings warm up for a tenth of their steps.
                let warm = (self.step as f64 / WARM_UP.min(0.1 * steps).max(1.0)).min(1.0);
                let fallen = [2.0 / 3.0, 8.0 / 9.0].into_iter().filter(|at| share >= *at).count();
                (WARM_UP_START + (1.0 - WARM_UP_START) * warm) * 0.1f64.powi(fallen as i32)
            }
        };
        self.settings.rate * factor
    }
}

/// What the loss reads of the rows of a batch; entities are counted through its images.
struct Columns {
    subject: Vec<i64>,
    object: Vec<i64>,
    subject_class: Vec<i64>,
    object_class: Vec<i64>,
    predicate: Vec<u32>,
    lists: Vec<i64>,
}

impl Columns {
    fn new(examples: &[&Example], sampled: &[Vec<Row>]) -> Self {
        let mut columns = Self {
            subject: vec![],
            object: vec![],
            subject_class: vec![],
            object_class: vec![],
            predicate: vec![],
            lists: vec![],
        };
        let mut first = 0;
        for (example, rows) in examples.iter().zip(sampled) {
            let class = |node: u32| i64::from(example.graph.labels[node as usize]);
            for row in rows {
                columns.subject.push(first + i64::from(row.subject));
                columns.object.push(first + i64::from(row.object));
                columns.subject_class.push(class(row.subject));
                columns.object_class.push(class(row.object));
                columns.predicate.push(row.predicate);
                columns.lists.push(row.lists);
            }
            first += example.graph.boxes.len() as i64;
        }
        columns
    }

    /// With the logits of a head, for which predicates of other heads are none.
    fn inputs(&self, logits: ArrayD<f32>, own: &[u32]) -> Inputs {
        let column = |numbers: Vec<i64>| {
            let rows = numbers.len();
            ArrayD::from_shape_vec(IxDyn(&[rows]), numbers).expect("as many numbers as rows")
        };
        let in_head = |p: &u32| own.iter().position(|q| q == p).map_or(0, |at| at as i64 + 1);
        Inputs::new()
            .with("logits", logits)
            .with("subject", column(self.subject.clone()))
            .with("object", column(self.object.clone()))
            .with("subject_class", column(self.subject_class.clone()))
            .with("object_class", column(self.object_class.clone()))
            .with("predicate", column(self.predicate.iter().map(in_head).collect()))
            .with("lists", column(self.lists.clone()))
    }
}
