// every_function: a class loss, written by lossmith 0.1.0.
//
// loss = tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n) - max(2 - n*y, 1)^2 + 1/(x + 1) - log(1 - y*(1 - x))/(x - 0.5) + min(x, y^1.5) - 2^(-y)*square(y) + y^(x + 0.5) - log(n)
//
// summed over the classes and averaged over the rows; x is the one-hot label, y the softmax
// of the logits, n the number of classes.
//
// Provenance: the tests of lossmith-burn

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// `tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n) - max(2 - n*y, 1)^2 + 1/(x + 1) - log(1 - y*(1 - x))/(x - 0.5) + min(x, y^1.5) - 2^(-y)*square(y) + y^(x + 0.5) - log(n)`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct EveryFunctionLoss;

impl EveryFunctionLoss {
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]`.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
        let classes = logits.dims()[1];
        let u = log_softmax(logits, 1);
        // No probability is less than the least normal number, but gradients pass as if it could be.
        let lift = (u.clone().clamp_min(f32::MIN_POSITIVE.ln()) - u.clone()).detach();
        let y = (u.clone() + lift).exp();
        let x: Tensor<2> = target.one_hot::<2>(classes).float();
        let n = classes as f64;
        let loss: Tensor<2> = (((((((((x.clone() - y.clone()).tanh() * (y.clone() - (0.2)).abs()) + (y.clone().neg().exp() / nonzero((y.clone() + (n)).sqrt()))) - (y.clone() * (n)).neg().add_scalar(2.0).max_pair(y.full_like(1.0)).powf_scalar(2.0)) + nonzero(x.clone() + (1.0)).recip().mul_scalar(1.0)) - (nonzero((y.clone() * x.clone().neg().add_scalar(1.0)).neg().add_scalar(1.0)).log() / nonzero(x.clone() - (0.5)))) + x.clone().min_pair(y.clone().powf_scalar(1.5))) - (y.full_like(2.0).powf(y.clone().neg()) * y.clone().square())) + y.clone().powf(x.clone() + (0.5))) - ((n).ln());
        loss.sum_dim(1).mean()
    }
}

/// The same, but for exact zeros, which have no logarithm and no inverse.
fn nonzero(a: Tensor<2>) -> Tensor<2> {
    let zeros = a.clone().equal_elem(0.0);
    a.mask_fill(zeros, f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn value_and_gradient_are_those_that_lossmith_computed() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[0.5, -1.25, 2.0, 0.25], [1.5, 0.75, -0.5, -2.0], [-1.0, 0.0, 0.5, 3.0]], &device).require_grad();
        let target = Tensor::<1, Int>::from_ints([2, 0, 1], &device);
        let loss = EveryFunctionLoss.forward(logits.clone(), target);
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-5 + 1e-4 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), -10.450615));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = [[0.26698405, 0.101094835, -0.6294839, 0.26140493], [0.028534036, -0.4211243, 0.3004374, 0.09215291], [0.15612698, 0.3831228, 0.60594213, -1.1451921]].concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{gradient:?}");
    }
}
