//! Convolution on the CPU by the kernels of `lossmith-nets`, in Burn's tape as one operation with its own backward.
//!
//! Burn's flex backend has no convolution backward of its own and falls back on slow defaults. A model keeps Burn's
//! [`Conv2d`] (its parameters, initialisation, records) and calls [`forward`] instead of its method:
//!
//! ```ignore
//! let x = conv::forward(&self.conv1, x);      // instead of self.conv1.forward(x)
//! ```
//!
//! What the kernels do not have (dilation, groups, windows that are not square, padding that differs between sides,
//! other devices) goes to Burn as before. First order only.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Device, Tensor, TensorData};
use lossmith_nets::nchw;

/// The output of a convolution layer for `x` of shape `[n, channels, height, width]`.
///
/// # Panics
/// If the shapes do not fit together, as Burn's own does.
pub fn forward(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    match padding(layer) {
        Some(padding) if is_ours(layer, &x) => {
            let bias = layer.bias.as_ref().map(|b| b.val());
            conv2d(x, layer.weight.val(), bias, layer.stride[0], padding)
        }
        _ => layer.forward(x),
    }
}

/// Correlation of `x` (`[n, channels, height, width]`) with `weight` (`[out, channels, kernel, kernel]`) plus `bias`
/// (`[out]`), zeros around the image; on the flex device, in f32.
///
/// # Panics
/// If the shapes do not fit together, or `padding` is not less than the window.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], &x.device()));
    let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Tensor::from_dispatch(<Dispatch as ConvBackend>::window_conv2d(x, weight, bias, stride, padding))
}

fn is_ours(layer: &Conv2d, x: &Tensor<4>) -> bool {
    let [kernel, across] = layer.kernel_size;
    let plain = layer.groups == 1 && layer.dilation == [1, 1] && kernel == across && layer.stride[0] == layer.stride[1];
    plain && x.dtype() == DType::F32 && x.device().without_autodiff() == Device::flex().without_autodiff()
}

/// The padding on all sides, if it is one number that is less than the window.
fn padding(layer: &Conv2d) -> Option<usize> {
    let kernel = layer.kernel_size[0];
    let padding = match layer.padding {
        PaddingConfig2d::Valid => Some(0),
        PaddingConfig2d::Explicit(top, left, bottom, right) => {
            (top == left && top == bottom && top == right).then_some(top)
        }
        PaddingConfig2d::Same => (kernel % 2 == 1 && layer.stride == [1, 1]).then_some(kernel / 2),
    };
    padding.filter(|p| *p < kernel)
}

/// Backends that convolve by our kernels.
#[backend_extension(Autodiff, Flex)]
pub trait ConvBackend: Backend {
    /// The output of a convolution.
    fn window_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;

    /// The gradients of input (empty unless `want_x`), weight and bias.
    fn window_conv2d_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        padding: usize,
        want_x: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The shape and the values, row by row.
fn contiguous<const D: usize>(tensor: &FlexTensor) -> ([usize; D], FlexTensor) {
    (tensor.layout().shape().dims(), tensor.to_contiguous())
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor was made contiguous")
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn geometry(x: [usize; 4], weight: [usize; 4], stride: usize, padding: usize) -> nchw::Conv2d {
    nchw::Conv2d::new(x, weight, stride, padding).unwrap_or_else(|e| panic!("{e}"))
}

impl ConvBackend for Flex {
    fn window_conv2d(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, stride: usize, padding: usize) -> FlexTensor {
        let ((x_shape, x), (weight_shape, weight)) = (contiguous(&x), contiguous(&weight));
        let ([_], bias) = contiguous(&bias);
        let conv = geometry(x_shape, weight_shape, stride, padding);
        tensor(conv.forward(values(&x), values(&weight), Some(values(&bias))), &conv.output())
    }

    fn window_conv2d_backward(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        stride: usize,
        padding: usize,
        want_x: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let ((x_shape, x), (weight_shape, weight)) = (contiguous(&x), contiguous(&weight));
        let gradient = gradient.to_contiguous();
        let conv = geometry(x_shape, weight_shape, stride, padding);
        let found = conv.backward(values(&x), values(&weight), values(&gradient), want_x);
        let x_shape = if want_x { x_shape } else { [0, 1, 1, 1] };
        (tensor(found.input, &x_shape), tensor(found.weights, &weight_shape), tensor(found.bias, &weight_shape[..1]))
    }
}

/// The way back through [`ConvBackend::window_conv2d`].
#[derive(Debug)]
struct WindowConv2d;

impl<B: ConvBackend> Backward<B, 3> for WindowConv2d {
    type State = (FloatTensor<B>, FloatTensor<B>, usize, usize);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, weight, stride, padding) = ops.state;
        let (x, weight, bias) = B::window_conv2d_backward(x, weight, gradient, stride, padding, x_node.is_some());
        for (node, gradient) in [(x_node, x), (weight_node, weight), (bias_node, bias)] {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn window_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match WindowConv2d.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = (x.clone(), weight.clone(), stride, padding);
                prepared.finish(state, B::window_conv2d(x, weight, bias, stride, padding))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::window_conv2d(x, weight, bias, stride, padding)),
        }
    }

    fn window_conv2d_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: usize,
        _: usize,
        _: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("the gradient of a convolution's gradient is not there: first order only")
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::Distribution;

    use super::*;

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    /// Output, and gradients of input, weight and bias, of `sum(output * c)`.
    fn all(layer: &Conv2d, x: &Tensor<4>, run: fn(&Conv2d, Tensor<4>) -> Tensor<4>) -> [Vec<f32>; 4] {
        let x = x.clone().detach().require_grad();
        let out = run(layer, x.clone());
        let dims = out.dims();
        let ramp: Vec<f32> = (0..dims.iter().product()).map(|i| (i as f32 * 0.7).sin()).collect();
        let ramp = Tensor::<4>::from_data(TensorData::new(ramp, dims.to_vec()), &x.device());
        let grads = (out.clone() * ramp).sum().backward();
        let bias = layer.bias.as_ref().unwrap().val();
        [
            numbers(out),
            numbers(x.grad(&grads).unwrap()),
            numbers(layer.weight.val().grad(&grads).unwrap()),
            numbers(bias.grad(&grads).unwrap()),
        ]
    }

    #[test]
    fn it_is_burns_own() {
        let device = Device::flex().autodiff();
        device.seed(3);
        for (channels, out, kernel, stride, padding) in
            [(3, 8, 3, 1, 1), (5, 4, 3, 2, 1), (4, 6, 1, 1, 0), (2, 3, 5, 1, 2), (3, 4, 2, 2, 0)]
        {
            let sides = PaddingConfig2d::Explicit(padding, padding, padding, padding);
            let layer = Conv2dConfig::new([channels, out], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(sides)
                .init(&device);
            let x = Tensor::<4>::random([5, channels, 9, 12], Distribution::Normal(0.0, 1.0), &device);
            assert!(is_ours(&layer, &x));
            let ours = all(&layer, &x, forward);
            let burns = all(&layer, &x, |layer, x| layer.forward(x));
            for (what, (a, b)) in ["output", "input", "weight", "bias"].iter().zip(ours.iter().zip(&burns)) {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().zip(b) {
                    assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{what}, window {kernel}: {a}, Burn {b}");
                }
            }
        }
    }

    #[test]
    fn it_reads_views_and_skips_what_nobody_asks_for() {
        let device = Device::flex().autodiff();
        device.seed(4);
        let layer = Conv2dConfig::new([2, 3], [3, 3]).init(&device);
        let x = Tensor::<4>::random([2, 6, 7, 2], Distribution::Normal(0.0, 1.0), &device).permute([0, 3, 2, 1]);
        let (ours, burns) = (forward(&layer, x.clone()), layer.forward(x));
        for (a, b) in numbers(ours.clone()).iter().zip(numbers(burns)) {
            assert!((a - b).abs() < 1e-5);
        }
        let grads = ours.sum().backward();
        assert!(layer.weight.val().grad(&grads).is_some());
    }

    #[test]
    fn what_the_kernels_do_not_have_goes_to_burn() {
        let device = Device::flex();
        let x = Tensor::<4>::ones([1, 4, 8, 8], &device);
        let layers = [
            Conv2dConfig::new([4, 4], [3, 3]).with_groups(2),
            Conv2dConfig::new([4, 4], [3, 3]).with_dilation([2, 2]),
            Conv2dConfig::new([4, 4], [3, 1]),
            Conv2dConfig::new([4, 4], [3, 3]).with_stride([1, 2]),
        ];
        for layer in layers.map(|config| config.init(&device)) {
            assert!(!is_ours(&layer, &x));
            assert_eq!(numbers(forward(&layer, x.clone())), numbers(layer.forward(x.clone())));
        }
    }
}
