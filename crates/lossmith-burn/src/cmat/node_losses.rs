//! Cross-entropy over the nodes of a scene, plain, weighted by degree, and as GPS-Net weighs nodes.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;

/// The exponent with which GPS-Net's focus falls as a node takes part in more relations.
const MU: f64 = 4.0;
/// GPS-Net's largest focus.
const MOST: f64 = 2.0;
/// The weight of a node without relations, by which degrees would leave it untrained.
const ALONE: f64 = 0.1;

/// `-mean_i w_i log p_i(t_i)` with `w_i = 1`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    chosen(log_softmax(logits, 1), labels).mean().neg()
}

/// Cross-entropy where a node weighs as much as the number of relations it is part of (0.1 if none), scaled to mean 1.
pub fn degree(logits: Tensor<2>, labels: &[usize], degrees: &[usize]) -> Tensor<1> {
    let weights: Vec<f64> = degrees.iter().map(|&d| if d == 0 { ALONE } else { d as f64 }).collect();
    let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
    let weights = column(weights.iter().map(|w| w / mean), &logits.device());
    (chosen(log_softmax(logits, 1), labels) * weights).mean().neg()
}

/// GPS-Net's node-priority loss `-mean_i (1 - p_i)^gamma_i log p_i`, `gamma = min(2, -(1 - theta)^4 log theta)`, where `theta_i`
/// is the share of the relations that node `i` is part of.
pub fn node_priority(logits: Tensor<2>, labels: &[usize], degrees: &[usize], relations: usize) -> Tensor<1> {
    let gamma = |&degree: &usize| {
        let theta = if relations == 0 { 0.0 } else { degree as f64 / relations as f64 };
        // A node without relations has an infinite logarithm and with it the largest focus.
        (-(1.0 - theta).max(0.0).powf(MU) * theta.ln()).min(MOST)
    };
    let gammas = column(degrees.iter().map(gamma), &logits.device());
    let log_p = chosen(log_softmax(logits, 1), labels);
    // (1 - p)^gamma by its logarithm; kept above 0 so that its slope stays finite.
    let missed = (log_p.clone().exp().neg() + 1.0).clamp_min(1e-6);
    ((missed.log() * gammas).exp() * log_p).mean().neg()
}

/// The element of each row at its index, `[n,1]`.
pub fn chosen(rows: Tensor<2>, at: &[usize]) -> Tensor<2> {
    let index: Vec<i32> = at.iter().map(|&i| i as i32).collect();
    let index = Tensor::<2, Int>::from_data(TensorData::new(index, [at.len(), 1]), &rows.device());
    rows.gather(1, index)
}

fn column(values: impl Iterator<Item = f64>, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = values.map(|v| v as f32).collect();
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.0, 3f32.ln()], [0.0, 0.0]], &device);
        let value = |t: Tensor<1>| f64::from(t.into_scalar::<f32>());
        let (a, b) = (0.75f64, 0.5f64);
        let near = |x: f64, y: f64| (x - y).abs() < 1e-6;
        assert!(near(value(cross_entropy(logits.clone(), &[1, 0])), -(a.ln() + b.ln()) / 2.0));
        // Degrees 3 and 1 weigh 1.5 and 0.5.
        assert!(near(value(degree(logits.clone(), &[1, 0], &[3, 1])), -(1.5 * a.ln() + 0.5 * b.ln()) / 2.0));
        // theta 1 has no focus; theta 0 has the largest.
        let priority = value(node_priority(logits, &[1, 0], &[3, 0], 3));
        assert!(near(priority, -(a.ln() + 0.25 * b.ln()) / 2.0), "{priority}");
    }
}
