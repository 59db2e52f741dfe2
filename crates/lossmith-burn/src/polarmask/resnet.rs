//! ResNet-50 and ResNet-101 with fixed batch normalisation: the features at strides 8, 16 and 32.
//!
//! Fields are named as torchvision names them, so that its checkpoints need no table of names (but for `downsample`).
//!
//! Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.

use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor, activation};

use super::layers::{FrozenNorm, conv, convolve};
use super::samples::NORMAL;

/// The channels of the features at strides 8, 16 and 32.
pub(super) const CHANNELS: [usize; 3] = [512, 1024, 2048];

/// Which convolution of a block makes the step of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The 3 x 3 one: torchvision.
    Torch,
    /// The first 1 x 1 one: Caffe, and the published PolarMask.
    Caffe,
}

/// The network up to its last feature map.
#[derive(Module, Debug)]
pub struct Resnet {
    conv1: Conv2d,
    bn1: FrozenNorm,
    pool: MaxPool2d,
    layer1: Vec<Bottleneck>,
    layer2: Vec<Bottleneck>,
    layer3: Vec<Bottleneck>,
    layer4: Vec<Bottleneck>,
}

#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Conv2d,
    bn1: FrozenNorm,
    conv2: Conv2d,
    bn2: FrozenNorm,
    conv3: Conv2d,
    bn3: FrozenNorm,
    downsample: Option<Downsample>,
}

#[derive(Module, Debug)]
struct Downsample {
    conv: Conv2d,
    norm: FrozenNorm,
}

impl Resnet {
    /// With so many blocks in the third stage: 6 for ResNet-50, 23 for ResNet-101.
    pub(super) fn new(third: usize, style: Style, device: &Device) -> Self {
        let stage = |from: usize, width: usize, blocks: usize, stride: usize| -> Vec<Bottleneck> {
            (0..blocks)
                .map(|i| match i {
                    0 => Bottleneck::new(from, width, stride, style, device),
                    _ => Bottleneck::new(4 * width, width, 1, style, device),
                })
                .collect()
        };
        Self {
            conv1: conv(3, 64, 7, 2, false, device),
            bn1: FrozenNorm::new(64, device),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layer1: stage(64, 64, 3, 1),
            layer2: stage(256, 128, 4, 2),
            layer3: stage(512, 256, third, 2),
            layer4: stage(1024, 512, 3, 2),
        }
    }

    /// Makes weights that were learned on colours as Caffe has them (blue first, bytes less a mean) say the same of ours.
    ///
    /// Theirs is `s x + m - c` of our `x`, with our deviation `s` and mean `m` and their mean `c`: the first convolution takes
    /// the factor, the mean of its normalisation the constant. Only the zeros around the picture differ, by half a byte.
    pub(super) fn take_caffe_colours(&mut self) {
        const CAFFE: [f32; 3] = [122.7717, 115.9465, 102.9801];
        let weight = self.conv1.weight.val();
        let device = weight.device();
        let colours = |values: [f32; 3]| Tensor::<1>::from_data(values, &device).reshape([1, 3, 1, 1]);
        let turned = weight.flip([1]);
        let offset = std::array::from_fn(|c| NORMAL[c].0 - CAFFE[c]);
        let constant = (turned.clone() * colours(offset)).sum_dim(3).sum_dim(2).sum_dim(1);
        let channels = constant.dims()[0];
        self.conv1.weight = Param::from_tensor(turned * colours(NORMAL.map(|(_, deviation)| deviation)));
        self.bn1.lower_mean(constant.reshape([channels]));
    }

    /// `[N,3,H,W]` to the features at strides 8, 16 and 32.
    pub fn forward(&self, x: Tensor<4>) -> [Tensor<4>; 3] {
        let x = self.pool.forward(activation::relu(self.bn1.forward(convolve(&self.conv1, x))));
        let stage = |x: Tensor<4>, blocks: &[Bottleneck]| blocks.iter().fold(x, |x, block| block.forward(x));
        let c3 = stage(stage(x, &self.layer1), &self.layer2);
        let c4 = stage(c3.clone(), &self.layer3);
        let c5 = stage(c4.clone(), &self.layer4);
        [c3, c4, c5]
    }
}

impl Bottleneck {
    fn new(from: usize, width: usize, stride: usize, style: Style, device: &Device) -> Self {
        let (first, second) = match style {
            Style::Torch => (1, stride),
            Style::Caffe => (stride, 1),
        };
        let shortcut = (stride > 1 || from != 4 * width).then(|| Downsample {
            conv: conv(from, 4 * width, 1, stride, false, device),
            norm: FrozenNorm::new(4 * width, device),
        });
        Self {
            conv1: conv(from, width, 1, first, false, device),
            bn1: FrozenNorm::new(width, device),
            conv2: conv(width, width, 3, second, false, device),
            bn2: FrozenNorm::new(width, device),
            conv3: conv(width, 4 * width, 1, 1, false, device),
            bn3: FrozenNorm::new(4 * width, device),
            downsample: shortcut,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = activation::relu(self.bn1.forward(convolve(&self.conv1, x.clone())));
        let y = activation::relu(self.bn2.forward(convolve(&self.conv2, y)));
        let y = self.bn3.forward(convolve(&self.conv3, y));
        let x = match &self.downsample {
            Some(shortcut) => shortcut.norm.forward(convolve(&shortcut.conv, x)),
            None => x,
        };
        activation::relu(x + y)
    }
}
