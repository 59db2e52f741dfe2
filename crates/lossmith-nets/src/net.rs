//! Networks as plain data: a list of layers, and the presets.

use serde::{Deserialize, Serialize};

/// One layer. Windows are square.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Convolution, zeros around the image.
    Conv {
        /// Channels out.
        out: usize,
        /// Side of the window.
        kernel: usize,
        /// Pixels from one window to the next.
        stride: usize,
        /// Zeros on each side; less than `kernel`.
        pad: usize,
    },
    /// The maximum of each window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Pixels from one window to the next.
        stride: usize,
    },
    /// Every output from every input.
    Dense {
        /// Outputs.
        out: usize,
    },
    /// The positive part.
    Relu,
    /// Values dropped at random while training; after a dense layer.
    Dropout {
        /// The chance that a value is dropped; below 1.
        p: f32,
    },
}

/// The layers of a classifier, without the last dense layer into the classes, which every network has.
pub type Net = Vec<Layer>;

/// The names that [`preset`] knows.
pub const PRESETS: [&str; 3] = ["mlp", "lenet", "alexnet-cifar"];

/// A network by name.
///
/// - `mlp`: one hidden layer of 128, for a laptop; 101,770 parameters on 28 x 28 grey images in ten classes.
/// - `lenet`: the network of GLO's MNIST experiments (arXiv 1905.11528, after the TensorFlow tutorial); 3,274,634
///   parameters there.
/// - `alexnet-cifar`: the AlexNet variant of the CIFAR-10 experiments of the same line of work.
pub fn preset(name: &str) -> Option<Net> {
    match name {
        "mlp" => Some(vec![Layer::Dense { out: 128 }, Layer::Relu]),
        "lenet" => Some(lenet()),
        "alexnet-cifar" => Some(alexnet_cifar()),
        _ => None,
    }
}

const POOL: Layer = Layer::MaxPool { kernel: 2, stride: 2 };

fn conv(out: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv { out, kernel, stride, pad: kernel / 2 }
}

fn lenet() -> Net {
    let features = [conv(32, 5, 1), Layer::Relu, POOL, conv(64, 5, 1), Layer::Relu, POOL];
    let head = [Layer::Dense { out: 1024 }, Layer::Relu, Layer::Dropout { p: 0.4 }];
    [features.as_slice(), &head].concat()
}

fn alexnet_cifar() -> Net {
    let pooled = [conv(64, 11, 4), Layer::Relu, POOL, conv(192, 5, 1), Layer::Relu, POOL];
    let deep = [conv(384, 3, 1), Layer::Relu, conv(256, 3, 1), Layer::Relu, conv(256, 3, 1), Layer::Relu, POOL];
    [pooled.as_slice(), &deep].concat()
}
