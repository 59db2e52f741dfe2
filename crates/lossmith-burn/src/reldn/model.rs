//! The model: semantic, spatial and visual module, whose logits are added.
//!
//! ```text
//! semantic  row (class of subject, class of object) of the frequency table, as published or with a prior, which is trained
//! spatial   28 -> H -> H -> 1+P                            leaky rectifiers of slope 0.1
//! visual    [subject; union; object] 3D -> 3H/2 -> H -> 1+P, and two branches D -> 1+P of subject and of object
//! features  D numbers of a box, from a file, or: backbone -> RoIAlign 7 x 7 -> rectified linear -> linear
//! ```
//!
//! With groups of predicates there is a head for each group, all of the above but the backbone, whose "none" is "none of this
//! group". Their answers are joined into one row: `p` of a predicate is that of its head, "none" the product of the heads' "none", divided by
//! their sum.
//!
//! Left of the published model: its detectors (VGG16, ResNeXt-101) and that subject and object have a body of their own; here one light
//! body is trained along. Its visual logits lose their gradient in later PyTorch, which is no part of the method.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::{leaky_relu, relu};
use lossmith::frequency::Frequency;
use lossmith::graph::Corners;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::example::Seen;
use super::roi_align::{BINS, roi_align};
use super::{ReldnError, geometry};
use crate::conv;

/// What the model is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The number of object classes.
    pub classes: usize,
    /// The number of predicates, "none" left out.
    pub predicates: usize,
    /// Whether there is a semantic module.
    pub semantic: bool,
    /// The weight of the frequency table's prior (`Frequency::smoothed`); 0 for the published table.
    #[serde(default)]
    pub prior: f64,
    /// The hidden width of the spatial module, if there is one.
    pub spatial: Option<usize>,
    /// The visual module, if there is one.
    pub visual: Option<Visual>,
    /// The predicates, from 1, of each head; one head for all where there are no groups.
    #[serde(default)]
    pub groups: Vec<Vec<u32>>,
}

/// The sizes of the visual module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visual {
    /// The length of a feature vector.
    pub width: usize,
    /// The width of its last hidden layer; the published model has that of the features.
    pub hidden: usize,
    /// How features come from a picture; without it they come from a file.
    pub image: Option<Image>,
}

/// How features come from a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The longer side that pictures are brought to, in pixels.
    pub side: usize,
    /// The channels of the backbone, at strides 2 and 4.
    pub channels: [usize; 2],
}

/// Backbone to map, in pixels.
const STRIDE: f64 = 4.0;
/// Of the normalisation.
const GROUPS: usize = 8;

/// What a share with a prior cannot fall below: predicates that neither class was ever seen with.
const PRIOR_FLOOR: f64 = 1e-6;

/// Pairs on the device.
pub struct Shown {
    /// For each of `R` pairs the row of the frequency table.
    pub classes: Vec<i32>,
    /// `[R,28]`
    pub spatial: Option<Tensor<2>>,
    /// What the visual module sees.
    pub look: Option<Look>,
}

/// What the visual module sees of `R` pairs.
pub enum Look {
    /// Feature vectors, `[R,D]` each.
    Vectors {
        /// Of the subjects.
        subject: Tensor<2>,
        /// Of the boxes around both.
        union: Tensor<2>,
        /// Of the objects.
        object: Tensor<2>,
    },
    /// Pictures, the boxes of each followed by the boxes around its pairs, and its pairs.
    Pictures(Vec<(Seen, Vec<Corners>, Vec<[u32; 2]>)>),
}

/// The model.
#[derive(Module, Debug)]
pub struct Reldn {
    heads: Vec<Head>,
    eyes: Option<Eyes>,
}

#[derive(Module, Debug)]
struct Head {
    table: Option<Param<Tensor<2>>>,
    spatial: Option<Layers>,
    visual: Option<Layers>,
    skip_subject: Option<Linear>,
    skip_object: Option<Linear>,
}

/// Three linear layers, leaky rectifiers between them.
#[derive(Module, Debug)]
struct Layers {
    first: Linear,
    second: Linear,
    third: Linear,
}

/// From a picture to the features of boxes in it.
#[derive(Module, Debug)]
struct Eyes {
    convolutions: Vec<Conv2d>,
    norms: Vec<GroupNorm>,
    first: Linear,
    second: Linear,
}

impl Config {
    /// The predicates of each head.
    pub fn heads(&self) -> Vec<Vec<u32>> {
        if self.groups.is_empty() { vec![(1..=self.predicates as u32).collect()] } else { self.groups.clone() }
    }

    /// Checks that the sizes can be those of a model.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ReldnError> {
        let wrong = |message: String| Err(ReldnError::Argument(message));
        if self.classes == 0 || self.predicates == 0 {
            return wrong("expected at least one class and one predicate".to_owned());
        }
        if !self.semantic && self.spatial.is_none() && self.visual.is_none() {
            return wrong("modules: expected at least one of semantic, spatial, visual".to_owned());
        }
        let table = (self.classes * self.classes).saturating_mul(self.predicates + 1);
        if self.semantic && table > 1 << 28 {
            return wrong(format!(
                "{} classes and {} predicates make too large a table",
                self.classes, self.predicates
            ));
        }
        let mut sizes = vec![("spatial", self.spatial.unwrap_or(1))];
        if let Some(visual) = self.visual {
            sizes.extend([("visual.width", visual.width), ("visual.hidden", visual.hidden)]);
            if let Some(image) = visual.image {
                sizes.extend([("visual.channels", image.channels[0]), ("visual.channels", image.channels[1])]);
                if !(32..=4096).contains(&image.side) {
                    return wrong(format!("visual.side is {}: expected 32 to 4096 pixels", image.side));
                }
                if image.channels.iter().any(|c| !c.is_multiple_of(GROUPS)) {
                    return wrong(format!("visual.channels are {:?}: expected multiples of {GROUPS}", image.channels));
                }
            }
        }
        if let Some((key, size)) = sizes.into_iter().find(|(_, size)| !(1..=8192).contains(size)) {
            return wrong(format!("{key} is {size}: expected 1 to 8192"));
        }
        let mut grouped: Vec<u32> = self.heads().concat();
        grouped.sort_unstable();
        if grouped != (1..=self.predicates as u32).collect::<Vec<_>>() {
            return wrong("groups: expected every predicate in one group".to_owned());
        }
        Ok(())
    }

    /// A fresh model: weights from the seed alone, the table from the frequencies of the training set (zeros without).
    pub fn init(&self, frequency: Option<&Frequency>, seed: u64, device: &Device) -> Reldn {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let heads = self.heads().iter().map(|own| self.head(own, frequency, rng, device)).collect();
        let eyes = self.visual.and_then(|visual| visual.image.map(|image| Eyes::new(visual.width, image, rng, device)));
        Reldn { heads, eyes }
    }

    fn head(&self, own: &[u32], frequency: Option<&Frequency>, rng: &mut ChaCha8Rng, device: &Device) -> Head {
        let columns = own.len() + 1;
        let table = self.semantic.then(|| {
            let numbers = match frequency {
                Some(frequency) => table(frequency, self.prior, self.classes, own),
                None => vec![0.0; self.classes * self.classes * columns],
            };
            let table = TensorData::new(numbers, [self.classes * self.classes, columns]);
            // It is trained, but row by row: see `table`.
            Param::from_tensor(Tensor::from_data(table, device)).set_require_grad(false)
        });
        let spatial = self.spatial.map(|h| Layers::new([geometry::WIDTH, h, h, columns], rng, device));
        let visual = self.visual.map(|v| {
            let layers = Layers::new([3 * v.width, (3 * v.hidden).div_ceil(2), v.hidden, columns], rng, device);
            (layers, linear(v.width, columns, rng, device), linear(v.width, columns, rng, device))
        });
        let (visual, skip_subject, skip_object) = match visual {
            Some((layers, subject, object)) => (Some(layers), Some(subject), Some(object)),
            None => (None, None, None),
        };
        Head { table, spatial, visual, skip_subject, skip_object }
    }
}

/// Of "none of these" and of some predicates, for all pairs of classes: `ln(c / sum c + 1e-3)` as published, or the logarithm of the
/// shares with a prior.
fn table(frequency: &Frequency, prior: f64, classes: usize, own: &[u32]) -> Vec<f32> {
    let smoothed = (prior > 0.0).then(|| frequency.smoothed(prior));
    let mut numbers = Vec::with_capacity(classes * classes * (own.len() + 1));
    for s in 0..classes as u32 {
        for o in 0..classes as u32 {
            let shares: Vec<f64> = match &smoothed {
                Some(smoothed) => smoothed.shares(s, o),
                None => {
                    let counts = frequency.counts(s, o);
                    let sum = counts.iter().sum::<u64>() as f64 + 1e-8;
                    counts.iter().map(|&c| c as f64 / sum).collect()
                }
            };
            let floor = if smoothed.is_some() { PRIOR_FLOOR } else { 1e-3 };
            let grouped: f64 = own.iter().map(|&p| shares[p as usize]).sum();
            let logit = |share: f64| (share + floor).ln() as f32;
            numbers.push(logit((1.0 - grouped).max(0.0)));
            numbers.extend(own.iter().map(|&p| logit(shares[p as usize])));
        }
    }
    numbers
}

/// A layer with uniform weights of variance 1 / inputs, as the released code begins, from our own random numbers.
fn linear(from: usize, to: usize, rng: &mut ChaCha8Rng, device: &Device) -> Linear {
    let mut layer = LinearConfig::new(from, to).with_initializer(Initializer::Zeros).init(device);
    let most = (3.0 / from as f32).sqrt();
    let weights: Vec<f32> = (0..from * to).map(|_| rng.random_range(-most..most)).collect();
    layer.weight = Param::from_tensor(Tensor::from_data(TensorData::new(weights, [from, to]), device));
    layer
}

impl Layers {
    fn new(widths: [usize; 4], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut layer = |at: usize| linear(widths[at], widths[at + 1], rng, device);
        Self { first: layer(0), second: layer(1), third: layer(2) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = leaky_relu(self.first.forward(x), 0.1);
        self.third.forward(leaky_relu(self.second.forward(x), 0.1))
    }
}

impl Eyes {
    fn new(width: usize, image: Image, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let [a, b] = image.channels;
        let shapes = [(3, a, 2), (a, b, 2), (b, b, 1), (b, b, 1)];
        let convolutions = shapes.map(|(from, to, stride)| {
            let mut layer = Conv2dConfig::new([from, to], [3, 3])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_initializer(Initializer::Zeros)
                .init(device);
            // He et al. 2015: variance 2 / inputs, uniform.
            let most = (6.0 / (9 * from) as f32).sqrt();
            let weights: Vec<f32> = (0..9 * from * to).map(|_| rng.random_range(-most..most)).collect();
            layer.weight = Param::from_tensor(Tensor::from_data(TensorData::new(weights, [to, from, 3, 3]), device));
            layer
        });
        let norms = shapes.map(|(_, to, _)| GroupNormConfig::new(GROUPS, to).init(device));
        let first = linear(b * BINS * BINS, width, rng, device);
        Self {
            convolutions: convolutions.into(),
            norms: norms.into(),
            first,
            second: linear(width, width, rng, device),
        }
    }

    /// The features of boxes, `[boxes,D]`.
    fn forward(&self, seen: &Seen, boxes: &[Corners]) -> Tensor<2> {
        let mut map = seen.pixels.clone();
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            map = relu(norm.forward(conv::forward(convolution, map)));
        }
        let inside = roi_align(map, boxes, seen.scale / STRIDE);
        // No rectifier after the second layer, as the released code leaves it out for relations.
        self.second.forward(relu(self.first.forward(inside)))
    }
}

impl Reldn {
    /// The logits of each head, `[R, 1 + its predicates]`.
    pub fn forward(&self, shown: Shown) -> Vec<Tensor<2>> {
        let tables: Vec<Tensor<2>> = self.heads.iter().filter_map(|h| h.table.as_ref().map(Param::val)).collect();
        self.forward_with(shown, &tables)
    }

    /// The same with other tables, one for each head: `shown.classes` are rows of theirs. None where there is no semantic module.
    pub(super) fn forward_with(&self, shown: Shown, tables: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let look = shown.look.map(|look| self.vectors(look));
        let count = shown.classes.len();
        let classes = tables
            .first()
            .map(|table| Tensor::<1, Int>::from_data(TensorData::new(shown.classes, [count]), &table.device()));
        let forward = |(at, head): (usize, &Head)| {
            let semantic =
                tables.get(at).zip(classes.as_ref()).map(|(table, rows)| table.clone().select(0, rows.clone()));
            let spatial =
                head.spatial.as_ref().zip(shown.spatial.as_ref()).map(|(layers, x)| layers.forward(x.clone()));
            let visual = head.visual.as_ref().zip(look.as_ref()).map(|(layers, [subject, union, object])| {
                let all = Tensor::cat(vec![subject.clone(), union.clone(), object.clone()], 1);
                let skip = |layer: &Option<Linear>, x: &Tensor<2>| layer.as_ref().map(|l| l.forward(x.clone()));
                let branches = [skip(&head.skip_subject, subject), skip(&head.skip_object, object)];
                branches.into_iter().flatten().fold(layers.forward(all), |sum, branch| sum + branch)
            });
            let terms = [semantic, spatial, visual].into_iter().flatten();
            terms.reduce(|sum, term| sum + term).expect("a checked model has a module")
        };
        self.heads.iter().enumerate().map(forward).collect()
    }

    /// The tables of the heads as plain numbers, with their columns.
    pub(super) fn tables(&self) -> Vec<(Vec<f32>, usize)> {
        let plain = |table: &Param<Tensor<2>>| {
            let table = table.val().detach();
            let columns = table.dims()[1];
            (table.into_data().iter::<f32>().collect(), columns)
        };
        self.heads.iter().filter_map(|h| h.table.as_ref().map(plain)).collect()
    }

    /// The model with other numbers in its tables.
    pub(super) fn with_tables(mut self, tables: &[&[f32]]) -> Self {
        for (head, numbers) in self.heads.iter_mut().zip(tables) {
            if let Some(table) = &mut head.table {
                let (shape, device) = (table.val().dims(), table.val().device());
                *table = Param::from_tensor(Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &device));
            }
        }
        self
    }

    /// The vectors of subjects, unions and objects.
    fn vectors(&self, look: Look) -> [Tensor<2>; 3] {
        match (look, &self.eyes) {
            (Look::Vectors { subject, union, object }, _) => [subject, union, object],
            (Look::Pictures(_), None) => unreachable!("pictures are shown to models with a backbone alone"),
            (Look::Pictures(images), Some(eyes)) => {
                let mut parts: [Vec<Tensor<2>>; 3] = Default::default();
                for (seen, boxes, pairs) in images {
                    let vectors = eyes.forward(&seen, &boxes);
                    let nodes = boxes.len() - pairs.len();
                    let end = |at: usize| {
                        let places: Vec<i32> = pairs.iter().map(|p| p[at] as i32).collect();
                        Tensor::<1, Int>::from_data(TensorData::new(places, [pairs.len()]), &vectors.device())
                    };
                    parts[0].push(vectors.clone().select(0, end(0)));
                    parts[1].push(vectors.clone().narrow(0, nodes, pairs.len()));
                    parts[2].push(vectors.clone().select(0, end(1)));
                }
                parts.map(|part| Tensor::cat(part, 0))
            }
        }
    }
}
