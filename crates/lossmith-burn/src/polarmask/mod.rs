//! PolarMask: instance segmentation in polar form. One network says for every point of its feature levels which class of
//! object it stands for, how central it is, and how far the outline is along each ray.
//!
//! | part | where |
//! |---|---|
//! | the network | [`PolarMaskConfig`], [`PolarMask`] |
//! | pictures and outlines as it learns them | [`Sample`] |
//! | what it is trained by | [`Criterion`] |
//! | training | [`train`](fn@train) |
//! | objects in pictures | [`detect`](fn@detect) |
//! | pretrained weights | [`weights`] |
//!
//! Reference: Xie et al., PolarMask: Single Shot Instance Segmentation with Polar Representation, CVPR 2020.

mod detect;
mod draw;
mod layers;
mod light;
mod loss;
mod network;
mod resnet;
mod samples;
mod train;
pub mod weights;

pub use detect::{DetectSettings, Detection, Overlap, Score, detect, label_image, paint};
pub use draw::draw;
pub use loss::{BatchLoss, Criterion};
pub use network::{BackboneKind, ConfigError, Output, PolarMask, PolarMaskConfig};
pub use samples::{Sample, Turn, batch, samples};
pub use train::{Progress, TrainError, TrainSettings, Turns, Watch, continue_from, train};
