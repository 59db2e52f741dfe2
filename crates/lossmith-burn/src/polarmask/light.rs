//! A light backbone that learns from nothing in minutes on two cores: a convolution of stride 2 and a residual one for each
//! stage, group-normalised.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::layers::ConvBlock;

/// The channels of the stages at strides 2, 4, 8, 16 and 32.
const STAGES: [usize; 5] = [16, 24, 48, 64, 96];
/// The channels of the features at strides 8, 16 and 32.
pub(super) const CHANNELS: [usize; 3] = [STAGES[2], STAGES[3], STAGES[4]];
/// Groups of the normalisation.
pub(super) const GROUPS: usize = 8;

/// The network.
#[derive(Module, Debug)]
pub struct Light {
    down: Vec<ConvBlock>,
    same: Vec<ConvBlock>,
}

impl Light {
    pub(super) fn new(device: &Device) -> Self {
        let from = [3, STAGES[0], STAGES[1], STAGES[2], STAGES[3]];
        let down = from.iter().zip(STAGES).map(|(from, to)| ConvBlock::new(*from, to, 2, GROUPS, device)).collect();
        // At stride 2 a second convolution would cost more than all the others together.
        let same = STAGES[1..].iter().map(|c| ConvBlock::new(*c, *c, 1, GROUPS, device)).collect();
        Self { down, same }
    }

    /// `[N,3,H,W]` to the features at strides 8, 16 and 32.
    pub fn forward(&self, x: Tensor<4>) -> [Tensor<4>; 3] {
        let mut features = vec![self.down[0].forward(x)];
        for (down, same) in self.down[1..].iter().zip(&self.same) {
            let x = down.forward(features[features.len() - 1].clone());
            features.push(x.clone() + same.forward(x));
        }
        [features[2].clone(), features[3].clone(), features[4].clone()]
    }
}
