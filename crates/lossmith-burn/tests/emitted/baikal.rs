// baikal: a class loss, written by lossmith 0.1.0.
//
// loss = -(log(y) - x/y)/n
//
// summed over the classes and averaged over the rows; x is the one-hot label, y the softmax
// of the logits, n the number of classes.
//
// Provenance: the tests of lossmith-burn

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// `-(log(y) - x/y)/n`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct BaikalLoss;

impl BaikalLoss {
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]`.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
        let classes = logits.dims()[1];
        let u = log_softmax(logits, 1);
        // No probability is less than the least normal number, but gradients pass as if it could be.
        let lift = (u.clone().clamp_min(f32::MIN_POSITIVE.ln()) - u.clone()).detach();
        let y = (u.clone() + lift).exp();
        let x: Tensor<2> = target.one_hot::<2>(classes).float();
        let n = classes as f64;
        let loss: Tensor<2> = (u.clone() - (x.clone() / y.clone())).neg() / (n);
        loss.sum_dim(1).mean()
    }
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
        let loss = BaikalLoss.forward(logits.clone(), target);
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-5 + 1e-4 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), 4.3671355));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = [[-0.012933172, -0.071099624, 0.11253844, -0.028505635], [0.0670211, 0.052163146, -0.044512942, -0.074671336], [-0.0473687, -1.9107497, 0.07784898, 1.8802692]].concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{gradient:?}");
    }
}
