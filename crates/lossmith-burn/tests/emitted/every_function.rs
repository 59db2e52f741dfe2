// every_function: a class loss, written by lossmith 0.1.0.
//
// loss = tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n) - max(2 - n*y, 1)^2 + 1/(x + 1) - log(1 - y*(1 - x))/(x - 0.5) + min(x, y^1.5) - 2^(-y)*square(y) + y^(x + 0.5) - log(n)
//
// summed over the classes and averaged over the rows; x is the one-hot label, y the softmax
// of the logits, n the number of classes.
//
// Provenance: the tests of lossmith-burn

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};

/// `tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n) - max(2 - n*y, 1)^2 + 1/(x + 1) - log(1 - y*(1 - x))/(x - 0.5) + min(x, y^1.5) - 2^(-y)*square(y) + y^(x + 0.5) - log(n)`, with `x` the one-hot label, `y` the softmax of the logits, `n` the number of classes.
#[derive(Module, Debug, Default)]
pub struct EveryFunctionLoss;

impl EveryFunctionLoss {
    /// The mean over the rows of logits `[N, C]`, with labels target `[N]` from 0 to C - 1.
    pub fn forward(&self, logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        assert_eq!(target.dims(), [rows], "one label for every row of logits");
        let label = target.one_hot::<2>(classes).equal_elem(1);
        let margin = margin(logits.clone(), label.clone());
        let n = classes as f64;
        let own = own(log_sigmoid(margin.clone()), log_sigmoid(margin.clone().neg()), n);
        // The label's place is taken by a number that does no harm, and its loss is left out.
        let margins = margins(logits).mask_fill(label.clone(), 0.0);
        let other = other(log_sigmoid(margins.clone()), log_sigmoid(margins.clone().neg()), n);
        let other = other.mask_fill(label, 0.0).sum_dim(1);
        (own + other).mean()
    }
}

/// The loss of the label's class.
fn own(u: Tensor<2>, v: Tensor<2>, n: f64) -> Tensor<2> {
    let y = probability(u.clone());
    let missed = probability(v.clone()); // 1 - y
    let s0 = y.clone().neg();
    let s1 = y.clone().powf_scalar(1.5);
    (((((((missed.clone().tanh() * (y.clone() - (0.2)).abs()) + (s0.clone().exp() / (y.clone() + (n)).sqrt())) - (y.clone() * (n)).neg().add_scalar(2.0).max_pair(u.full_like(1.0)).square()) + (0.5)) + s1.clone().min_pair(u.full_like(1.0))) - (u.full_like(2.0).powf(s0.clone()) * y.clone().square())) + s1.clone()) - ((n).ln())
}

/// The loss of a class that is not the label.
fn other(u: Tensor<2>, v: Tensor<2>, n: f64) -> Tensor<2> {
    let y = probability(u.clone());
    let s0 = y.clone().neg();
    ((((((((s0.clone().tanh() * (y.clone() - (0.2)).abs()) + (s0.clone().exp() / (y.clone() + (n)).sqrt())) - (y.clone() * (n)).neg().add_scalar(2.0).max_pair(u.full_like(1.0)).square()) + (1.0)) - (v.clone() * (-2.0))) + y.clone().powf_scalar(1.5).min_pair(u.full_like(0.0))) - (u.full_like(2.0).powf(s0.clone()) * y.clone().square())) + y.clone().sqrt()) - ((n).ln())
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

/// `exp(log)`, but no less than the least normal f32; the slope is that of an exponential everywhere.
fn probability(log: Tensor<2>) -> Tensor<2> {
    let held = log.clone().detach();
    held.clone().exp().clamp_min(f32::MIN_POSITIVE) * (log - held).exp()
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
        let near = |is: f32, should: f32| is == should || (is - should).abs() <= 1e-6 + 1e-5 * should.abs();
        assert!(near(loss.clone().into_scalar::<f32>(), -10.450615));
        let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let expected: Vec<f32> = [[0.26698405, 0.101094835, -0.6294838, 0.26140493], [0.028534036, -0.4211243, 0.3004374, 0.09215291], [0.156127, 0.38312286, 0.60594225, -1.1451921]].concat();
        assert!(gradient.iter().zip(&expected).all(|(is, should)| near(*is, *should)), "{gradient:?}");
    }
}
