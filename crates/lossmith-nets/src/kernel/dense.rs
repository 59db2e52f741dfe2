//! Dense layers over the `gemm` crate, and the fused bias and ReLU around them.
//!
//! `out[n, o] = bias[o] + sum over i of in[n, i] * w[i, o]`; weights are `[inputs, outputs]`, row by row.

use gemm::Parallelism;

use super::bf16::{self, Right, Side, Start, Target, Unit};
use super::slices::{add_rows, row_starts, transpose};
use lossmith::simd::widest;

/// With fewer inputs or outputs, rounding costs more than faster products save.
const LEAST: usize = 32;

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

/// The products of a dense layer. Here weights are `[outputs, inputs]`, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Products {
    images: usize,
    inputs: usize,
    outputs: usize,
    unit: Option<Unit>,
}

/// Blocks of bf16 operands, and outputs before they are turned.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    halves: bf16::Scratch,
    turned: Vec<f32>,
}

impl Products {
    /// The products for so many images; with a unit, of bf16 operands if the layer is large enough to gain by it.
    pub fn new(images: usize, inputs: usize, outputs: usize, unit: Option<Unit>) -> Self {
        let unit = unit.filter(|_| inputs.min(outputs) >= LEAST);
        Self { images, inputs, outputs, unit }
    }

    /// `output = input weights'`, `[images, outputs]`.
    ///
    /// # Panics
    /// If a slice is shorter than the sizes say.
    pub fn forward(self, input: &[f32], weights: &[f32], output: &mut [f32], scratch: &mut Scratch) {
        let Self { images, inputs, outputs, unit } = self;
        let Some(unit) = unit else {
            let weights = Matrix::new(weights, outputs, inputs);
            return multiply(Matrix::new(input, images, inputs), weights.transposed(), output);
        };
        // The other way round: so the weights, which are the most, are paired where they lie.
        let (left, right) = (row_starts(outputs, inputs), row_starts(images, inputs));
        let sides = (Side::Lines { values: weights, starts: &left }, Side::Lines { values: input, starts: &right });
        let Scratch { halves, turned } = scratch;
        turned.resize(outputs * images, 0.0);
        in_halves(unit, sides, inputs, (turned, outputs, images), halves);
        transpose(turned, outputs, images, output);
    }

    /// `product = gradient' input`, the gradient of the weights.
    ///
    /// # Panics
    /// If a slice is shorter than the sizes say.
    pub fn backward_weights(self, input: &[f32], gradient: &[f32], product: &mut [f32], scratch: &mut Scratch) {
        let Self { images, inputs, outputs, unit } = self;
        let Some(unit) = unit else {
            let gradient = Matrix::new(gradient, images, outputs).transposed();
            return multiply(gradient, Matrix::new(input, images, inputs), product);
        };
        let (left, right) = (row_starts(images, outputs), row_starts(images, inputs));
        let sides = (Side::Depths { values: gradient, starts: &left }, Side::Depths { values: input, starts: &right });
        in_halves(unit, sides, images, (product, outputs, inputs), &mut scratch.halves);
    }

    /// `product = gradient weights`, the gradient of the input.
    ///
    /// # Panics
    /// If a slice is shorter than the sizes say.
    pub fn backward_input(self, gradient: &[f32], weights: &[f32], product: &mut [f32], scratch: &mut Scratch) {
        let Self { images, inputs, outputs, unit } = self;
        let Some(unit) = unit else {
            let gradient = Matrix::new(gradient, images, outputs);
            return multiply(gradient, Matrix::new(weights, outputs, inputs), product);
        };
        let (left, right) = (row_starts(images, outputs), row_starts(outputs, inputs));
        let sides = (Side::Lines { values: gradient, starts: &left }, Side::Depths { values: weights, starts: &right });
        in_halves(unit, sides, outputs, (product, images, inputs), &mut scratch.halves);
    }
}

/// A product of bf16 operands over `depth`, as a matrix of `rows` x `columns`.
fn in_halves(
    unit: Unit,
    (left, right): (Side<'_>, Side<'_>),
    depth: usize,
    (values, rows, columns): (&mut [f32], usize, usize),
    scratch: &mut bf16::Scratch,
) {
    let places = row_starts(rows, columns);
    let target = Target { values, places: &places, columns, start: Start::Zero, relu: false };
    bf16::multiply(unit, left, Right::Side(right), depth, target, scratch);
}

/// Adds the bias to each row, and takes the positive part with `relu`.
pub fn add_bias(output: &mut [f32], bias: &[f32], relu: bool) {
    widest(
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
    let (width, mut sums) = (bias.len(), vec![0.0; bias.len()]);
    widest(
        #[inline(always)]
        || add_rows(gradient, (0..gradient.len() / width).map(|row| row * width), &mut sums),
    );
    bias.iter_mut().zip(sums).for_each(|(b, s)| *b = (f64::from(*b) + s) as f32);
}

/// Stops the gradient where ReLU's output is 0.
pub fn relu_backward(gradient: &mut [f32], output: &[f32]) {
    widest(
        #[inline(always)]
        || {
            for (g, &o) in gradient.iter_mut().zip(output) {
                *g = if o > 0.0 { *g } else { 0.0 };
            }
        },
    );
}
