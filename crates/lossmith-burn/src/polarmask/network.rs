//! The network: backbone, feature pyramid, and three heads that all levels share.
//!
//! The class head gives a logit for each class and one for the centerness, the ray head a distance for each ray:
//! `exp(scale * x)` pixels, with one learned `scale` a level. The box head of the published code is left out: the boxes for
//! non-maximum suppression are those of the rays, as its option `mask_nms` has them.
//!
//! Reference: Xie et al., PolarMask, CVPR 2020; Lin et al., Feature Pyramid Networks, CVPR 2017.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, activation};
use lossmith::polar::RayFan;
use lossmith::polar::targets::{Assigner, Level, PUBLISHED_LEVELS, PUBLISHED_RADIUS};
use serde::{Deserialize, Serialize};

use super::layers::{ConvBlock, begin, conv, convolve, upsample};
use super::light::{self, Light};
use super::resnet::{self, Resnet, Style};

/// What the features come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackboneKind {
    /// Small, learned from nothing.
    Light,
    /// ResNet-50 as torchvision has it.
    Resnet50,
    /// ResNet-101 as torchvision has it.
    Resnet101,
    /// ResNet-50 as Caffe and the published PolarMask have it.
    Resnet50Caffe,
    /// ResNet-101 as Caffe and the published PolarMask have it.
    Resnet101Caffe,
}

/// What a network is made of; with its weights, all that prediction needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolarMaskConfig {
    /// The names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// Rays for each object.
    pub rays: usize,
    /// What the features come from.
    pub backbone: BackboneKind,
    /// Columns that every picture is stretched to; a multiple of 32.
    pub width: usize,
    /// Rows that every picture is stretched to; a multiple of 32.
    pub height: usize,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No class.
    #[error("classes: expected at least one")]
    NoClasses,
    /// Too few or too many rays.
    #[error("rays: expected 3 to {most}, found {0}", most = RayFan::MOST)]
    Rays(usize),
    /// A size that the strides do not divide.
    #[error("{0}: expected a multiple of 32 from 32 to 4096, found {1}")]
    Size(&'static str, usize),
}

/// The numbers that go with a backbone.
struct Width {
    features: [usize; 3],
    channels: usize,
    groups: usize,
    tower: usize,
    levels: Vec<Level>,
}

impl PolarMaskConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// No classes, rays outside of 3 to [`RayFan::MOST`], a size that is no multiple of 32.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.classes.is_empty() {
            return Err(ConfigError::NoClasses);
        }
        RayFan::new(self.rays).ok_or(ConfigError::Rays(self.rays))?;
        for (name, size) in [("width", self.width), ("height", self.height)] {
            if size % 32 != 0 || !(32..=4096).contains(&size) {
                return Err(ConfigError::Size(name, size));
            }
        }
        Ok(())
    }

    fn width(&self) -> Width {
        if self.backbone == BackboneKind::Light {
            let levels = [(8, -1.0, 40.0), (16, 40.0, 80.0), (32, 80.0, 1e8)];
            let levels = levels.map(|(stride, least, most)| Level { stride, least, most }).to_vec();
            return Width { features: light::CHANNELS, channels: 48, groups: light::GROUPS, tower: 2, levels };
        }
        Width { features: resnet::CHANNELS, channels: 256, groups: 32, tower: 4, levels: PUBLISHED_LEVELS.to_vec() }
    }

    /// Rays of this network.
    ///
    /// # Errors
    /// [`ConfigError::Rays`].
    pub fn fan(&self) -> Result<RayFan, ConfigError> {
        RayFan::new(self.rays).ok_or(ConfigError::Rays(self.rays))
    }

    /// What makes the targets of this network.
    ///
    /// # Errors
    /// [`ConfigError::Rays`].
    pub fn assigner(&self) -> Result<Assigner, ConfigError> {
        Ok(Assigner::new(self.fan()?, self.width().levels, PUBLISHED_RADIUS))
    }

    /// A network with fresh weights, from the device's random state.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn init(&self, device: &Device) -> Result<PolarMask, ConfigError> {
        self.check()?;
        let width = self.width();
        let backbone = match self.backbone {
            BackboneKind::Light => Backbone::Light(Light::new(device)),
            BackboneKind::Resnet50 => Backbone::Resnet(Resnet::new(6, Style::Torch, device)),
            BackboneKind::Resnet101 => Backbone::Resnet(Resnet::new(23, Style::Torch, device)),
            BackboneKind::Resnet50Caffe => Backbone::Resnet(Resnet::new(6, Style::Caffe, device)),
            BackboneKind::Resnet101Caffe => Backbone::Resnet(Resnet::new(23, Style::Caffe, device)),
        };
        let extra = width.levels.len() - width.features.len();
        Ok(PolarMask {
            backbone,
            neck: Pyramid::new(width.features, width.channels, extra, device),
            head: Head::new(&width, self.classes.len(), self.rays, device),
        })
    }
}

/// What the network says about a batch. Points are those of the [`Assigner`]: level by level, row by row.
#[derive(Clone, Debug)]
pub struct Output {
    /// Logits of the classes, `[N,P,C]`.
    pub classes: Tensor<3>,
    /// Logits of the centerness, `[N,P]`.
    pub centerness: Tensor<2>,
    /// Distances along the rays in pixels of the network's input, `[N,P,R]`.
    pub rays: Tensor<3>,
}

/// The network.
#[derive(Module, Debug)]
pub struct PolarMask {
    pub(super) backbone: Backbone,
    neck: Pyramid,
    head: Head,
}

#[derive(Module, Debug)]
pub(super) enum Backbone {
    Light(Light),
    Resnet(Resnet),
}

impl Backbone {
    pub(super) fn forward(&self, x: Tensor<4>) -> [Tensor<4>; 3] {
        match self {
            Self::Light(net) => net.forward(x),
            Self::Resnet(net) => net.forward(x),
        }
    }
}

impl PolarMask {
    /// Normalised pictures `[N,3,H,W]` to the backbone's features at strides 8, 16 and 32.
    pub fn features(&self, pictures: Tensor<4>) -> [Tensor<4>; 3] {
        self.backbone.forward(pictures)
    }

    /// Normalised pictures `[N,3,H,W]` to what is said about them.
    pub fn forward(&self, pictures: Tensor<4>) -> Output {
        self.head.forward(self.neck.forward(self.features(pictures)))
    }
}

/// Features of one number of channels at every level, each with what the coarser ones know.
#[derive(Module, Debug)]
struct Pyramid {
    lateral_convs: Vec<Conv2d>,
    fpn_convs: Vec<Conv2d>,
}

impl Pyramid {
    /// Levels beyond the backbone's come by convolutions of stride 2, the first from the coarsest level of the pyramid.
    fn new(features: [usize; 3], channels: usize, extra: usize, device: &Device) -> Self {
        let lateral_convs = features.iter().map(|from| conv(*from, channels, 1, 1, true, device)).collect();
        let strides = [1, 1, 1].into_iter().chain(std::iter::repeat_n(2, extra));
        let fpn_convs = strides.map(|stride| conv(channels, channels, 3, stride, true, device)).collect();
        Self { lateral_convs, fpn_convs }
    }

    fn forward(&self, features: [Tensor<4>; 3]) -> Vec<Tensor<4>> {
        let mut merged: Vec<Tensor<4>> =
            self.lateral_convs.iter().zip(features).map(|(conv, feature)| convolve(conv, feature)).collect();
        for coarse in (1..merged.len()).rev() {
            let [_, _, rows, columns] = merged[coarse - 1].dims();
            merged[coarse - 1] = merged[coarse - 1].clone() + upsample(merged[coarse].clone(), rows, columns);
        }
        let (same, extra) = self.fpn_convs.split_at(merged.len());
        let mut levels: Vec<Tensor<4>> = same.iter().zip(merged).map(|(conv, x)| convolve(conv, x)).collect();
        for (i, conv) in extra.iter().enumerate() {
            let coarsest = levels[levels.len() - 1].clone();
            let x = if i == 0 { coarsest } else { activation::relu(coarsest) };
            levels.push(convolve(conv, x));
        }
        levels
    }
}

#[derive(Module, Debug)]
struct Head {
    cls_convs: Vec<ConvBlock>,
    mask_convs: Vec<ConvBlock>,
    polar_cls: Conv2d,
    polar_centerness: Conv2d,
    polar_mask: Conv2d,
    scales_mask: Vec<Scale>,
}

/// A learned factor.
#[derive(Module, Debug)]
struct Scale {
    scale: Param<Tensor<1>>,
}

impl Head {
    fn new(width: &Width, classes: usize, rays: usize, device: &Device) -> Self {
        let tower = || (0..width.tower).map(|_| ConvBlock::tower(width.channels, width.groups, device)).collect();
        let output = |to: usize, bias: f64| begin(conv(width.channels, to, 3, 1, true, device), 0.01, bias, device);
        // At first every class has a probability of 0.01, so that background does not drown the first steps.
        const RARE: f64 = 0.01;
        // Rays begin at twice the finest stride.
        let first_ray = (2.0 * width.levels[0].stride as f64).ln();
        Self {
            cls_convs: tower(),
            mask_convs: tower(),
            polar_cls: output(classes, (RARE / (1.0 - RARE)).ln()),
            polar_centerness: output(1, 0.0),
            polar_mask: output(rays, first_ray),
            scales_mask: width.levels.iter().map(|_| Scale { scale: Initializer::Ones.init([1], device) }).collect(),
        }
    }

    fn forward(&self, levels: Vec<Tensor<4>>) -> Output {
        let (mut classes, mut centerness, mut rays) = (Vec::new(), Vec::new(), Vec::new());
        for (x, scale) in levels.into_iter().zip(&self.scales_mask) {
            let class = self.cls_convs.iter().fold(x.clone(), |x, block| block.forward(x));
            let mask = self.mask_convs.iter().fold(x, |x, block| block.forward(x));
            classes.push(points(convolve(&self.polar_cls, class.clone())));
            centerness.push(points(convolve(&self.polar_centerness, class)));
            let distance = convolve(&self.polar_mask, mask) * scale.scale.val().reshape([1, 1, 1, 1]);
            rays.push(points(distance.exp()));
        }
        let centerness = Tensor::cat(centerness, 1);
        let [images, count, _] = centerness.dims();
        Output {
            classes: Tensor::cat(classes, 1),
            centerness: centerness.reshape([images, count]),
            rays: Tensor::cat(rays, 1),
        }
    }
}

/// `[N,C,H,W]` to `[N,H*W,C]`.
fn points(x: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).swap_dims(1, 2)
}
