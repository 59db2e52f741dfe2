//! How a loss of `lossmith` hangs in Burn's tape: by a scalar whose value is the loss and whose gradient is ours.

use burn::prelude::*;
use ndarray::{ArrayD, IxDyn};

/// A scalar with this value whose gradient with respect to `prediction` is `grad` (row-major, of its shape).
///
/// It is `v + s - detach(s)` with `s = sum(prediction * detach(grad))`; it adds to other terms as any scalar does.
///
/// # Panics
/// If `grad` has another number of elements than `prediction`.
pub fn hang<const D: usize>(prediction: Tensor<D>, value: f64, grad: Vec<f32>) -> Tensor<1> {
    let (device, shape) = (prediction.device(), prediction.shape());
    let grad = Tensor::<D>::from_data(TensorData::new(grad, shape), &device).detach();
    let s = (prediction * grad).sum();
    s.clone() - s.detach() + value
}

/// The numbers of a tensor on the host, of its shape. The tape is left behind.
pub fn to_array<const D: usize>(tensor: &Tensor<D>) -> ArrayD<f32> {
    let shape = tensor.dims();
    let numbers: Vec<f32> = tensor.clone().detach().into_data().iter::<f32>().collect();
    ArrayD::from_shape_vec(IxDyn(&shape), numbers).expect("a tensor has as many numbers as its shape says")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_gradient_come_through() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device).require_grad();
        let loss = hang(x.clone() * 2.0, 7.5, vec![0.5, -1.0, 0.0, 3.0]) + x.clone().sum();
        let grads = loss.backward();
        let grad = x.grad(&grads).expect("x is tracked").into_data().try_to_vec::<f32>().unwrap();
        assert_eq!((loss.into_scalar::<f32>(), grad), (17.5, vec![2.0, -1.0, 1.0, 7.0]));
    }
}
