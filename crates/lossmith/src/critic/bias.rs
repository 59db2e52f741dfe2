//! The frequency bias: what a pair of classes alone says about the predicate.

use ndarray::{ArrayView3, Axis};

use super::CriticError;
use super::scene::{check_finite, flat};
use super::weights::{Row, Weights};

/// A bias table `[C,C,1+P]`, added to the logits of a pair by the classes of its subject and object.
///
/// Made once for all scenes that share it: that costs `O(C*C*P)`, which is more than one scene.
#[derive(Clone, Debug)]
pub struct Bias {
    classes: usize,
    columns: usize,
    table: Vec<f32>,
    weights: Weights,
}

impl Bias {
    /// Checks and takes up a table.
    ///
    /// # Errors
    /// A shape that is no `[C,C,1+P]`, or a value that is not finite.
    pub fn new(table: ArrayView3<'_, f32>) -> Result<Self, CriticError> {
        let (classes, columns) = (table.len_of(Axis(0)), table.len_of(Axis(2)));
        if table.len_of(Axis(1)) != classes || columns < 2 {
            let message = format!("expected shape [C,C,1+P] with P at least 1, found {:?}", table.shape());
            return Err(CriticError::new("bias", message));
        }
        let table = flat(table).into_owned();
        check_finite("bias", &table, columns)?;
        let weights = Weights::new(&table, columns);
        Ok(Self { classes, columns, table, weights })
    }

    /// The number of classes, and of predicates with none.
    pub fn shape(&self) -> (usize, usize) {
        (self.classes, self.columns)
    }

    pub(super) fn logits(&self, subject_class: usize, object_class: usize) -> &[f32] {
        &self.table[(subject_class * self.classes + object_class) * self.columns..][..self.columns]
    }

    #[inline]
    pub(super) fn weights(&self, subject_class: usize, object_class: usize) -> Row<'_> {
        self.weights.row(subject_class * self.classes + object_class)
    }
}
