//! Dense layers over the `gemm` crate, and the fused bias and ReLU around them.
//!
//! `out[n, o] = bias[o] + sum over i of in[n, i] * w[i, o]`; weights are `[inputs, outputs]`, row by row.

use gemm::Parallelism;

use super::vectorized;

/// A matrix in a slice: entry (`r`, `c`) is at `r * row + c * column`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix row by row.
    ///
    /// # Panics
    /// If the slice is shorter than `rows * columns`.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(values.len() >= rows * columns, "{} values for a {rows} x {columns} matrix", values.len());
        Self { values, rows, columns, row: columns, column: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }
}

/// `product = a b`, row by row.
///
/// # Panics
/// If the sizes do not fit.
pub fn multiply(a: Matrix<'_>, b: Matrix<'_>, product: &mut [f32]) {
    assert!(a.columns == b.rows && product.len() >= a.rows * b.columns, "matrices do not fit: {a:?} {b:?}");
    // SAFETY: every entry that gemm reads or writes lies in its slice: `Matrix::new` checked the operands, the line
    // above the product; the product is exclusively borrowed, and written whole (`read_dst` is false).
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            product.as_mut_ptr(),
            1,
            b.columns as isize,
            false,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Adds the bias to each row, and takes the positive part with `relu`.
pub fn add_bias(output: &mut [f32], bias: &[f32], relu: bool) {
    vectorized(
        #[inline(always)]
        || {
            for row in output.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    let sum = *value + bias;
                    // Written so that what is not a number stays so.
                    *value = if relu && sum < 0.0 { 0.0 } else { sum };
                }
            }
        },
    );
}

/// Adds each row of `gradient` to the gradient of the bias.
pub fn sum_rows(gradient: &[f32], bias: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for row in gradient.chunks_exact(bias.len()) {
                bias.iter_mut().zip(row).for_each(|(b, g)| *b += g);
            }
        },
    );
}

/// Stops the gradient where ReLU's output is 0.
pub fn relu_backward(gradient: &mut [f32], output: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (g, &o) in gradient.iter_mut().zip(output) {
                *g = if o > 0.0 { *g } else { 0.0 };
            }
        },
    );
}
