//! Stochastic gradient descent with momentum, as PyTorch does it: `g += decay w`, `v = momentum v + g`, `w -= rate v`.

use lossmith::simd::widest;

/// What is added to the gradient of a weight `w`: `l1 sign(w) + l2 w`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pull {
    pub l1: f32,
    pub l2: f32,
}

/// One step for some parameters; an empty velocity stands for no momentum. Whether all of them are finite afterwards.
pub(crate) fn update(
    parameters: &mut [f32],
    velocity: &mut [f32],
    gradient: &[f32],
    rate: f32,
    momentum: f32,
    pull: Pull,
) -> bool {
    widest(
        #[inline(always)]
        || {
            let slope = |w: f32, g: f32| {
                let sign = f32::from(w > 0.0) - f32::from(w < 0.0);
                g + pull.l2 * w + pull.l1 * sign
            };
            let mut finite = true;
            if velocity.is_empty() {
                for (w, g) in parameters.iter_mut().zip(gradient) {
                    *w -= rate * slope(*w, *g);
                    finite &= w.is_finite();
                }
            } else {
                for ((w, v), g) in parameters.iter_mut().zip(velocity).zip(gradient) {
                    *v = momentum * *v + slope(*w, *g);
                    *w -= rate * *v;
                    finite &= w.is_finite();
                }
            }
            finite
        },
    )
}
