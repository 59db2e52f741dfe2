//! Objects in polar form: a centre and the distances to the outline along evenly spread rays.
//!
//! | step | where |
//! |---|---|
//! | outline of a mask or label image | [`contour`] |
//! | area, mass centre, scaling, flipping | [`Polygon`] |
//! | outline to rays and back, exact | [`RayFan`] |
//! | outline to mask, masks compared | [`Runs`] |
//! | which points of which feature level learn which object | [`targets`] |
//! | the procedure of the published code, for comparison | [`published`] |
//!
//! Coordinates are those of COCO polygons: pixel `(x, y)` is the square from `(x, y)` to `(x + 1, y + 1)`. Angle 0 points
//! down (+y) and grows towards the right (+x): ray `i` of `n` at distance `d` ends at
//! `centre + d (sin(2 pi i/n), cos(2 pi i/n))`.
//!
//! Reference: Xie et al., PolarMask, CVPR 2020, arXiv 1909.13226.

pub mod contour;
mod fan;
mod polygon;
pub mod published;
mod runs;
pub mod targets;

pub use fan::{LEAST_RAY, RayFan};
pub use polygon::{Bounds, Polygon, PolygonError};
pub use runs::{Runs, RunsError};

/// A place in an image, x then y.
pub type Point = [f64; 2];

/// Reference values made by `tests/fixtures/polar_geometry.py`.
#[cfg(test)]
fn fixture() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/fixtures/polar_geometry.json")).unwrap()
}
