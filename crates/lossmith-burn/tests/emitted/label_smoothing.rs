// label_smoothing: a class loss, written by lossmith 0.1.0.
//
// loss = -(x*(1 - 0.1) + 0.1/n)*log(y)
//
// summed over the classes and averaged over the rows; x is the one-hot label, y the softmax
// of the logits, n the number of classes.
//
// Provenance: the tests of lossmith-burn

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};

/// `-(x*(1 - 0.1) + 0.1/n)*log(y)`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct LabelSmoothingLoss;

impl LabelSmoothingLoss {
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]` from 0 to C - 1.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        assert_eq!(target.dims(), [rows], "one label for every row of logits");
        let label = target.one_hot::<2>(classes).equal_elem(1);
        let margin = margin(logits.clone(), label.clone());
        let n = classes as f64;
        let own = own(log_sigmoid(margin.clone()), n);
        // The label's place is taken by a number that does no harm, and its loss is left out.
        let margins = margins(logits).mask_fill(label.clone(), 0.0);
        let other = other(log_sigmoid(margins.clone()), n);
        let other = other.mask_fill(label, 0.0).sum_dim(1);
        (own + other).mean()
    }
}

/// The loss of the label's class.
fn own(u: Tensor<2>, n: f64) -> Tensor<2> {
    u.clone() * ((-(0.9 + (0.1 / n))))
}

/// The loss of a class that is not the label.
fn other(u: Tensor<2>, n: f64) -> Tensor<2> {
    u.clone() * ((-(0.1 / n)))
}

/// `log(y / (1 - y))` of the class of every row that is marked; exact however close y is to 0 or 1.
fn margin(logits: Tensor<2>, marked: Tensor<2, Bool>) -> Tensor<2> {
    if logits.dims()[1] == 1 {
        return (logits * 0.0).add_scalar(f32::MAX);
    }
    let others = logits.clone().mask_fill(marked.clone(), f32::MIN);
    let most = others.clone().max_dim(1).detach();
    let sum = (others - most.clone()).exp().sum_dim(1).log() + most;
    logits.mask_fill(marked.bool_not(), 0.0).sum_dim(1) - sum
}

/// The same of every class.
fn margins(logits: Tensor<2>) -> Tensor<2> {
    let [rows, classes] = logits.dims();
    let largest = logits.clone().argmax(1).reshape([rows]).one_hot::<2>(classes).equal_elem(1);
    let top = margin(logits.clone(), largest.clone());
    // That of a class that is not the largest needs no care: log y - log(1 - y).
    let most = logits.clone().mask_fill(largest.clone().bool_not(), 0.0).sum_dim(1);
    let u = logits - most + log_sigmoid(top.clone());
    let u = u.mask_fill(largest.clone(), -1.0);
    let margins = u.clone() - u.exp().neg().log1p();
    margins.mask_where(largest, top.expand([rows, classes]))
}

/// `-log(1 + exp(-a))`
fn log_sigmoid(a: Tensor<2>) -> Tensor<2> {
    a.clone().clamp_max(0.0) - a.abs().neg().exp().log1p()
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
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-6 + 1e-5 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), 1.4170756));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = [[0.04347265, 0.0006691953, -0.076155044, 0.032013208], [-0.104820624, 0.08779928, 0.01920912, -0.0021877815], [-0.0030253194, -0.29390466, 0.015455536, 0.28147444]].concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{gradient:?}");
    }
}
