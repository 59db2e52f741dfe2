//! Forward and backward through a network for one batch.
//!
//! The batch is cut into a fixed number of shards, whatever the number of threads: each runs its images through the
//! features, a group at a time, and sums its own gradients, which are then added in the order of the shards. So a
//! batch may use several threads and ends in the same bits on one.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::conv::{Conv, Layout, Packed, Scratch};
use crate::kernel::dense::{self, Products};
use lossmith::simd::widest;

use crate::kernel::dropout;
use crate::network::{Network, Stage};

/// The parts of a batch that may run on different threads.
const SHARDS: usize = 4;

/// What a network learns from: images in the layout of its input, labels, and a dropout mask for each layer that drops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub images: Vec<f32>,
    pub labels: Vec<u32>,
    pub masks: Vec<Vec<f32>>,
}

/// Buffers for one batch on its way through a network.
#[derive(Debug)]
pub(crate) struct Pass {
    panels: Vec<(Packed, Packed)>,
    scratch: Scratch,
    head_scratch: dense::Scratch,
    shards: Vec<Shard>,
    /// What goes into each layer of the head, and the logits. Without features, the first layer reads the images.
    head: Vec<Vec<f32>>,
    /// Their gradients.
    head_gradients: Vec<Vec<f32>>,
    /// The gradient of all parameters.
    pub gradient: Vec<f32>,
}

/// One part of a batch: what each stage of the features hands on, and the gradients on their way back.
#[derive(Debug, Default)]
struct Shard {
    /// Each stage's output: of all images, or of one group where pooling follows, which does not need it again.
    outputs: Vec<Vec<f32>>,
    places: Vec<Vec<u8>>,
    /// The gradient of each stage's output, of one group.
    gradients: Vec<Vec<f32>>,
    parameters: Vec<f32>,
    /// The gradient of each stage's bias while it is summed.
    biases: Vec<Vec<f64>>,
    scratch: Scratch,
}

impl Pass {
    pub fn new(network: &Network) -> Self {
        let stages = network.features.len();
        let shard = || Shard {
            outputs: vec![Vec::new(); stages],
            places: vec![Vec::new(); stages],
            gradients: network.features.iter().map(|s| vec![0.0; network.group * s.gradient().len()]).collect(),
            parameters: vec![0.0; network.feature_parameters],
            biases: network.features.iter().map(|s| vec![0.0; s.biases().len()]).collect(),
            scratch: Scratch::default(),
        };
        let shards = if stages > 0 { SHARDS } else { 0 };
        Self {
            panels: vec![Default::default(); stages],
            scratch: Scratch::default(),
            head_scratch: dense::Scratch::default(),
            shards: (0..shards).map(|_| shard()).collect(),
            head: vec![Vec::new(); network.head.len() + 1],
            head_gradients: vec![Vec::new(); network.head.len() + 1],
            gradient: vec![0.0; network.parameters()],
        }
    }

    /// The logits of a batch. With masks, values are dropped as when training; without, none are.
    pub fn forward(&mut self, network: &Network, parameters: &[f32], batch: &Batch) -> &[f32] {
        let images = batch.labels.len();
        for (stage, panels) in network.features.iter().zip(&mut self.panels) {
            if let Stage::Conv { conv, weights, .. } = stage {
                conv.pack_forward(&parameters[weights.clone()], &mut panels.0, &mut self.scratch);
            }
        }
        if !network.features.is_empty() {
            let size = images.div_ceil(SHARDS);
            let values = network.feature_values();
            self.head[0].resize(images * values, 0.0);
            let parts = batch.images.par_chunks(size * network.input.len());
            let outs = self.head[0].par_chunks_mut(size * values);
            let panels = &self.panels;
            (&mut self.shards, parts, outs)
                .into_par_iter()
                .for_each(|(shard, part, out)| shard.forward(network, parameters, panels, part, out));
        }
        self.forward_head(network, parameters, batch);
        &self.head[network.head.len()]
    }

    fn forward_head(&mut self, network: &Network, parameters: &[f32], batch: &Batch) {
        let images = batch.labels.len();
        let mut masks = batch.masks.iter();
        for (i, layer) in network.head.iter().enumerate() {
            let [input, output] = &mut self.head[i..i + 2] else { unreachable!("one more buffer than layers") };
            let input = if i == 0 && network.features.is_empty() { &batch.images } else { input };
            output.resize(images * layer.outputs, 0.0);
            let products = Products::new(images, layer.inputs, layer.outputs, network.unit);
            products.forward(input, &parameters[layer.weights.clone()], output, &mut self.head_scratch);
            dense::add_bias(output, &parameters[layer.bias.clone()], layer.relu);
            if let Some(mask) = layer.dropout.and_then(|_| masks.next()) {
                dropout::apply(output, mask);
            }
        }
    }

    /// From the gradient of the logits to `self.gradient`, after [`forward`](Self::forward) of the same batch.
    pub fn backward(&mut self, network: &Network, parameters: &[f32], batch: &Batch) {
        self.backward_head(network, parameters, batch);
        if network.features.is_empty() {
            return;
        }
        for (stage, panels) in network.features.iter().zip(&mut self.panels).skip(1) {
            if let Stage::Conv { conv, weights, .. } = stage {
                conv.pack_backward(&parameters[weights.clone()], &mut panels.1, &mut self.scratch);
            }
        }
        let size = batch.labels.len().div_ceil(SHARDS);
        let values = network.feature_values();
        let parts = batch.images.par_chunks(size * network.input.len());
        let (outs, gradients) =
            (self.head[0].par_chunks(size * values), self.head_gradients[0].par_chunks(size * values));
        let panels = &self.panels;
        (&mut self.shards, parts, outs, gradients)
            .into_par_iter()
            .for_each(|(shard, part, out, gradient)| shard.backward(network, panels, part, out, gradient));
        let used = batch.labels.len().div_ceil(size);
        // Piece by piece: so the sums stay in the cache.
        const PIECE: usize = 4096;
        for (number, sum) in self.gradient[..network.feature_parameters].chunks_mut(PIECE).enumerate() {
            sum.fill(0.0);
            for shard in &self.shards[..used] {
                let parameters = &shard.parameters[number * PIECE..][..sum.len()];
                widest(
                    #[inline(always)]
                    || sum.iter_mut().zip(parameters).for_each(|(s, p)| *s += p),
                );
            }
        }
    }

    fn backward_head(&mut self, network: &Network, parameters: &[f32], batch: &Batch) {
        let images = batch.labels.len();
        let mut masks = batch.masks.iter().rev();
        for (i, layer) in network.head.iter().enumerate().rev() {
            let [input_gradient, gradient] = &mut self.head_gradients[i..i + 2] else {
                unreachable!("one more buffer than layers")
            };
            if let Some(mask) = layer.dropout.and_then(|_| masks.next()) {
                dropout::apply(gradient, mask);
            }
            if layer.relu {
                // Dropped values are 0 in output and gradient, so the output serves as well as what ReLU made.
                dense::relu_backward(gradient, &self.head[i + 1]);
            }
            let bias = &mut self.gradient[layer.bias.clone()];
            bias.fill(0.0);
            dense::sum_rows(gradient, bias);
            let products = Products::new(images, layer.inputs, layer.outputs, network.unit);
            let scratch = &mut self.head_scratch;
            let input = if i == 0 && network.features.is_empty() { &batch.images } else { &self.head[i] };
            products.backward_weights(input, gradient, &mut self.gradient[layer.weights.clone()], scratch);
            // Nobody asks for the gradient of the images.
            if i > 0 || !network.features.is_empty() {
                input_gradient.resize(images * layer.inputs, 0.0);
                products.backward_input(gradient, &parameters[layer.weights.clone()], input_gradient, scratch);
            }
        }
    }

    /// The gradient of the logits, to be written before [`backward`](Self::backward), and the logits.
    pub fn logits_and_gradient(&mut self) -> (&[f32], &mut Vec<f32>) {
        let (Some(logits), Some(gradient)) = (self.head.last(), self.head_gradients.last_mut()) else {
            unreachable!("a head has a layer")
        };
        gradient.resize(logits.len(), 0.0);
        (logits, gradient)
    }
}

/// The part of a buffer that holds the images of one group.
fn group<'a, T>(values: &'a [T], images: &Range<usize>, size: usize) -> &'a [T] {
    &values[images.start * size..images.end * size]
}

fn group_mut<'a, T>(values: &'a mut [T], images: &Range<usize>, size: usize) -> &'a mut [T] {
    &mut values[images.start * size..images.end * size]
}

/// Ranges of at most `size` out of `0..n`.
fn groups(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(size).map(move |start| start..(start + size).min(n))
}

impl Shard {
    /// Runs images through the features; what comes out last goes to `out`.
    fn forward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        panels: &[(Packed, Packed)],
        images: &[f32],
        out: &mut [f32],
    ) {
        let count = images.len() / network.input.len();
        let stages = &network.features;
        for (i, stage) in stages.iter().enumerate() {
            let kept = if passes_on(stages, i) { network.group } else { count };
            self.outputs[i].resize(kept * stage.output().len(), 0.0);
            if let Stage::Pool(pool) = stage {
                self.places[i].resize(count * pool.places(), 0);
            }
        }
        for range in groups(count, network.group) {
            for (i, stage) in stages.iter().enumerate() {
                let n = range.len();
                let (before, after) = self.outputs.split_at_mut(i);
                let input = match before.last() {
                    None => group(images, &range, network.input.len()),
                    Some(input) if passes_on(stages, i - 1) => input,
                    Some(input) => group(input, &range, stages[i - 1].output().len()),
                };
                let size = stage.output().len();
                let output = if i + 1 == stages.len() {
                    group_mut(out, &range, size)
                } else if passes_on(stages, i) {
                    &mut after[0]
                } else {
                    group_mut(&mut after[0], &range, size)
                };
                match stage {
                    Stage::Conv { conv, relu, bias, .. } => {
                        let bias = &parameters[bias.clone()];
                        conv.forward(n, input, &panels[i].0, bias, *relu, output, &mut self.scratch);
                    }
                    Stage::Pool(pool) => {
                        pool.forward(n, input, output, group_mut(&mut self.places[i], &range, pool.places()));
                    }
                }
            }
        }
    }

    /// Runs the gradient of what came out back through the features, and sums the gradient of their parameters.
    fn backward(
        &mut self,
        network: &Network,
        panels: &[(Packed, Packed)],
        images: &[f32],
        out: &[f32],
        gradient: &[f32],
    ) {
        let stages = &network.features;
        let count = images.len() / network.input.len();
        let Self { outputs, places, gradients, parameters, biases, scratch } = self;
        for range in groups(count, network.group) {
            let n = range.len();
            for (i, stage) in stages.iter().enumerate().rev() {
                let last = i + 1 == stages.len();
                let output = if last { out } else { &outputs[i] };
                let (before, own) = gradients.split_at_mut(i);
                match stage {
                    Stage::Conv { conv, relu, weights, .. } => {
                        let own = &mut own[0];
                        if last {
                            spread(conv, n, group(gradient, &range, conv.output.len()), own);
                        }
                        if *relu {
                            stop_at_zero(conv, n, group(output, &range, conv.output.len()), own);
                        }
                        let input = match i.checked_sub(1) {
                            None => group(images, &range, conv.input.len()),
                            Some(b) => group(&outputs[b], &range, conv.input.len()),
                        };
                        let sums = (&mut parameters[weights.clone()], &mut *biases[i]);
                        conv.backward_weights(n, input, own, range.start == 0, sums, scratch);
                        if let Some(before) = before.last_mut() {
                            conv.backward_input(n, own, &panels[i].1, before, scratch);
                        }
                    }
                    Stage::Pool(pool) => {
                        if let Some(before) = before.last_mut() {
                            let size = pool.output.len();
                            let own = if last { group(gradient, &range, size) } else { &own[0] };
                            let places = group(&places[i], &range, pool.places());
                            pool.backward(n, own, group(output, &range, size), places, before);
                        }
                    }
                }
            }
        }
        for (stage, sums) in stages.iter().zip(biases) {
            parameters[stage.biases()].iter_mut().zip(sums).for_each(|(p, s)| *p = *s as f32);
        }
    }
}

/// Whether a stage's output is only handed on: pooling does not need its input again.
fn passes_on(stages: &[Stage], stage: usize) -> bool {
    matches!(stages.get(stage + 1), Some(Stage::Pool(_)))
}

/// Copies a gradient without margin to where the convolution wants it.
fn spread(conv: &Conv, images: usize, gradient: &[f32], target: &mut [f32]) {
    each_pixel(&conv.output, &conv.gradient, images, |from, to, channels| {
        target[to..to + channels].copy_from_slice(&gradient[from..from + channels]);
    });
}

/// Stops the gradient where ReLU's output is 0.
fn stop_at_zero(conv: &Conv, images: usize, output: &[f32], gradient: &mut [f32]) {
    each_pixel(&conv.output, &conv.gradient, images, |from, to, channels| {
        dense::relu_backward(&mut gradient[to..to + channels], &output[from..from + channels]);
    });
}

/// Calls `f(start in a, start in b, channels)` for each pixel.
fn each_pixel(a: &Layout, b: &Layout, images: usize, mut f: impl FnMut(usize, usize, usize)) {
    for n in 0..images {
        for y in 0..a.height {
            for x in 0..a.width {
                f(n * a.len() + a.at(y, x), n * b.len() + b.at(y, x), a.channels);
            }
        }
    }
}
