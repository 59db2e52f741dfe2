//! From a picture to its instances.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};
use lossmith::cluster::{self, Embeddings, Instances, MeanShift};
use lossmith_data::label_images::{Labels, Picture};
use serde::Serialize;

use super::planes::{self, CHANNELS, Planes};
use super::tiles::{self, Canvas};
use super::{EmbeddingError, Model};
use burn::tensor::Device;

/// How pixels become instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cluster {
    /// Mean-shift from the densest seeds; nothing is random.
    #[default]
    MeanShift,
    /// The authors' procedure, random seeds from this seed.
    Authors(u64),
    /// Around the mean embeddings of the true instances, which must be given.
    Centre,
}

/// What is known of the picture, for ablations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The true instances, for [`Cluster::Centre`].
    pub truth: Option<&'a Labels>,
    /// Whether the foreground is taken from the true instances.
    pub true_foreground: bool,
}

/// The instances of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Their pixels.
    pub labels: Labels,
    /// Instance `i` has the label `i + 1`.
    pub instances: Vec<FoundInstance>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundInstance {
    /// Its label.
    pub id: u32,
    /// Its pixels.
    pub area: usize,
    /// How sure it is, from 0 to 1: tightness of its embeddings times the mean foreground probability.
    pub score: f64,
    /// The mean row and column.
    pub centroid: [f64; 2],
    /// First row, first column, last row, last column.
    pub bounds: [usize; 4],
}

impl Model {
    /// The instances of a picture of any size, tile by tile.
    ///
    /// # Errors
    /// The network has diverged (its embeddings are not finite); true instances are needed and not given, or of another size.
    pub fn predict(&self, picture: &Picture, cluster: Cluster, given: Given<'_>) -> Result<Prediction, EmbeddingError> {
        // On a thread of the pool, which need not be woken for every layer then.
        rayon::scope(|_| self.predict_here(picture, cluster, given))
    }

    fn predict_here(
        &self,
        picture: &Picture,
        cluster: Cluster,
        given: Given<'_>,
    ) -> Result<Prediction, EmbeddingError> {
        let side = self.recipe.side;
        let planes = Planes::new(picture).enlarged(self.recipe.enlarge);
        let truth = given.truth.map(|truth| planes::resampled(truth, planes.height, planes.width));
        let mut canvas = Canvas::new(planes.height, planes.width);
        // Per id of the picture the sum of score times area, and of area.
        let mut scores: Vec<(f64, f64)> = Vec::new();
        let (tops, lefts) = (tiles::starts(planes.height, side), tiles::starts(planes.width, side));
        for (top, left) in tops.iter().flat_map(|top| lefts.iter().map(move |left| (*top, *left))) {
            let truth = truth.as_ref().map(|t| cut(t, top, left, side));
            let (found, probability) =
                self.predict_tile(&planes, top, left, cluster, truth.as_deref(), given.true_foreground)?;
            let mut tile = Tile::new(found, &probability);
            // A cluster of many cells is another one in each tile; only cells can be joined.
            if self.recipe.connected && tops.len() * lefts.len() > 1 {
                tile = tile.in_pieces(side);
            }
            let ids = canvas.add(top, left, side, &tile.labels, tile.instances.len());
            scores.resize(canvas.count as usize, (0.0, 0.0));
            for (id, (score, size)) in ids.iter().zip(&tile.instances) {
                let (sum, area) = &mut scores[*id as usize - 1];
                *sum += score * *size as f64;
                *area += *size as f64;
            }
        }
        let mut scores: Vec<f64> = scores.into_iter().map(|(sum, area)| sum / area).collect();
        let found = Labels { height: planes.height, width: planes.width, ids: canvas.ids };
        let mut found = planes::resampled(&found, picture.height, picture.width);
        if self.recipe.connected {
            let pieces = cluster::pieces(&found.ids, found.width);
            scores = pieces.labels.iter().map(|id| scores[*id as usize - 1]).collect();
            found.ids = pieces.ids;
        }
        Ok(describe(found, &scores, self.recipe.least_size))
    }

    fn predict_tile(
        &self,
        planes: &Planes,
        top: usize,
        left: usize,
        cluster: Cluster,
        truth: Option<&[u32]>,
        true_foreground: bool,
    ) -> Result<(Instances, Vec<f32>), EmbeddingError> {
        let side = self.recipe.side;
        let view = TensorData::new(planes::tile(planes, top, left, side), [1, CHANNELS, side, side]);
        let (embedding, logits) = self.net.forward(Tensor::from_data(view, &Device::flex()));
        let numbers = |t: Tensor<4>| t.into_data().try_to_vec::<f32>().expect("tensors are f32");
        let (embedding, probability) = (numbers(embedding), numbers(sigmoid(logits)));
        let needed = || EmbeddingError::Recipe("the true instances are needed and not given".to_owned());
        // Beyond the picture there is its mirror image, which is not searched.
        let inside = |i: usize| top + i / side < planes.height && left + i % side < planes.width;
        let foreground: Vec<bool> = if true_foreground {
            truth.ok_or_else(needed)?.iter().map(|t| *t > 0).collect()
        } else {
            probability.iter().enumerate().map(|(i, p)| *p > 0.5 && inside(i)).collect()
        };
        let embeddings = Embeddings::new(&embedding, self.recipe.dim, side, side, &foreground)?;
        let bandwidth = self.recipe.bandwidth;
        let found = match cluster {
            Cluster::MeanShift => {
                // Twice the margin between centres less the margin around one, for the published ratio of the two.
                let reach = bandwidth * 5.0 / 3.0;
                let separation = self.recipe.separation;
                let least_size = (self.recipe.least_size as f32 * self.recipe.enlarge.powi(2)) as usize;
                cluster::mean_shift(embeddings, MeanShift { bandwidth, least_size, reach, separation })?
            }
            Cluster::Authors(seed) => cluster::authors(embeddings, bandwidth, seed)?,
            Cluster::Centre => cluster::centre_threshold(embeddings, truth.ok_or_else(needed)?, bandwidth)?,
        };
        Ok((found, probability))
    }
}

/// The part of the true instances under a tile, 0 beyond the picture.
fn cut(labels: &Labels, top: usize, left: usize, side: usize) -> Vec<u32> {
    let at = |y: usize, x: usize| {
        if y < labels.height && x < labels.width { labels.ids[y * labels.width + x] } else { 0 }
    };
    (0..side * side).map(|i| at(top + i / side, left + i % side)).collect()
}

/// The instances of a tile.
struct Tile {
    /// Per pixel the instance, from 1, or 0.
    labels: Vec<u32>,
    /// The score and the size of each.
    instances: Vec<(f64, usize)>,
}

impl Tile {
    /// Instances with the foreground probability of each pixel.
    fn new(found: Instances, probability: &[f32]) -> Self {
        let mut sums = vec![0f64; found.instances.len()];
        for (label, p) in found.labels.iter().zip(probability).filter(|(l, _)| **l > 0) {
            sums[*label as usize - 1] += f64::from(*p);
        }
        let scored = sums.iter().zip(&found.instances).map(|(sum, of)| (of.score * (sum / of.size as f64), of.size));
        Self { instances: scored.collect(), labels: found.labels }
    }

    /// The connected pieces as instances of their own, each as sure as the whole was.
    fn in_pieces(self, side: usize) -> Self {
        let pieces = cluster::pieces(&self.labels, side);
        let mut instances: Vec<_> = pieces.labels.iter().map(|l| (self.instances[*l as usize - 1].0, 0)).collect();
        pieces.ids.iter().filter(|id| **id > 0).for_each(|id| instances[*id as usize - 1].1 += 1);
        Self { labels: pieces.ids, instances }
    }
}

/// Numbers the instances that are large enough from 1 on, and measures them.
fn describe(found: Labels, scores: &[f64], least_size: usize) -> Prediction {
    let Labels { height, width, mut ids } = found;
    let mut areas = vec![0usize; scores.len() + 1];
    ids.iter().for_each(|id| areas[*id as usize] += 1);
    let mut count = 0;
    let numbers: Vec<u32> = areas
        .iter()
        .enumerate()
        .map(|(id, area)| {
            let kept = id > 0 && *area >= least_size.max(1);
            count += u32::from(kept);
            if kept { count } else { 0 }
        })
        .collect();
    ids.iter_mut().for_each(|id| *id = numbers[*id as usize]);
    let mut instances: Vec<FoundInstance> = numbers
        .iter()
        .enumerate()
        .filter(|(_, number)| **number > 0)
        .map(|(id, number)| FoundInstance {
            id: *number,
            area: areas[id],
            score: scores[id - 1],
            centroid: [0.0; 2],
            bounds: [usize::MAX, usize::MAX, 0, 0],
        })
        .collect();
    for (i, id) in ids.iter().enumerate().filter(|(_, id)| **id > 0) {
        let (y, x) = (i / width, i % width);
        let instance = &mut instances[*id as usize - 1];
        instance.centroid[0] += y as f64;
        instance.centroid[1] += x as f64;
        let [y0, x0, y1, x1] = instance.bounds;
        instance.bounds = [y0.min(y), x0.min(x), y1.max(y), x1.max(x)];
    }
    for instance in &mut instances {
        instance.centroid = instance.centroid.map(|sum| sum / instance.area as f64);
    }
    Prediction { labels: Labels { height, width, ids }, instances }
}
