//! Scene graphs from a trained model: the probabilities of all pairs that are asked for.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use lossmith::graph::GraphScores;
use ndarray::Array2;

use super::ReldnError;
use super::example::{Example, show};
use super::model::{Config, Reldn};
use crate::bridge::to_array;

/// Pairs of one forward pass, unless one image has more.
const ROWS: usize = 4096;

/// What the model says of some images, for the pairs that are asked for of each. Boxes and classes are those of the images, their scores 1.
///
/// # Errors
/// A picture that cannot be read, or weights that are no longer finite.
pub fn predict(
    model: &Reldn,
    config: &Config,
    examples: &[Example],
    pairs_of: impl Fn(&Example) -> Vec<[u32; 2]>,
) -> Result<Vec<GraphScores>, ReldnError> {
    let device = Device::flex();
    let asked: Vec<Vec<[u32; 2]>> = examples.iter().map(pairs_of).collect();
    let mut scores = Vec::with_capacity(examples.len());
    let mut at = 0;
    while at < examples.len() {
        let mut rows = asked[at].len();
        let mut end = at + 1;
        while end < examples.len() && rows + asked[end].len() <= ROWS {
            rows += asked[end].len();
            end += 1;
        }
        let batch: Vec<(&Example, &[[u32; 2]])> = (at..end).map(|i| (&examples[i], asked[i].as_slice())).collect();
        let table = if rows == 0 {
            Array2::zeros((0, config.predicates + 1))
        } else {
            joined(model.forward(show(&batch, config, &device)?), config)
        };
        let mut first = 0;
        for (example, pairs) in batch {
            let own = table.slice(ndarray::s![first..first + pairs.len(), ..]).to_owned();
            first += pairs.len();
            if own.iter().any(|v| !v.is_finite()) {
                return Err(ReldnError::Diverged { image: example.name.clone() });
            }
            scores.push(GraphScores {
                boxes: example.graph.boxes.clone(),
                labels: example.graph.labels.clone(),
                scores: vec![1.0; example.graph.boxes.len()],
                pairs: pairs.to_vec(),
                predicates: own,
            });
        }
        at = end;
    }
    Ok(scores)
}

/// The probabilities of all heads in one table `[R,1+P]`, whose rows add up to 1.
fn joined(logits: Vec<Tensor<2>>, config: &Config) -> Array2<f64> {
    let rows = logits[0].dims()[0];
    let mut table = Array2::<f64>::zeros((rows, config.predicates + 1));
    table.column_mut(0).fill(1.0);
    for (logits, own) in logits.into_iter().zip(config.heads()) {
        let probabilities = to_array(&softmax(logits, 1));
        for (at, row) in probabilities.outer_iter().enumerate() {
            table[[at, 0]] *= f64::from(row[0]);
            for (column, &p) in own.iter().enumerate() {
                table[[at, p as usize]] = f64::from(row[column + 1]);
            }
        }
    }
    for mut row in table.outer_iter_mut() {
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
    }
    table
}
