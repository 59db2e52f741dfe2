//! A scene as the agents see it: node vectors, pair geometry, and the ground truth, checked and on the device.

use burn::prelude::*;
use lossmith::critic::Truth;
use lossmith_data::node_graphs::{About, NodeGraph};

use super::{CmatError, geometry};

/// One scene on a device.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `[n,width]`: what each node shows.
    pub nodes: Tensor<2>,
    /// `[n*n,9]`: the geometry of each ordered pair, `i = i` among them.
    pub pairs: Tensor<2>,
    /// The rows of `pairs` without `i = i`, in order.
    pub apart: Tensor<1, Int>,
    /// What is true.
    pub truth: Truth,
    /// `[n*(n-1)]`: the predicate of each ordered pair, 0 for none; of several the first.
    pub predicates: Vec<usize>,
    /// For each node the number of relations it is part of.
    pub degrees: Vec<usize>,
}

impl Seen {
    /// Brings scene number `at` to the device.
    ///
    /// # Errors
    /// The scene has no node, or its graph refers to what is not there.
    pub fn new(scene: &NodeGraph, at: usize, device: &Device) -> Result<Self, CmatError> {
        let n = scene.graph.labels.len();
        if n == 0 {
            return Err(CmatError::Argument(format!("scene {at} has no nodes")));
        }
        let labels: Vec<usize> = scene.graph.labels.iter().map(|&l| l as usize).collect();
        let triplet = |r: &lossmith::graph::Relation| [r.subject as usize, r.object as usize, r.predicate as usize];
        let triplets: Vec<[usize; 3]> = scene.graph.relations.iter().map(triplet).collect();
        let (mut predicates, mut degrees) = (vec![0; n * (n - 1)], vec![0; n]);
        let truth = Truth::new(labels, triplets).map_err(|cause| CmatError::Scene { scene: at, cause })?;
        for &[subject, object, predicate] in truth.triplets() {
            let pair = subject * (n - 1) + object - usize::from(object > subject);
            if predicates[pair] == 0 {
                predicates[pair] = predicate;
            }
            degrees[subject] += 1;
            degrees[object] += 1;
        }
        let width = scene.features.first().map_or(0, Vec::len);
        let boxes = &scene.graph.boxes;
        let pairs: Vec<f32> =
            boxes.iter().flat_map(|&s| boxes.iter().flat_map(move |&o| geometry::pair(s, o))).collect();
        let apart: Vec<i32> = (0..n * n).filter(|p| p / n != p % n).map(|p| p as i32).collect();
        Ok(Self {
            nodes: Tensor::from_data(TensorData::new(scene.features.concat(), [n, width]), device),
            pairs: Tensor::from_data(TensorData::new(pairs, [n * n, geometry::WIDTH]), device),
            apart: Tensor::from_data(TensorData::new(apart, [n * (n - 1)]), device),
            truth,
            predicates,
            degrees,
        })
    }

    /// The number of agents.
    pub fn agents(&self) -> usize {
        self.degrees.len()
    }
}

/// The frequency bias of training scenes: `log(P(predicate | classes of subject and object) + 1e-3)`, `[C*C,1+P]` row-major.
///
/// As Neural Motifs counts it: relations with doubles, and for none all ordered pairs, of which there is one more.
pub fn frequency_bias(about: &About, scenes: &[NodeGraph]) -> Vec<f32> {
    let (classes, columns) = (about.vocabulary.objects.len(), about.vocabulary.predicates.len() + 1);
    let mut counts = vec![0.0f64; classes * classes * columns];
    counts.chunks_exact_mut(columns).for_each(|row| row[0] = 1.0);
    for scene in scenes {
        let labels = &scene.graph.labels;
        let row = |s: usize, o: usize| (labels[s] as usize * classes + labels[o] as usize) * columns;
        for s in 0..labels.len() {
            (0..labels.len()).filter(|&o| o != s).for_each(|o| counts[row(s, o)] += 1.0);
        }
        for r in &scene.graph.relations {
            counts[row(r.subject as usize, r.object as usize) + r.predicate as usize] += 1.0;
        }
    }
    let bias = |row: &[f64]| -> Vec<f32> {
        let sum: f64 = row.iter().sum();
        row.iter().map(|c| (c / sum + 1e-3).ln() as f32).collect()
    };
    counts.chunks_exact(columns).flat_map(bias).collect()
}
