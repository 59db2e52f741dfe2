//! The discriminative loss for instance embedding: pixels of one instance are pulled to their centre, centres are pushed
//! apart, and centres are kept near the origin.
//!
//! ```text
//! mu_c  = mean of x_i over the N_c pixels of instance c                C instances in the image (per class, if classes are given)
//! var   = 1/C sum_c 1/N_c sum_{i in c} pull(||x_i - mu_c||)             pull(d) = max(d - delta_v, 0)^2
//! dist  = 1/(C(C-1)) sum_A sum_{B != A} push(||mu_A - mu_B||)           push(d) = max(2 delta_d - d, 0)^2
//! reg   = 1/C sum_c regularise(||mu_c||)                                regularise(d) = d
//! background = 1/C sum_c 1/N_0 sum_{i in background} max(delta_d - ||x_i - mu_c||, 0)^2
//! loss  = alpha var + beta dist + gamma reg + background_weight background,     averaged over the images of the batch
//! ```
//!
//! Gradient: exact, through the centres. With `u_i` the gradient of the norm at `x_i - mu_c`,
//! `g_i = alpha/(C N_c) pull'(d_i) u_i` and `m_c` the gradient of the other terms with respect to `mu_c`:
//! `dloss/dx_i = g_i + (m_c - sum_{j in c} g_j)/N_c`.
//!
//! Input: `embedding` `[B,E,H,W]`, the output of a linear layer; `labels` `[B,H,W]`, 0 = background, any positive id = an
//! instance; `classes` `[B,H,W]`, optional: the terms are taken in each class by itself and summed, and an instance is a
//! pair of class and label. Background takes part in nothing unless `background_weight` is above 0 (Wolny et al.).
//!
//! Corner cases: no instance gives 0, one instance has no `dist`. Where a norm is 0 its gradient is taken as 0, so that
//! coincident centres are not torn apart. `normalisation=authors` is the authors' program: no 1/C in `var`, `dist` is the
//! sum over unordered pairs over C - 1, no `reg`, instances of one pixel are left out.
//!
//! De Brabandere, Neven, Van Gool 2017, arXiv 1708.02551, eq. 1-4; background: Wolny et al. 2022, arXiv 2103.14572.

mod passes;
mod segments;

use ndarray::{ArrayD, ArrayView3, ArrayView4, Axis, IxDyn};
use rayon::prelude::*;

use super::catalogue::{Entry, Family, InputSpec, Param, ParamKind};
use super::{Arguments, Evaluation, Inputs, Loss, LossError, ScalarType};
use crate::expr::{Kernel, Variables};
use passes::{Centres, Pixels};
use segments::Segments;

/// `d`: a distance.
pub const DISTANCE_VARIABLES: Variables = &["d"];

/// The entry of the catalogue.
pub static ENTRY: Entry = Entry {
    name: "discriminative",
    family: Family::Clusters,
    summary: "Pulls the embeddings of an instance to their centre and pushes the centres apart, for instance segmentation.",
    formula: "alpha/C sum_c 1/N_c sum_{i in c} pull(||x_i - mu_c||) + beta/(C(C-1)) sum_{A != B} push(||mu_A - mu_B||) \
              + gamma/C sum_c regularise(||mu_c||)",
    gradient: "g_i + (m_c - sum_{j in c} g_j)/N_c, g_i = alpha/(C N_c) pull'(d_i) (x_i - mu_c)/d_i, \
               m_c = gradient of the push and regularise terms at mu_c",
    space: "embeddings of a linear layer, any scale; margins in the same units",
    corners: "no instance: 0; one instance: no push; a norm of 0 has gradient 0; infinite from distances of 1.8e19 on",
    reference: "De Brabandere, Neven, Van Gool 2017, arXiv 1708.02551, eq. 1-4",
    inputs: &[
        InputSpec {
            name: "embedding",
            scalar: ScalarType::F32,
            shape: "[B,E,H,W]",
            optional: false,
            doc: "embedding of every pixel",
        },
        InputSpec {
            name: "labels",
            scalar: ScalarType::I64,
            shape: "[B,H,W]",
            optional: false,
            doc: "instance of every pixel, 0 = background",
        },
        InputSpec {
            name: "classes",
            scalar: ScalarType::I64,
            shape: "[B,H,W]",
            optional: true,
            doc: "semantic class of every pixel; classes share the embedding space without pushing each other",
        },
    ],
    params: &[
        number("delta_v", 0.5, "margin of the pull: how far from its centre an embedding is left alone"),
        number("delta_d", 1.5, "half the margin of the push: centres further apart than twice this are left alone"),
        number("alpha", 1.0, "weight of the pull"),
        number("beta", 1.0, "weight of the push"),
        number("gamma", 0.001, "weight of the regularisation"),
        number("background_weight", 0.0, "weight of a push between centres and background pixels, hinged at delta_d"),
        Param {
            name: "norm",
            kind: ParamKind::Choice { default: "l2", choices: &["l1", "l2"] },
            doc: "the norm of all distances",
        },
        Param {
            name: "normalisation",
            kind: ParamKind::Choice { default: "paper", choices: &["paper", "authors"] },
            doc: "the paper's means, or the sums of the authors' program",
        },
        kernel(
            "pull",
            "max(d - 0.5, 0)^2",
            "kernel of the distance of a pixel to its centre; takes the place of delta_v",
        ),
        kernel("push", "max(3 - d, 0)^2", "kernel of the distance between two centres"),
        kernel("regularise", "d", "kernel of the norm of a centre"),
    ],
    example,
    build: |arguments| Ok(Box::new(Discriminative::from_arguments(arguments)?)),
};

/// Two images of 4 x 5 pixels with three channels, four instances and background.
fn example(seed: u64) -> Inputs {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let embedding = ArrayD::from_shape_simple_fn(IxDyn(&[2, 3, 4, 5]), || rng.random_range(-2f32..2.0));
    let labels = ArrayD::from_shape_fn(IxDyn(&[2, 4, 5]), |at| ((at[0] + at[1] + 2 * at[2]) % 5) as i64);
    Inputs::new().with("embedding", embedding).with("labels", labels)
}

const fn number(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Number { default, least: 0.0, most: 1e6 }, doc }
}

const fn kernel(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Kernel { default, variables: DISTANCE_VARIABLES }, doc }
}

/// The norm of all distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Sum of absolute values.
    L1,
    /// Euclidean.
    L2,
}

/// How the terms are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// The means of the paper.
    Paper,
    /// The sums of the authors' program: crowded images weigh more.
    Authors,
}

/// A kernel of a distance: the published ones by hand, any other from its formula.
#[derive(Clone, Debug)]
pub enum Slot {
    /// `max(d - margin, 0)^2`
    Beyond(f64),
    /// `max(margin - d, 0)^2`
    Within(f64),
    /// `d`
    Distance,
    /// Any formula in `d`.
    Formula(Kernel),
}

impl Slot {
    /// Value and slope at a distance.
    pub fn at(&self, d: f64) -> (f64, f64) {
        match self {
            Self::Beyond(margin) => {
                let h = (d - margin).max(0.0);
                (h * h, 2.0 * h)
            }
            Self::Within(margin) => {
                let h = (margin - d).max(0.0);
                (h * h, -2.0 * h)
            }
            Self::Distance => (d, 1.0),
            Self::Formula(kernel) => {
                let dual = kernel.at(&[d]);
                (dual.value, dual.slope[0])
            }
        }
    }
}

/// The discriminative loss with its parameters; the module says the formula.
#[derive(Clone, Debug)]
pub struct Discriminative {
    /// The norm of all distances.
    pub norm: Norm,
    /// How the terms are averaged.
    pub normalisation: Normalisation,
    /// Weight of the pull.
    pub alpha: f64,
    /// Weight of the push.
    pub beta: f64,
    /// Weight of the regularisation.
    pub gamma: f64,
    /// Weight of the push against background.
    pub background_weight: f64,
    /// Kernel of the distance of a pixel to its centre.
    pub pull: Slot,
    /// Kernel of the distance between two centres.
    pub push: Slot,
    /// Kernel of the norm of a centre.
    pub regularise: Slot,
    /// Kernel of the distance of a background pixel to a centre.
    pub background: Slot,
}

impl Default for Discriminative {
    /// The paper's: margins 0.5 and 1.5.
    fn default() -> Self {
        Self::new(0.5, 1.5)
    }
}

/// The terms of one image, before they are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Terms {
    var: f64,
    dist: f64,
    reg: f64,
    background: f64,
}

impl Discriminative {
    /// The paper's loss with other margins.
    pub fn new(delta_v: f64, delta_d: f64) -> Self {
        Self {
            norm: Norm::L2,
            normalisation: Normalisation::Paper,
            alpha: 1.0,
            beta: 1.0,
            gamma: 0.001,
            background_weight: 0.0,
            pull: Slot::Beyond(delta_v),
            push: Slot::Within(2.0 * delta_d),
            regularise: Slot::Distance,
            background: Slot::Within(delta_d),
        }
    }

    fn from_arguments(arguments: &Arguments) -> Result<Self, LossError> {
        let given = |name: &str| arguments.given().any(|(n, _)| n == name);
        if given("pull") && given("delta_v") {
            return Err(LossError::param(ENTRY.name, "delta_v belongs to the published pull: give one of the two"));
        }
        let mut loss = Self::new(arguments.number("delta_v"), arguments.number("delta_d"));
        loss.alpha = arguments.number("alpha");
        loss.beta = arguments.number("beta");
        loss.gamma = arguments.number("gamma");
        loss.background_weight = arguments.number("background_weight");
        if given("push") && given("delta_d") && loss.background_weight == 0.0 {
            return Err(LossError::param(ENTRY.name, "delta_d belongs to the published push: give one of the two"));
        }
        loss.norm = if arguments.choice("norm") == "l1" { Norm::L1 } else { Norm::L2 };
        if arguments.choice("normalisation") == "authors" {
            loss.normalisation = Normalisation::Authors;
        }
        for (name, slot) in [("pull", &mut loss.pull), ("push", &mut loss.push), ("regularise", &mut loss.regularise)] {
            if let Some(formula) = arguments.kernel(name) {
                *slot = Slot::Formula(Kernel::new(formula));
            }
        }
        Ok(loss)
    }

    /// Value, parts and gradient: `embedding` `[B,E,H,W]`, `labels` and `classes` `[B,H,W]`, 0 = background.
    ///
    /// # Errors
    /// Shapes that do not fit, no image, no channel, a negative label, an embedding that is not finite.
    pub fn value_and_gradient(
        &self,
        embedding: ArrayView4<'_, f32>,
        labels: ArrayView3<'_, i64>,
        classes: Option<ArrayView3<'_, i64>>,
    ) -> Result<Evaluation, LossError> {
        let (images, channels, height, width) = embedding.dim();
        check_shapes((images, channels, height, width), labels.dim(), classes.map(|c| c.dim()))?;
        let embedding = embedding.as_standard_layout();
        let labels = labels.as_standard_layout();
        let classes = classes.as_ref().map(|c| c.as_standard_layout());

        let mut grad = ArrayD::zeros(IxDyn(&[images, channels, height, width]));
        let weight = 1.0 / images as f64;
        let mut mean = Terms::default();
        for (image, mut grad) in grad.axis_iter_mut(Axis(0)).enumerate() {
            let x = embedding.index_axis(Axis(0), image);
            let labels = labels.index_axis(Axis(0), image);
            let classes = classes.as_ref().map(|c| c.index_axis(Axis(0), image));
            let segments = Segments::new(
                labels.as_slice().expect("standard layout"),
                classes.as_ref().map(|c| c.as_slice().expect("standard layout")),
                self.normalisation == Normalisation::Authors,
            )
            .map_err(|at| wrong_label(image, at, width, labels.as_slice().map_or(0, |l| l[at])))?;
            let pixels = Pixels { x: x.as_slice().expect("standard layout"), channels, count: height * width };
            let grad = grad.as_slice_mut().expect("standard layout");
            let terms = self.image(pixels, &segments, weight, grad).ok_or_else(|| not_finite(embedding.view()))?;
            mean.var += weight * terms.var;
            mean.dist += weight * terms.dist;
            mean.reg += weight * terms.reg;
            mean.background += weight * terms.background;
        }
        Ok(self.evaluation(mean, grad))
    }

    fn evaluation(&self, terms: Terms, grad: ArrayD<f32>) -> Evaluation {
        let mut parts = vec![("var", terms.var), ("dist", terms.dist), ("reg", terms.reg)];
        let mut value = self.alpha * terms.var + self.beta * terms.dist + self.gamma * terms.reg;
        if self.background_weight > 0.0 {
            parts.push(("background", terms.background));
            value += self.background_weight * terms.background;
        }
        Evaluation::new(value, grad).with_parts(parts)
    }

    /// The terms of one image, and its gradient times `weight`; `None` if an embedding is not finite.
    fn image(&self, pixels: Pixels<'_>, segments: &Segments, weight: f64, grad: &mut [f32]) -> Option<Terms> {
        let margin = if let Slot::Beyond(margin) = self.pull { margin } else { 0.5 };
        let centres = passes::centres(pixels, segments, margin)?;
        let scales = self.scales(segments, weight);
        let pulled = passes::pull(pixels, segments, &centres, &self.pull, self.norm, &scales.pull);

        let mut terms = Terms::default();
        for (cluster, sum) in pulled.sums.iter().enumerate() {
            terms.var += scales.mean[cluster] * sum;
        }
        // The gradient with respect to each centre, of every term.
        let mut toward: Vec<f64> = pulled.toward;
        for class in segments.classes() {
            self.push_class(&centres, class, weight, &mut terms, &mut toward);
        }
        if self.background_weight > 0.0 {
            let scale = weight * self.background_weight;
            let (value, pushed) =
                passes::background(pixels, segments, &centres, &self.background, self.norm, scale, grad);
            terms.background = value;
            toward.iter_mut().zip(pushed).for_each(|(t, p)| *t += p);
        }
        passes::write(pixels, segments, &centres, self.norm, &pulled.weights, &toward, grad);
        Some(terms)
    }

    /// What a pixel's pull weighs in `var`, and in the gradient.
    fn scales(&self, segments: &Segments, weight: f64) -> Scales {
        let mut mean = vec![0.0; segments.clusters()];
        for class in segments.classes() {
            let per_class = match self.normalisation {
                Normalisation::Paper => 1.0 / class.len() as f64,
                Normalisation::Authors => 1.0,
            };
            for cluster in class {
                mean[cluster] = per_class / segments.count(cluster) as f64;
            }
        }
        let pull = mean.iter().map(|m| weight * self.alpha * m).collect();
        Scales { mean, pull }
    }

    /// Adds the terms between the centres of one class, and their gradient with respect to the centres.
    fn push_class(
        &self,
        centres: &Centres,
        class: std::ops::Range<usize>,
        weight: f64,
        terms: &mut Terms,
        toward: &mut [f64],
    ) {
        let count = class.len() as f64;
        // The sum runs over ordered pairs, which counts every pair twice.
        let (pair, single) = match self.normalisation {
            _ if class.is_empty() => return,
            Normalisation::Paper => (if class.len() > 1 { 1.0 / (count * (count - 1.0)) } else { 0.0 }, 1.0 / count),
            Normalisation::Authors => (0.5 / (count - 1.0 + 1e-8), 0.0),
        };
        let channels = centres.channels;
        let rows = &mut toward[class.start * channels..class.end * channels];
        let sums: Vec<(f64, f64)> = rows
            .par_chunks_mut(channels)
            .enumerate()
            .with_min_len(8)
            .map(|(at, row)| {
                let a = centres.of(class.start + at);
                let mut dist = 0.0;
                for other in class.clone().filter(|o| *o != class.start + at) {
                    let offset = || a.iter().zip(centres.of(other)).map(|(a, b)| a - b);
                    let d = self.norm.of(offset());
                    let (value, slope) = self.push.at(d);
                    dist += value;
                    // Each pair stands in the sum twice, once for either order.
                    self.norm.add_gradient(2.0 * weight * self.beta * pair * slope, d, offset(), row);
                }
                if single == 0.0 {
                    return (dist, 0.0);
                }
                let d = self.norm.of(a.iter().copied());
                let (reg, slope) = self.regularise.at(d);
                self.norm.add_gradient(weight * self.gamma * single * slope, d, a.iter().copied(), row);
                (dist, reg)
            })
            .collect();
        terms.dist += pair * sums.iter().map(|s| s.0).sum::<f64>();
        terms.reg += single * sums.iter().map(|s| s.1).sum::<f64>();
    }
}

/// What a pixel of each cluster weighs.
struct Scales {
    mean: Vec<f64>,
    pull: Vec<f64>,
}

impl Norm {
    fn of(self, offset: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::L1 => offset.map(f64::abs).sum(),
            Self::L2 => offset.map(|v| v * v).sum::<f64>().sqrt(),
        }
    }

    /// Adds `scale` times the gradient of the norm `d` of `offset`, which is 0 where the norm is.
    fn add_gradient(self, scale: f64, d: f64, offset: impl Iterator<Item = f64>, out: &mut [f64]) {
        if scale == 0.0 || d == 0.0 {
            return;
        }
        match self {
            Self::L1 => out.iter_mut().zip(offset).for_each(|(o, v)| *o += scale * sign(v)),
            Self::L2 => out.iter_mut().zip(offset).for_each(|(o, v)| *o += scale / d * v),
        }
    }
}

fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

impl Loss for Discriminative {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let embedding = inputs.f32("embedding", 4)?;
        let labels = inputs.i64("labels", 3)?;
        let classes = if inputs.has("classes") { Some(inputs.i64("classes", 3)?) } else { None };
        self.value_and_gradient(
            embedding.into_dimensionality().expect("four dimensions were checked"),
            labels.into_dimensionality().expect("three dimensions were checked"),
            classes.map(|c| c.into_dimensionality().expect("three dimensions were checked")),
        )
    }
}

fn check_shapes(
    (images, channels, height, width): (usize, usize, usize, usize),
    labels: (usize, usize, usize),
    classes: Option<(usize, usize, usize)>,
) -> Result<(), LossError> {
    if images == 0 || channels == 0 {
        let shape = [images, channels, height, width];
        return Err(LossError::input(
            "embedding",
            format!("expected at least one image and one channel, found {shape:?}"),
        ));
    }
    for (name, found) in [("labels", Some(labels)), ("classes", classes)] {
        if found.is_some_and(|f| f != (images, height, width)) {
            let found = found.unwrap_or_default();
            return Err(LossError::input(
                name,
                format!(
                    "expected shape [{images}, {height}, {width}] as the embedding's, found [{}, {}, {}]",
                    found.0, found.1, found.2
                ),
            ));
        }
    }
    Ok(())
}

fn wrong_label(image: usize, at: usize, width: usize, label: i64) -> LossError {
    let (y, x) = (at / width, at % width);
    LossError::input(
        "labels",
        format!("{label} at [{image}, {y}, {x}]; expected 0 for background or a positive instance id"),
    )
}

/// The error that names the first embedding that is not finite.
fn not_finite(embedding: ArrayView4<'_, f32>) -> LossError {
    let first = embedding.indexed_iter().find(|(_, v)| !v.is_finite());
    let ((b, e, y, x), v) = first.unwrap_or(((0, 0, 0, 0), &f32::NAN));
    LossError::input("embedding", format!("{v} at [{b}, {e}, {y}, {x}]; every number must be finite"))
}

#[cfg(test)]
mod tests;
