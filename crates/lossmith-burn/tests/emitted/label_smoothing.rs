// label_smoothing: a class loss, written by lossmith 0.1.0.
//
// loss = -(x*(1 - 0.1) + 0.1/n)*log(y)
//
// summed over the classes and averaged over the rows; x is the one-hot label, y the softmax
// of the logits, n the number of classes.
//
// Provenance: the tests of lossmith-burn

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// `-(x*(1 - 0.1) + 0.1/n)*log(y)`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct LabelSmoothingLoss;

impl LabelSmoothingLoss {
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]`.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
        let classes = logits.dims()[1];
        let u = log_softmax(logits, 1);
        let x: Tensor<2> = target.one_hot::<2>(classes).float();
        let n = classes as f64;
        let loss: Tensor<2> = ((x.clone() * (0.9)) + ((0.1 / n))).neg() * u.clone();
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
        let loss = LabelSmoothingLoss.forward(logits.clone(), target);
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-5 + 1e-4 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), 1.4170758));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = [[0.04347265, 0.0006691953, -0.07615505, 0.032013208], [-0.104820624, 0.08779927, 0.01920912, -0.002187782], [-0.0030253194, -0.29390466, 0.015455536, 0.28147444]].concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{gradient:?}");
    }
}
