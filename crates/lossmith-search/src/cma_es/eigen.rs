//! Eigenvalues and eigenvectors of a symmetric matrix: Householder reduction to tridiagonal form, then implicit QL.
//!
//! Reference: Golub and Van Loan, Matrix Computations, 4th edition, algorithms 8.3.1 and 8.3.2. Vectors are kept as rows, so
//! that every rotation runs over contiguous numbers.

use super::linear::{add_scaled, dot, norm};

/// A symmetric matrix as `values[i]` and `vectors[i*n..(i+1)*n]`: the i-th eigenvalue and its unit eigenvector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<f64>,
}

/// Decomposes a symmetric matrix of `n` rows, given in full; `None` where it is not finite or the iteration does not end.
pub(super) fn eigen(matrix: &[f64], n: usize) -> Option<Eigen> {
    if matrix.iter().any(|v| !v.is_finite()) {
        return None;
    }
    // Works on entries up to 1, so that nothing overflows.
    let size = matrix.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
    let mut vectors: Vec<f64> = matrix.iter().map(|v| v / size).collect();
    let (mut values, mut beside) = tridiagonalise(&mut vectors, n);
    implicit_ql(&mut values, &mut beside, &mut vectors, n)?;
    values.iter_mut().for_each(|v| *v *= size);
    Some(Eigen { values, vectors })
}

/// Reduces `a` to tridiagonal form. Afterwards row `i` of `a` is the i-th basis vector of that form.
/// Returns the diagonal and, at `i`, the entry that couples `i` and `i + 1`.
fn tridiagonalise(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut diagonal = vec![0.0; n];
    let mut beside = vec![0.0; n];
    let mut scales = vec![0.0; n];
    let mut product = vec![0.0; n];
    for k in 0..n.saturating_sub(1) {
        diagonal[k] = a[k * n + k];
        // The reflection v that maps column k below the diagonal to a multiple of the first unit vector; v lives in row k.
        let (head, tail) = a.split_at_mut((k + 1) * n);
        let v = &mut head[k * n + k + 1..];
        let size = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if size == 0.0 {
            continue;
        }
        // Divided by its largest entry, so that no square over- or underflows.
        v.iter_mut().for_each(|x| *x /= size);
        let lead = -norm(v).copysign(v[0]);
        beside[k] = lead * size;
        v[0] -= lead;
        let scale = 2.0 / dot(v, v);
        scales[k] = scale;
        // A <- (1 - scale v v') A (1 - scale v v') on what is left, a symmetric update of rank two.
        let v = &*v;
        let m = v.len();
        let w = &mut product[..m];
        for (w, row) in w.iter_mut().zip(tail.chunks_exact(n)) {
            *w = scale * dot(&row[k + 1..], v);
        }
        let half = 0.5 * scale * dot(w, v);
        add_scaled(w, -half, v);
        for (i, row) in tail.chunks_exact_mut(n).enumerate() {
            let (vi, wi) = (v[i], w[i]);
            for ((x, v), w) in row[k + 1..].iter_mut().zip(v).zip(&*w) {
                *x -= vi * w + wi * v;
            }
        }
    }
    diagonal[n - 1] = a[n * n - 1];
    accumulate(a, &scales, n);
    (diagonal, beside)
}

/// Turns the reflections in the rows of `a` into their product, last one first, each row one basis vector.
fn accumulate(a: &mut [f64], scales: &[f64], n: usize) {
    let mut v = vec![0.0; n];
    let mut projection = vec![0.0; n];
    for k in (0..n).rev() {
        let scale = if k + 1 < n { scales[k] } else { 0.0 };
        v[k + 1..].copy_from_slice(&a[k * n + k + 1..(k + 1) * n]);
        a[k * n..(k + 1) * n].fill(0.0);
        a[k * n + k] = 1.0;
        for row in a[(k + 1) * n..].chunks_exact_mut(n) {
            row[k] = 0.0;
        }
        if scale == 0.0 {
            continue;
        }
        // Rows are basis vectors, so the reflection acts on each row from the right: q <- q - scale (q v) v'.
        let v = &v[k + 1..];
        for (p, row) in projection.iter_mut().zip(a[(k + 1) * n..].chunks_exact(n)) {
            *p = scale * dot(&row[k + 1..], v);
        }
        for (p, row) in projection.iter().zip(a[(k + 1) * n..].chunks_exact_mut(n)) {
            add_scaled(&mut row[k + 1..], -p, v);
        }
    }
}

/// Diagonalises a tridiagonal matrix by QL steps with Wilkinson's shift and turns the rows of `vectors` along.
///
/// The entries are at most about 1, so squares cannot overflow, and a coupling whose square would underflow is none.
fn implicit_ql(d: &mut [f64], e: &mut [f64], vectors: &mut [f64], n: usize) -> Option<()> {
    const MOST_STEPS: usize = 60;
    const NO_COUPLING: f64 = 1e-140;
    for l in 0..n {
        for step in 0.. {
            // The first coupling from l on that is negligible ends the block to work on.
            let m = (l..n - 1)
                .find(|&m| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs()) || e[m].abs() < NO_COUPLING)
                .unwrap_or(n - 1);
            if m == l {
                break;
            }
            if step == MOST_STEPS {
                return None;
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = (f * f + g * g).sqrt();
                e[i + 1] = r;
                if r == 0.0 {
                    // The rotation underflowed: the block falls apart here.
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f * (1.0 / r), g * (1.0 / r));
                let shifted = d[i + 1] - p;
                let r = (d[i] - shifted) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = shifted + p;
                g = c * r - b;
                rotate(vectors, i, s, c, n);
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    Some(())
}

/// Rotates rows `i` and `i + 1` into each other.
fn rotate(vectors: &mut [f64], i: usize, s: f64, c: f64, n: usize) {
    let (upper, lower) = vectors[i * n..(i + 2) * n].split_at_mut(n);
    for (a, b) in upper.iter_mut().zip(lower) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The oracle: cyclic Jacobi, eigenvalues only.
    fn jacobi(matrix: &[f64], n: usize) -> Vec<f64> {
        let mut a = matrix.to_vec();
        for _ in 0..60 {
            for p in 0..n {
                for q in p + 1..n {
                    if a[p * n + q] == 0.0 {
                        continue;
                    }
                    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                    let t = if theta == 0.0 { 1.0 } else { t };
                    let (c, s) = (1.0 / t.hypot(1.0), t / t.hypot(1.0));
                    for k in 0..n {
                        let (x, y) = (a[k * n + p], a[k * n + q]);
                        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                    }
                    for k in 0..n {
                        let (x, y) = (a[p * n + k], a[q * n + k]);
                        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                    }
                }
            }
        }
        let mut values: Vec<f64> = (0..n).map(|i| a[i * n + i]).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn check(matrix: &[f64], n: usize) {
        let size = matrix.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let Eigen { values, vectors } = eigen(matrix, n).unwrap();
        for i in 0..n {
            let v = &vectors[i * n..(i + 1) * n];
            for r in 0..n {
                let residual = dot(&matrix[r * n..(r + 1) * n], v) - values[i] * v[r];
                assert!(residual.abs() < 1e-13 * size * n as f64, "residual {residual}");
            }
            for j in 0..n {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(v, &vectors[j * n..(j + 1) * n]) - expected).abs() < 1e-13 * n as f64);
            }
        }
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        for (a, b) in sorted.iter().zip(jacobi(matrix, n)) {
            assert!((a - b).abs() < 1e-12 * size * n as f64, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn decomposes_any_symmetric_matrix(n in 1usize..12, raw in proptest::collection::vec(-1.0..1.0f64, 144), power in -8i32..8) {
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..=i {
                    matrix[i * n + j] = raw[i * 12 + j] * 10f64.powi(power * (i as i32 % 3));
                    matrix[j * n + i] = matrix[i * n + j];
                }
            }
            check(&matrix, n);
        }
    }

    #[test]
    fn special_matrices() {
        check(&[0.0; 25], 5);
        check(&[3.0], 1);
        check(&[2.0, 0.0, 0.0, 2.0], 2);
        check(&[0.0, 1.0, 1.0, 0.0], 2);
        check(&[1.0; 49], 7);
        check(&[1e300, 1e290, 1e290, 1e280], 2);
        check(&[1e-300, 1e-301, 1e-301, 1e-310], 2);
        let n = 8;
        let diagonal: Vec<f64> =
            (0..n * n).map(|k| if k / n == k % n { 10f64.powi((k % n) as i32 * 2) } else { 0.0 }).collect();
        check(&diagonal, n);
    }

    #[test]
    fn what_is_not_finite_has_no_eigenvectors() {
        assert_eq!(eigen(&[f64::NAN], 1), None);
        assert_eq!(eigen(&[1.0, f64::INFINITY, f64::INFINITY, 1.0], 2), None);
    }
}
