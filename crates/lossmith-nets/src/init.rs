//! The weights that training starts from.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::network::{Network, Stage};

/// What random numbers are for; each purpose has its own stream of the seed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Weights = 1,
    Order = 2,
    Dropout = 3,
    Augmentation = 4,
}

/// The random numbers of a purpose.
pub(crate) fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// Weights and biases uniform in `+-1/sqrt(inputs of one output)`: what PyTorch's layers start from, and so the
/// published trainings.
pub(crate) fn parameters(network: &Network, seed: u64) -> Vec<f32> {
    let mut rng = stream(seed, Purpose::Weights);
    let mut values = vec![0.0; network.parameters()];
    let mut fill = |range: std::ops::Range<usize>, inputs: usize| {
        let bound = 1.0 / (inputs as f32).sqrt();
        values[range].iter_mut().for_each(|v| *v = rng.random_range(-bound..bound));
    };
    for stage in &network.features {
        if let Stage::Conv { weights, bias, .. } = stage {
            fill(weights.start..bias.end, weights.len() / bias.len());
        }
    }
    for layer in &network.head {
        fill(layer.weights.start..layer.bias.end, layer.inputs);
    }
    values
}
