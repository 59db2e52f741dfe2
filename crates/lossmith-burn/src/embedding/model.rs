//! The network: an encoder and a decoder with shortcuts between equal resolutions, and two heads.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::Interpolate2dConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{GroupNorm, GroupNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Recipe;
use super::planes::CHANNELS;
use crate::conv;

/// Embeddings and foreground scores from pictures.
#[derive(Module, Debug)]
pub struct EmbeddingNet {
    down: Vec<Block>,
    up: Vec<Block>,
    /// Linear: a nonlinearity here would keep the loss from placing the centres.
    embedding: Conv2d,
    foreground: Conv2d,
}

/// Two convolutions of 3 x 3, each followed by group normalisation and a rectifier. No statistic of the batch: pictures do not
/// change each other's embeddings.
#[derive(Module, Debug)]
struct Block {
    first: Conv2d,
    first_norm: GroupNorm,
    second: Conv2d,
    second_norm: GroupNorm,
}

impl Block {
    fn new(from: usize, to: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let groups = [4, 2].into_iter().find(|groups| to.is_multiple_of(*groups)).unwrap_or(1);
        let norm = || GroupNormConfig::new(groups, to).init(device);
        Self {
            first: convolution(from, to, 3, rng, device),
            first_norm: norm(),
            second: convolution(to, to, 3, rng, device),
            second_norm: norm(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.first_norm.forward(conv::forward(&self.first, x)));
        relu(self.second_norm.forward(conv::forward(&self.second, x)))
    }
}

/// The one place where a convolution is made. The weights are normal with variance 2 / inputs (He et al. 2015), from our own
/// random numbers, so that they depend on nothing but the seed.
fn convolution(from: usize, to: usize, kernel: usize, rng: &mut ChaCha8Rng, device: &Device) -> Conv2d {
    let mut layer = Conv2dConfig::new([from, to], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(kernel / 2, kernel / 2, kernel / 2, kernel / 2))
        .with_initializer(Initializer::Zeros)
        .init(device);
    let inputs = from * kernel * kernel;
    let deviation = (2.0 / inputs as f32).sqrt();
    let weights: Vec<f32> = (0..to * inputs).map(|_| deviation * normal(rng)).collect();
    let data = TensorData::new(weights, [to, from, kernel, kernel]);
    layer.weight = Param::from_tensor(Tensor::from_data(data, device));
    layer
}

/// A normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

impl EmbeddingNet {
    /// A fresh network, its weights from the recipe's seed.
    pub fn new(recipe: &Recipe, device: &Device) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(recipe.seed);
        let widths = &recipe.widths;
        let inputs = |level: usize| if level == 0 { CHANNELS } else { widths[level - 1] };
        let down = (0..widths.len()).map(|i| Block::new(inputs(i), widths[i], rng, device)).collect();
        let up = (0..widths.len() - 1)
            .rev()
            .map(|i| Block::new(widths[i + 1] + widths[i], widths[i], rng, device))
            .collect();
        let embedding = convolution(widths[0], recipe.dim, 1, rng, device);
        let foreground = convolution(widths[0], 1, 1, rng, device);
        Self { down, up, embedding, foreground }
    }

    /// Embeddings `[B,E,H,W]` and foreground logits `[B,1,H,W]` from pictures `[B,6,H,W]`.
    pub fn forward(&self, pictures: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let halve = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let double = Interpolate2dConfig::new().with_scale_factor(Some([2.0, 2.0])).init();
        let mut shortcuts = Vec::new();
        let mut x = pictures;
        for (level, block) in self.down.iter().enumerate() {
            if level > 0 {
                shortcuts.push(x.clone());
                x = halve.forward(x);
            }
            x = block.forward(x);
        }
        for block in &self.up {
            let shortcut = shortcuts.pop().expect("one shortcut for every block up");
            x = block.forward(Tensor::cat(vec![double.forward(x), shortcut], 1));
        }
        (conv::forward(&self.embedding, x.clone()), conv::forward(&self.foreground, x))
    }
}
