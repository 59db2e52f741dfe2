//! The few operations on vectors that CMA-ES is made of. Those marked to be inlined always are compiled for the vectors of
//! whatever calls them.

/// The inner product, summed in four lanes in a fixed order, so that it is fast and always the same.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a1.iter().zip(b1).map(|(a, b)| a * b).sum();
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]) + rest
}

/// `to += factor * what`.
#[inline(always)]
pub(super) fn add_scaled(to: &mut [f64], factor: f64, what: &[f64]) {
    for (a, b) in to.iter_mut().zip(what) {
        *a += factor * b;
    }
}

/// The Euclidean length.
#[inline(always)]
pub(super) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// The identity matrix of `n` rows.
pub(super) fn identity(n: usize) -> Vec<f64> {
    let mut matrix = vec![0.0; n * n];
    matrix.iter_mut().step_by(n + 1).for_each(|v| *v = 1.0);
    matrix
}

/// Copies the lower triangle to the upper one.
pub(super) fn mirror(matrix: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            matrix[j * n + i] = matrix[i * n + j];
        }
    }
}
