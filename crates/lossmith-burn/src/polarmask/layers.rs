//! The layers that the parts of the network share.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};

/// A square convolution that keeps the size at stride 1. The one place where convolutions of this network are made.
pub(super) fn conv(from: usize, to: usize, kernel: usize, stride: usize, bias: bool, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(bias)
        .with_initializer(Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: false })
        .init(device)
}

/// The output of a convolution, by our kernels where they can.
pub(super) fn convolve(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    crate::conv::forward(layer, x)
}

/// Sets the weights to N(0, sd^2) and the bias to a number: how output layers begin.
pub(super) fn begin(mut conv: Conv2d, sd: f64, bias: f64, device: &Device) -> Conv2d {
    let to = conv.weight.dims()[0];
    let weight: Param<Tensor<4>> = Initializer::Normal { mean: 0.0, std: sd }.init(conv.weight.dims(), device);
    conv.weight = weight;
    conv.bias = conv.bias.map(|_| Initializer::Constant { value: bias }.init([to], device));
    conv
}

/// Convolution, group normalisation, ReLU. No statistic of the batch: images do not change each other's result.
#[derive(Module, Debug)]
pub(super) struct ConvBlock {
    conv: Conv2d,
    gn: GroupNorm,
}

impl ConvBlock {
    pub(super) fn new(from: usize, to: usize, stride: usize, groups: usize, device: &Device) -> Self {
        Self { conv: conv(from, to, 3, stride, false, device), gn: GroupNormConfig::new(groups, to).init(device) }
    }

    /// The same with weights from N(0, 0.01^2), as the published heads begin.
    pub(super) fn tower(channels: usize, groups: usize, device: &Device) -> Self {
        let block = Self::new(channels, channels, 1, groups, device);
        Self { conv: begin(block.conv, 0.01, 0.0, device), gn: block.gn }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        activation::relu(self.gn.forward(convolve(&self.conv, x)))
    }
}

/// Batch normalisation by fixed statistics and factors, as a pretrained backbone has it. Nothing in it is trained.
#[derive(Module, Debug)]
pub(super) struct FrozenNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl FrozenNorm {
    /// What is added to the variance, in PyTorch as here.
    const EPSILON: f32 = 1e-5;

    pub(super) fn new(channels: usize, device: &Device) -> Self {
        let fixed = |value: f64| -> Param<Tensor<1>> {
            let param: Param<Tensor<1>> = Initializer::Constant { value }.init([channels], device);
            param.set_require_grad(false)
        };
        Self { weight: fixed(1.0), bias: fixed(0.0), running_mean: fixed(0.0), running_var: fixed(1.0) }
    }

    /// Takes so much from the mean of each channel.
    pub(super) fn lower_mean(&mut self, by: Tensor<1>) {
        self.running_mean = Param::from_tensor(self.running_mean.val() - by).set_require_grad(false);
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let scale = self.weight.val() / (self.running_var.val() + Self::EPSILON).sqrt();
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        let channels = scale.dims()[0];
        x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
    }
}

/// Twice the size by repeating each number, cut to the rows and columns asked for: nearest-neighbour upsampling.
pub(super) fn upsample(x: Tensor<4>, rows: usize, columns: usize) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let doubled = x.reshape([n, c, h, 1, w, 1]).repeat_dim(3, 2).repeat_dim(5, 2).reshape([n, c, 2 * h, 2 * w]);
    doubled.slice([0..n, 0..c, 0..rows.min(2 * h), 0..columns.min(2 * w)])
}
