//! A network made ready for images of one size: every layer's geometry and place among the parameters.
//!
//! Layers before the first dense one (the features) are run on few images at a time, so that what they hand on stays in
//! the cache; the rest (the head) on the whole batch, as its weights are larger than what goes through it. All parameters
//! lie in one vector, in the order of the layers.

use std::ops::Range;

use crate::NetsError;
use crate::kernel::bf16::{Precision, Unit};
use crate::kernel::conv::{Conv, Layout, Window};
use crate::kernel::pool::MaxPool;
use crate::net::Layer;

/// So many output pixels, at least, are worth a call of a convolution.
const PIXELS: usize = 768;
/// No more images than this at a time.
const MAX_GROUP: usize = 32;
/// More parameters than this are a mistake.
const MAX_PARAMETERS: usize = 1 << 30;

/// What goes into a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
}

impl Shape {
    /// Values per image.
    pub fn values(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// A layer of the features.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Conv { conv: Conv, relu: bool, weights: Range<usize>, bias: Range<usize> },
    Pool(MaxPool),
}

/// A layer of the head.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    pub relu: bool,
    pub dropout: Option<f32>,
    /// `[outputs, inputs]`.
    pub weights: Range<usize>,
    pub bias: Range<usize>,
}

/// A network made ready for images of one size.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) features: Vec<Stage>,
    pub(crate) head: Vec<Dense>,
    pub(crate) input: Layout,
    pub(crate) classes: usize,
    /// Images that go through the features together.
    pub(crate) group: usize,
    /// Parameters of the features; they come first.
    pub(crate) feature_parameters: usize,
    /// What multiplies bf16 operands; `None`: all is f32.
    pub(crate) unit: Option<Unit>,
    parameters: usize,
}

/// A layer of the features whose neighbours are not known yet.
#[derive(Clone, Copy, Debug)]
struct Draft {
    /// Channels out of a convolution; `None` for pooling.
    conv: Option<usize>,
    window: Window,
    relu: bool,
    input: Shape,
    output: Shape,
}

impl Network {
    /// Makes `layers` ready for images of this shape in this many classes. The last dense layer, into the classes, is
    /// added.
    ///
    /// # Errors
    /// A layer where it cannot stand, a window that does not fit, sizes of 0 or far too large.
    pub fn new(layers: &[Layer], shape: Shape, classes: usize) -> Result<Self, NetsError> {
        if shape.values() == 0 || classes < 2 {
            return Err(NetsError::Data(format!(
                "expected images and at least two classes, found {shape:?}, {classes}"
            )));
        }
        let first_dense = layers.iter().position(|l| matches!(l, Layer::Dense { .. })).unwrap_or(layers.len());
        let drafts = draft_features(&layers[..first_dense], shape)?;
        let mut end = 0;
        let (features, group) = build_features(&drafts, &mut end)?;
        let feature_parameters = end;
        let inputs = drafts.last().map_or(shape, |d| d.output).values();
        let head = build_head(&layers[first_dense..], first_dense, inputs, classes, &mut end)?;
        let input = match features.first() {
            Some(Stage::Conv { conv, .. }) => conv.input,
            _ => Layout::dense(shape.height, shape.width, shape.channels),
        };
        Ok(Self { features, head, input, classes, group, feature_parameters, unit: None, parameters: end })
    }

    /// The same network, the operands of its products kept at this precision where the processor and the shapes gain by it.
    #[must_use]
    pub fn at(mut self, precision: Precision) -> Self {
        self.multiplying_by(precision.unit());
        self
    }

    pub(crate) fn multiplying_by(&mut self, unit: Option<Unit>) {
        self.unit = unit;
        for stage in &mut self.features {
            if let Stage::Conv { conv, .. } = stage {
                conv.multiply_by(unit);
            }
        }
    }

    /// How many parameters there are, weights and biases.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Values per image that go from the features into the head.
    pub(crate) fn feature_values(&self) -> usize {
        self.head[0].inputs
    }

    /// The dropout of each layer of the head, and how many values it concerns.
    pub(crate) fn dropouts(&self) -> impl Iterator<Item = (f32, usize)> {
        self.head.iter().filter_map(|d| d.dropout.map(|p| (p, d.outputs)))
    }
}

/// Checks a layer's sizes, and works out what it makes of its input.
fn draft_features(layers: &[Layer], shape: Shape) -> Result<Vec<Draft>, NetsError> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let input = drafts.last().map_or(shape, |d| d.output);
        let (conv, window) = match *layer {
            Layer::Conv { out, kernel, stride, pad } => (Some(out), Window { kernel, stride, pad }),
            Layer::MaxPool { kernel, stride } => (None, Window { kernel, stride, pad: 0 }),
            Layer::Relu => {
                match drafts.last_mut() {
                    Some(draft) => draft.relu = true,
                    None => return Err(wrong(number, layer, "expected after a convolution, pooling or dense layer")),
                }
                continue;
            }
            Layer::Dropout { .. } | Layer::Dense { .. } => {
                return Err(wrong(number, layer, "expected after a dense layer"));
            }
        };
        check_window(conv, window).map_err(|m| wrong(number, layer, m))?;
        let (height, width) = (window.count(input.height), window.count(input.width));
        let output = Shape { height, width, channels: conv.unwrap_or(input.channels) };
        if height * width == 0 {
            let Shape { height, width, .. } = input;
            return Err(wrong(number, layer, &format!("its window does not fit into {height} x {width} pixels")));
        }
        drafts.push(Draft { conv, window, relu: false, input, output });
    }
    // ReLU before a maximum is taken after it, on fewer values.
    for i in 1..drafts.len() {
        if drafts[i].conv.is_none() && drafts[i - 1].relu {
            drafts[i - 1].relu = false;
            drafts[i].relu = true;
        }
    }
    Ok(drafts)
}

fn check_window(conv: Option<usize>, window: Window) -> Result<(), &'static str> {
    let Window { kernel, stride, pad } = window;
    match conv {
        _ if stride == 0 => Err("stride: expected at least 1"),
        None if !(1..=16).contains(&kernel) => Err("kernel: expected 1 to 16"),
        None => Ok(()),
        Some(_) if !(1..=64).contains(&kernel) => Err("kernel: expected 1 to 64"),
        Some(_) if pad >= kernel => Err("pad: expected less than the kernel"),
        Some(out) if !(1..=1 << 16).contains(&out) => Err("out: expected 1 to 65536 channels"),
        Some(_) => Ok(()),
    }
}

fn wrong(number: usize, layer: &Layer, message: &str) -> NetsError {
    let kind = match layer {
        Layer::Conv { .. } => "conv",
        Layer::MaxPool { .. } => "max-pool",
        Layer::Dense { .. } => "dense",
        Layer::Relu => "relu",
        Layer::Dropout { .. } => "dropout",
    };
    NetsError::Layer { layer: number + 1, kind, message: message.to_owned() }
}

/// Takes the next `n` parameters.
fn take(end: &mut usize, n: usize) -> Result<Range<usize>, NetsError> {
    let start = *end;
    *end = start.saturating_add(n);
    if *end > MAX_PARAMETERS {
        return Err(NetsError::Weights(format!("the network has more than {MAX_PARAMETERS} parameters")));
    }
    Ok(start..*end)
}

fn build_features(drafts: &[Draft], end: &mut usize) -> Result<(Vec<Stage>, usize), NetsError> {
    let fewest = drafts.iter().filter(|d| d.conv.is_some()).map(|d| d.output.height * d.output.width).min();
    let group = PIXELS.div_ceil(fewest.unwrap_or(PIXELS)).min(MAX_GROUP);
    let mut stages: Vec<Stage> = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        // A convolution wants its input with a margin, so whoever comes before writes it so.
        let margin = drafts.get(i + 1).map_or(0, |next| next.window.pad);
        let input_gradient = stages.last().map(Stage::gradient);
        let Shape { height, width, channels } = draft.input;
        stages.push(match draft.conv {
            Some(out) => {
                let conv = Conv::new((height, width, channels), out, draft.window, margin, input_gradient, group);
                let weights = take(end, conv.weights())?;
                Stage::Conv { conv, relu: draft.relu, weights, bias: take(end, out)? }
            }
            None => {
                let input = Layout::dense(height, width, channels);
                let input_gradient = input_gradient.unwrap_or(input);
                Stage::Pool(MaxPool::new(input, draft.window, draft.relu, margin, input_gradient))
            }
        });
    }
    Ok((stages, group))
}

impl Stage {
    /// How the stage wants its output's gradient to lie.
    pub(crate) fn gradient(&self) -> Layout {
        match self {
            Self::Conv { conv, .. } => conv.gradient,
            Self::Pool(pool) => pool.output,
        }
    }

    /// Where its biases are among the parameters, if it has any.
    pub(crate) fn biases(&self) -> Range<usize> {
        match self {
            Self::Conv { bias, .. } => bias.clone(),
            Self::Pool(_) => 0..0,
        }
    }

    /// How the stage's output lies.
    pub(crate) fn output(&self) -> Layout {
        match self {
            Self::Conv { conv, .. } => conv.output,
            Self::Pool(pool) => pool.output,
        }
    }
}

fn build_head(
    layers: &[Layer],
    before: usize,
    mut inputs: usize,
    classes: usize,
    end: &mut usize,
) -> Result<Vec<Dense>, NetsError> {
    let mut head: Vec<Dense> = Vec::new();
    let last = Layer::Dense { out: classes };
    for (number, layer) in layers.iter().chain([&last]).enumerate() {
        let wrong = |message| Err(wrong(before + number, layer, message));
        match (*layer, head.last_mut()) {
            (Layer::Dense { out }, _) => {
                if !(1..=1 << 20).contains(&out) {
                    return wrong("out: expected 1 to 1048576");
                }
                let weights = take(end, inputs.saturating_mul(out))?;
                let bias = take(end, out)?;
                head.push(Dense { inputs, outputs: out, relu: false, dropout: None, weights, bias });
                inputs = out;
            }
            (Layer::Relu, Some(dense)) if dense.dropout.is_none() => dense.relu = true,
            (Layer::Relu, _) => return wrong("expected before dropout"),
            (Layer::Dropout { p }, Some(dense)) if dense.dropout.is_none() => {
                if !(0.0..1.0).contains(&p) {
                    return wrong("p: expected at least 0 and less than 1");
                }
                dense.dropout = (p > 0.0).then_some(p);
            }
            (Layer::Dropout { .. }, _) => return wrong("expected once after a dense layer"),
            (Layer::Conv { .. } | Layer::MaxPool { .. }, _) => return wrong("expected before the first dense layer"),
        }
    }
    Ok(head)
}
