//! The PyTorch reference values of the losses on rays, made by `tests/fixtures/polar.py`; for tests only.

use ndarray::{Array1, Array2};
use serde_json::Value;

pub(super) fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/polar.json")).unwrap()
}

pub(super) fn vector(value: &Value) -> Array1<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

pub(super) fn matrix(value: &Value) -> Array2<f32> {
    let rows: Vec<Array1<f32>> = value.as_array().unwrap().iter().map(vector).collect();
    ndarray::stack(ndarray::Axis(0), &rows.iter().map(|r| r.view()).collect::<Vec<_>>()).unwrap()
}

pub(super) fn close(ours: f64, theirs: &Value, relative: f64) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= relative * theirs.abs(), "{ours} {theirs}");
}
