//! Parameters by name, as PyTorch lays them out.
//!
//! Convolutions are `conv1`, `conv2`, ..., dense layers `fc1`, `fc2`, ...; `weight` of a convolution is
//! `[out, in, kernel, kernel]`, of a dense layer `[out, in]`, where what comes from the features is flattened by
//! channel, row, column.

use std::ops::Range;

use crate::NetsError;
use crate::network::{Network, Stage};

/// A parameter by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// `conv1.weight`, `fc2.bias`, ...
    pub name: String,
    /// Its sizes, the slowest first.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// All parameters of a network, in the order of its layers.
pub type Weights = Vec<Weight>;

/// Where a named parameter lies among all, and in which order: `order[i]` is the place of PyTorch's value `i`.
struct Entry {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
    order: Order,
}

enum Order {
    Same,
    /// `[kernel, kernel, in, out]` here, `[out, in, kernel, kernel]` there: taps, in, out.
    Conv(usize, usize, usize),
    /// `[out, (pixel, channel)]` here, `[out, (channel, pixel)]` there: pixels, channels.
    Flattened(usize, usize),
}

impl Order {
    fn place(&self, i: usize) -> usize {
        match *self {
            Self::Same => i,
            Self::Conv(taps, inputs, out) => {
                let (o, rest) = (i / (taps * inputs), i % (taps * inputs));
                let (channel, tap) = (rest / taps, rest % taps);
                (tap * inputs + channel) * out + o
            }
            Self::Flattened(pixels, channels) => {
                let (o, rest) = (i / (pixels * channels), i % (pixels * channels));
                let (channel, pixel) = (rest / pixels, rest % pixels);
                (o * pixels + pixel) * channels + channel
            }
        }
    }
}

fn entries(network: &Network) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut convs = 0;
    for stage in &network.features {
        let Stage::Conv { conv, weights, bias, .. } = stage else { continue };
        convs += 1;
        let (inputs, out) = (conv.input.channels, bias.len());
        let taps = weights.len() / (inputs * out);
        let kernel = taps.isqrt();
        let (name, range) = (format!("conv{convs}.weight"), weights.clone());
        let order = Order::Conv(taps, inputs, out);
        entries.push(Entry { name, shape: vec![out, inputs, kernel, kernel], range, order });
        let (name, range) = (format!("conv{convs}.bias"), bias.clone());
        entries.push(Entry { name, shape: vec![out], range, order: Order::Same });
    }
    // What comes from the features, or straight from the images, is flattened the other way.
    let flattened = network.features.last().map_or(network.input, Stage::output);
    for (i, layer) in network.head.iter().enumerate() {
        let order = if i == 0 { Order::Flattened(flattened.pixels(), flattened.channels) } else { Order::Same };
        let (name, range) = (format!("fc{}.weight", i + 1), layer.weights.clone());
        entries.push(Entry { name, shape: vec![layer.outputs, layer.inputs], range, order });
        let (name, range) = (format!("fc{}.bias", i + 1), layer.bias.clone());
        entries.push(Entry { name, shape: vec![layer.outputs], range, order: Order::Same });
    }
    entries
}

/// The parameters by name.
pub(crate) fn export(network: &Network, parameters: &[f32]) -> Weights {
    let named = |entry: Entry| {
        let own = &parameters[entry.range];
        let values = (0..own.len()).map(|i| own[entry.order.place(i)]).collect();
        Weight { name: entry.name, shape: entry.shape, values }
    };
    entries(network).into_iter().map(named).collect()
}

/// The parameters from their names.
pub(crate) fn import(network: &Network, weights: &[Weight]) -> Result<Vec<f32>, NetsError> {
    let mut parameters = vec![0.0; network.parameters()];
    for entry in entries(network) {
        let wrong = |message: String| NetsError::Weights(format!("{}: {message}", entry.name));
        let found = weights.iter().find(|w| w.name == entry.name);
        let weight = found.ok_or_else(|| wrong(format!("missing, expected shape {:?}", entry.shape)))?;
        if weight.shape != entry.shape || weight.values.len() != entry.range.len() {
            return Err(wrong(format!("expected shape {:?}, found {:?}", entry.shape, weight.shape)));
        }
        let own = &mut parameters[entry.range];
        weight.values.iter().enumerate().for_each(|(i, value)| own[entry.order.place(i)] = *value);
    }
    Ok(parameters)
}
