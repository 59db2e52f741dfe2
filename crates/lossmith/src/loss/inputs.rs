//! The named arrays that a loss reads.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD, Dimension};

use super::LossError;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    /// Single precision.
    F32,
    /// Labels and indices.
    I64,
}

impl std::fmt::Display for ScalarType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I64 => "i64",
        })
    }
}

/// An array of one of the two types that losses read.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Predictions, targets, weights.
    F32(ArrayD<f32>),
    /// Labels and indices.
    I64(ArrayD<i64>),
}

impl From<ArrayD<f32>> for Array {
    fn from(array: ArrayD<f32>) -> Self {
        Self::F32(array)
    }
}

impl From<ArrayD<i64>> for Array {
    fn from(array: ArrayD<i64>) -> Self {
        Self::I64(array)
    }
}

/// Named arrays, checked for presence, type and number of dimensions as they are taken out.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    arrays: BTreeMap<String, Array>,
}

impl Inputs {
    /// No arrays yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array.
    #[must_use]
    pub fn with(mut self, name: &str, array: impl Into<Array>) -> Self {
        self.arrays.insert(name.to_owned(), array.into());
        self
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// The f32 array of this name, of this many dimensions.
    ///
    /// # Errors
    /// It is missing, of another type, has another number of dimensions, or holds a NaN or an infinity.
    pub fn f32(&self, name: &str, dimensions: usize) -> Result<ArrayViewD<'_, f32>, LossError> {
        let array = self.f32_of_any_shape(name)?;
        of_dimensions(name, array.shape(), dimensions)?;
        Ok(array)
    }

    /// The f32 array of this name, whatever its shape.
    ///
    /// # Errors
    /// It is missing, of another type, or holds a NaN or an infinity.
    pub fn f32_of_any_shape(&self, name: &str) -> Result<ArrayViewD<'_, f32>, LossError> {
        match self.get(name)? {
            Array::F32(a) => finite(name, a),
            Array::I64(_) => Err(LossError::input(name, "expected f32, found i64")),
        }
    }

    /// The i64 array of this name, of this many dimensions.
    ///
    /// # Errors
    /// It is missing, of another type, or has another number of dimensions.
    pub fn i64(&self, name: &str, dimensions: usize) -> Result<ArrayViewD<'_, i64>, LossError> {
        match self.get(name)? {
            Array::I64(a) => of_dimensions(name, a.shape(), dimensions).map(|()| a.view()),
            Array::F32(_) => Err(LossError::input(name, "expected i64, found f32")),
        }
    }

    fn get(&self, name: &str) -> Result<&Array, LossError> {
        self.arrays.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.names().collect();
            LossError::input(name, format!("missing (there is: {})", there.join(", ")))
        })
    }
}

fn of_dimensions(name: &str, shape: &[usize], dimensions: usize) -> Result<(), LossError> {
    if shape.len() == dimensions {
        return Ok(());
    }
    Err(LossError::input(name, format!("expected {dimensions} dimensions, found shape {shape:?}")))
}

fn finite<'a>(name: &str, array: &'a ArrayD<f32>) -> Result<ArrayViewD<'a, f32>, LossError> {
    if array.iter().all(|v| v.is_finite()) {
        return Ok(array.view());
    }
    let found = array.indexed_iter().find(|(_, v)| !v.is_finite());
    let message = found.map_or_else(String::new, |(at, v)| {
        let what = if v.is_nan() { "NaN" } else { "an infinity" };
        format!("{what} at {:?}; every number must be finite", at.slice())
    });
    Err(LossError::input(name, message))
}
