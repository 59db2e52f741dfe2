//! The frequency table in training: of its rows only those change that a step looks at.
//!
//! A batch meets a few hundred pairs of classes, and the table has as many rows as there are pairs: ten thousand for VRD. So the table lies
//! on the host, a step sends the rows it needs to the tape, and changes those alone ("lazy" moments: they too move only then, and
//! Adam's correction counts the steps of each row).

use burn::prelude::*;

use super::train::Optimizer;

const BETA: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// A table and the moments of its gradient.
pub(super) struct Table {
    pub numbers: Vec<f32>,
    columns: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: Vec<u32>,
}

impl Table {
    pub fn new(numbers: Vec<f32>, columns: usize) -> Self {
        let (size, rows) = (numbers.len(), numbers.len() / columns);
        Self { numbers, columns, first: vec![0.0; size], second: vec![0.0; size], steps: vec![0; rows] }
    }

    /// Some rows, on the tape.
    pub fn rows(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let row = |&row: &usize| self.numbers[row * self.columns..][..self.columns].iter().copied();
        let numbers: Vec<f32> = rows.iter().flat_map(row).collect();
        Tensor::from_data(TensorData::new(numbers, [rows.len(), self.columns]), device).require_grad()
    }

    /// One step of the optimiser on these rows, whose gradients are given row by row.
    pub fn step(&mut self, rows: &[usize], gradients: &[f32], optimizer: Optimizer, rate: f64, decay: f64) {
        let (rate, decay) = (rate as f32, decay as f32);
        for (&row, gradients) in rows.iter().zip(gradients.chunks_exact(self.columns)) {
            self.steps[row] += 1;
            let correction = BETA.map(|b| 1.0 - b.powi(self.steps[row] as i32));
            let at = row * self.columns..(row + 1) * self.columns;
            let moments = self.first[at.clone()].iter_mut().zip(&mut self.second[at.clone()]);
            for ((x, gradient), (m, v)) in self.numbers[at].iter_mut().zip(gradients).zip(moments) {
                let g = gradient + decay * *x;
                match optimizer {
                    Optimizer::Adam => {
                        *m = BETA[0] * *m + (1.0 - BETA[0]) * g;
                        *v = BETA[1] * *v + (1.0 - BETA[1]) * g * g;
                        *x -= rate * (*m / correction[0]) / ((*v / correction[1]).sqrt() + EPSILON);
                    }
                    Optimizer::Sgd => {
                        *m = BETA[0] * *m + g;
                        *x -= rate * *m;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rows_of_a_step_change() {
        let mut table = Table::new(vec![1.0; 6], 2);
        table.step(&[2, 0], &[0.5, -0.5, 0.0, 2.0], Optimizer::Adam, 0.1, 0.0);
        // The first step of Adam is the rate against the sign of the gradient.
        let wanted = [1.0, 0.9, 1.0, 1.0, 0.9, 1.1];
        assert!(table.numbers.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", table.numbers);
        let mut table = Table::new(vec![1.0; 4], 2);
        for _ in 0..2 {
            table.step(&[1], &[1.0, 0.0], Optimizer::Sgd, 0.1, 0.0);
        }
        assert!((table.numbers[2] - (1.0 - 0.1 - 0.19)).abs() < 1e-6 && table.numbers[0] == 1.0);
    }
}
