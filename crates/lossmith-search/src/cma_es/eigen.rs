//! Eigenvalues and eigenvectors of a symmetric matrix: Householder reduction to tridiagonal form, then implicit QL steps in the
//! form without square roots, whose chain of operations that wait for each other is half as long.
//!
//! References: Golub and Van Loan, Matrix Computations, 4th edition, algorithm 8.3.1; Parlett, The Symmetric Eigenvalue Problem,
//! section 8.15 (the variant of Pal, Walker and Kahan). Vectors of every width give the same bits: they run across columns, whose
//! sums are apart, and nothing is fused.

use pulp::{Arch, Simd, WithSimd};

use super::linear::{add_scaled, dot, identity};

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
    // QL finds small eigenvalues first, in fewer steps if small entries come first.
    if n > 0 && matrix[0] > matrix[n * n - 1] {
        let turned: Vec<f64> = matrix.iter().rev().copied().collect();
        let mut found = Arch::new().dispatch(Decomposition { matrix: &turned, n })?;
        found.vectors.chunks_exact_mut(n).for_each(<[f64]>::reverse);
        return Some(found);
    }
    Arch::new().dispatch(Decomposition { matrix, n })
}

struct Decomposition<'a> {
    matrix: &'a [f64],
    n: usize,
}

impl WithSimd for Decomposition<'_> {
    type Output = Option<Eigen>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { matrix, n } = self;
        // Works on entries up to 1, so that nothing overflows.
        let size = largest(matrix).max(f64::MIN_POSITIVE);
        let mut a = Panels::new(simd, matrix, n);
        a.numbers.iter_mut().for_each(|x| *x /= size);
        let mut basis = Panels::new(simd, &identity(n), n);
        let (mut values, couplings) = tridiagonalise(&mut a, &mut basis);
        basis.make_positive(&couplings);
        let mut squares: Vec<f64> = couplings.iter().map(|e| e * e).collect();
        implicit_ql(&mut values, &mut squares, &mut basis)?;
        values.iter_mut().for_each(|v| *v *= size);
        Some(Eigen { values, vectors: basis.rows() })
    }
}

/// A square matrix cut into panels as wide as a vector, each of which holds its part of every row, so that what combines
/// rows runs down a panel. The last panel is filled up with columns of zeros.
struct Panels<S: Simd> {
    simd: S,
    n: usize,
    numbers: Vec<f64>,
}

impl<S: Simd> Panels<S> {
    #[inline(always)]
    fn new(simd: S, matrix: &[f64], n: usize) -> Self {
        let mut panels = Self { simd, n, numbers: vec![0.0; n.next_multiple_of(S::F64_LANES) * n] };
        for (i, row) in matrix.chunks_exact(n).enumerate() {
            for (p, part) in row.chunks(S::F64_LANES).enumerate() {
                panels.numbers[(p * n + i) * S::F64_LANES..][..part.len()].copy_from_slice(part);
            }
        }
        panels
    }

    /// Where an entry lies in `numbers`.
    #[inline(always)]
    fn place(&self, row: usize, column: usize) -> usize {
        (column / S::F64_LANES * self.n + row) * S::F64_LANES + column % S::F64_LANES
    }

    /// The matrix row by row.
    #[inline(always)]
    fn rows(&self) -> Vec<f64> {
        let n = self.n;
        let mut rows = vec![0.0; n * n];
        for (i, row) in rows.chunks_exact_mut(n).enumerate() {
            for (p, part) in row.chunks_mut(S::F64_LANES).enumerate() {
                part.copy_from_slice(&self.numbers[(p * n + i) * S::F64_LANES..][..part.len()]);
            }
        }
        rows
    }

    /// The panels from `first` on, each as one vector a row.
    #[inline(always)]
    fn from(&mut self, first: usize) -> impl Iterator<Item = &mut [S::f64s]> {
        S::as_mut_simd_f64s(&mut self.numbers).0.chunks_exact_mut(self.n).skip(first)
    }

    /// Reflects the rows from `first` on: q <- (1 - scale v v') q, where `v` begins with that row.
    #[inline(always)]
    fn reflect(&mut self, first: usize, v: &[f64], scale: f64) {
        let simd = self.simd;
        for panel in self.from(0) {
            let rows = &mut panel[first..];
            let sum = simd.mul_f64s(simd.splat_f64s(-scale), combine(simd, rows, v));
            for (row, v) in rows.iter_mut().zip(v) {
                *row = plus(simd, *row, *v, sum);
            }
        }
    }

    /// Turns the signs of rows so that the couplings between them become positive.
    #[inline(always)]
    fn make_positive(&mut self, couplings: &[f64]) {
        let simd = self.simd;
        for panel in self.from(0) {
            let mut sign = 1.0;
            for (row, coupling) in panel[1..].iter_mut().zip(couplings) {
                sign = if *coupling < 0.0 { -sign } else { sign };
                *row = simd.mul_f64s(simd.splat_f64s(sign), *row);
            }
        }
    }

    /// Turns each of the rows from `first` on and the one after it into each other, the last pair first; the first row comes
    /// out times `sign`.
    #[inline(always)]
    fn turn(&mut self, first: usize, turns: &[Turn], sign: f64) {
        let simd = self.simd;
        for panel in self.from(0) {
            let rows = &mut panel[first..=first + turns.len()];
            let mut carried = rows[turns.len()];
            for (i, turn) in turns.iter().enumerate().rev() {
                let (c, s, row) = (simd.splat_f64s(turn.cosine), simd.splat_f64s(turn.sine), rows[i]);
                rows[i + 1] = simd.add_f64s(simd.mul_f64s(s, row), simd.mul_f64s(c, carried));
                carried = simd.sub_f64s(simd.mul_f64s(c, row), simd.mul_f64s(s, carried));
            }
            rows[0] = simd.mul_f64s(simd.splat_f64s(sign), carried);
        }
    }
}

/// a + factor * b.
#[inline(always)]
fn plus<S: Simd>(simd: S, a: S::f64s, factor: f64, b: S::f64s) -> S::f64s {
    simd.add_f64s(a, simd.mul_f64s(simd.splat_f64s(factor), b))
}

/// The sum of rows, each times its factor; every other one apart, so that additions wait less for each other.
#[inline(always)]
fn combine<S: Simd>(simd: S, rows: &[S::f64s], factors: &[f64]) -> S::f64s {
    let (mut even, mut odd) = (simd.splat_f64s(0.0), simd.splat_f64s(0.0));
    let (pairs, last) = rows.as_chunks::<2>();
    let (two, one) = factors.as_chunks::<2>();
    for (rows, factors) in pairs.iter().zip(two) {
        even = plus(simd, even, factors[0], rows[0]);
        odd = plus(simd, odd, factors[1], rows[1]);
    }
    for (row, factor) in last.iter().zip(one) {
        even = plus(simd, even, *factor, *row);
    }
    simd.add_f64s(even, odd)
}

/// Reduces a symmetric matrix to tridiagonal form, and takes `basis` along. Returns the diagonal and, at `i`, the entry that
/// couples `i` and `i + 1`.
#[inline(always)]
fn tridiagonalise<S: Simd>(a: &mut Panels<S>, basis: &mut Panels<S>) -> (Vec<f64>, Vec<f64>) {
    let (simd, n) = (a.simd, a.n);
    let mut diagonal = vec![0.0; n];
    let mut couplings = vec![0.0; n];
    // Filled up like a row of panels.
    let width = n.next_multiple_of(S::F64_LANES);
    let (mut v, mut w) = (vec![0.0; width], vec![0.0; width]);
    for k in 0..n - 1 {
        diagonal[k] = a.numbers[a.place(k, k)];
        // The reflection that maps row k right of the diagonal to a multiple of the first unit vector.
        for (j, v) in v.iter_mut().enumerate().take(n).skip(k + 1) {
            *v = a.numbers[a.place(k, j)];
        }
        v[k] = 0.0;
        let ahead = &mut v[k + 1..n];
        let size = largest(ahead);
        if size == 0.0 {
            continue;
        }
        // Divided by its largest entry, so that no square over- or underflows.
        ahead.iter_mut().for_each(|x| *x /= size);
        let lead = -dot(ahead, ahead).sqrt().copysign(ahead[0]);
        couplings[k] = lead * size;
        ahead[0] -= lead;
        let scale = 2.0 / dot(ahead, ahead);
        let ahead = &v[k + 1..n];

        // A <- (1 - scale v v') A (1 - scale v v') on what is left, a symmetric update of rank two. Columns before it take part
        // as far as they share a panel with it, and are not read again.
        let start = (k + 1) / S::F64_LANES;
        let parts = S::as_mut_simd_f64s(&mut w).0;
        for (w, panel) in parts[start..].iter_mut().zip(a.from(start)) {
            *w = simd.mul_f64s(simd.splat_f64s(scale), combine(simd, &panel[k + 1..], ahead));
        }
        w[start * S::F64_LANES..=k].fill(0.0);
        let half = 0.5 * scale * dot(&w[k + 1..n], ahead);
        add_scaled(&mut w[k + 1..n], -half, ahead);
        let parts = S::as_simd_f64s(&v).0.iter().zip(S::as_simd_f64s(&w).0).skip(start);
        for (panel, (v_part, w_part)) in a.from(start).zip(parts) {
            for ((row, vi), wi) in panel[k + 1..].iter_mut().zip(ahead).zip(&w[k + 1..n]) {
                *row = plus(simd, plus(simd, *row, -vi, *w_part), -wi, *v_part);
            }
        }
        basis.reflect(k + 1, ahead, scale);
    }
    diagonal[n - 1] = a.numbers[a.place(n - 1, n - 1)];
    (diagonal, couplings)
}

/// A rotation of two rows.
#[derive(Clone, Copy, Default)]
struct Turn {
    cosine: f64,
    sine: f64,
}

/// Diagonalises a tridiagonal matrix, given as its diagonal and the squares of the couplings, and turns `basis` along.
///
/// The entries are at most about 1, so squares cannot overflow, and a coupling whose square would underflow is none.
#[inline(always)]
fn implicit_ql<S: Simd>(d: &mut [f64], squares: &mut [f64], basis: &mut Panels<S>) -> Option<()> {
    const MOST_STEPS: usize = 60;
    let n = d.len();
    let mut turns = vec![Turn::default(); n];
    for l in 0..n {
        for step in 0.. {
            // The first coupling from l on that is negligible ends the block to work on.
            let m = (l..n - 1).find(|&m| is_negligible(squares[m], d[m], d[m + 1])).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if step == MOST_STEPS {
                return None;
            }
            let turns = &mut turns[..m - l];
            let sign = ql_step(&mut d[l..=m], &mut squares[l..=m], turns);
            basis.turn(l, turns, sign);
        }
    }
    Some(())
}

/// Whether a coupling, given its square, counts for nothing beside the two entries of the diagonal that it couples.
#[inline(always)]
fn is_negligible(square: f64, a: f64, b: f64) -> bool {
    const NONE: f64 = 1e-280;
    let near = f64::EPSILON * (a.abs() + b.abs());
    square <= near * near || square < NONE
}

/// One QL step with Wilkinson's shift on a block whose couplings all count. Returns the sign of the first coupling.
///
/// Where the textbook's step keeps `g` and a cosine, this one keeps g^2 = `p`, the squares `c` and `s` of cosine and sine, and
/// `gamma` = g times the cosine before, for which no root is needed from one entry to the next. Signs go beside them.
#[inline(always)]
fn ql_step(d: &mut [f64], squares: &mut [f64], turns: &mut [Turn]) -> f64 {
    const SIGN: u64 = 1 << 63;
    const LEAST: f64 = 1e-280;
    let last = turns.len();
    let (d, squares) = (&mut d[..=last], &mut squares[..=last]);

    let coupling = squares[0].sqrt();
    let ratio = (d[1] - d[0]) / (2.0 * coupling);
    let shift = d[0] - coupling / (ratio + (ratio * ratio + 1.0).sqrt().copysign(ratio));

    let (mut c, mut s) = (1.0, 0.0);
    let mut gamma = d[last] - shift;
    let mut p = gamma * gamma;
    let (mut sign_of_c, mut sign_of_g) = (0, gamma.to_bits() & SIGN);
    for i in (0..last).rev() {
        let (c_before, sign_before, gamma_before) = (c, sign_of_c, gamma);
        let r = p + squares[i];
        squares[i + 1] = s * r;
        c = p / r;
        s = squares[i] / r;
        gamma = c * (d[i] - shift) - s * gamma_before;
        d[i + 1] = gamma_before + (d[i] - gamma);
        sign_of_c = sign_of_g;
        turns[i] = Turn { cosine: f64::from_bits(c.to_bits() | sign_of_c), sine: s };
        if c > LEAST {
            p = gamma * gamma * (r / p);
            sign_of_g ^= gamma.to_bits() & SIGN;
        } else {
            // The limit for g = 0: a quarter turn.
            p = c_before * squares[i];
            sign_of_g = sign_before ^ SIGN;
        }
    }
    squares[0] = s * p;
    d[0] = shift + gamma;
    for turn in turns {
        turn.cosine = turn.cosine.abs().sqrt().copysign(turn.cosine);
        turn.sine = turn.sine.sqrt();
    }
    if sign_of_g == 0 { 1.0 } else { -1.0 }
}

#[inline(always)]
fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0f64, |m, x| m.max(x.abs()))
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
        fn decomposes_any_symmetric_matrix(n in 1usize..20, raw in proptest::collection::vec(-1.0..1.0f64, 400), power in -8i32..8) {
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..=i {
                    matrix[i * n + j] = raw[i * 20 + j] * 10f64.powi(power * (i as i32 % 3));
                    matrix[j * n + i] = matrix[i * n + j];
                }
            }
            check(&matrix, n);
            same_bits_by_all_vectors(&matrix, n);
        }
    }

    fn same_bits_by_all_vectors(matrix: &[f64], n: usize) {
        let scalar = Decomposition { matrix, n }.with_simd(pulp::Scalar::new());
        assert_eq!(Arch::new().dispatch(Decomposition { matrix, n }), scalar);
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = pulp::x86::V3::try_new() {
            assert_eq!(Simd::vectorize(avx2, Decomposition { matrix, n }), scalar);
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
        // The shift of the first QL step is the last entry of the block: a quarter turn.
        let quarter_turn = [0.0, 1.0, 0.0, 0.0, 1.0, -1.5, 1.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 4.0];
        check(&quarter_turn, 4);
        let mut turns = [Turn::default(); 2];
        ql_step(&mut [0.0, -1.5, 0.5], &mut [1.0; 3], &mut turns);
        assert_eq!((turns[1].cosine, turns[1].sine), (0.0, 1.0));
    }

    #[test]
    fn what_is_not_finite_has_no_eigenvectors() {
        assert_eq!(eigen(&[f64::NAN], 1), None);
        assert_eq!(eigen(&[1.0, f64::INFINITY, f64::INFINITY, 1.0], 2), None);
    }
}
