//! What several kernels do with plain slices.

/// Makes room; what the room holds is written before it is read.
pub(super) fn grow<T: Copy + Default>(values: &mut Vec<T>, size: usize) {
    if values.len() < size {
        values.resize(size, T::default());
    }
}

/// Where the rows of a matrix start, `size` values each.
pub(super) fn row_starts(count: usize, size: usize) -> Vec<usize> {
    (0..count).map(|row| row * size).collect()
}

/// Adds the rows that start where `starts` says, as long as `sum`.
#[inline(always)]
pub(super) fn add_rows(values: &[f32], starts: impl Iterator<Item = usize>, sum: &mut [f64]) {
    for start in starts {
        let row = &values[start..start + sum.len()];
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
    }
}

/// Exchanges rows and columns of a matrix, in squares: lines that are far apart meet in the cache.
pub(super) fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    const SIDE: usize = 16;
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for column in left..(left + SIDE).min(columns) {
                let count = SIDE.min(rows - top);
                let to = &mut to[column * rows + top..][..count];
                for (value, row) in to.iter_mut().zip(top..) {
                    *value = from[row * columns + column];
                }
            }
        }
    }
}
