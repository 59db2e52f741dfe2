//! One closed outline.

use super::Point;

/// A closed outline of three or more finite points; the last is joined to the first. It may cross itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    points: Vec<Point>,
}

/// Why a list of numbers is no polygon.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolygonError {
    /// Coordinates come in pairs.
    #[error("expected pairs of x and y, found {0} numbers")]
    OddNumbers(usize),
    /// Fewer than three points.
    #[error("expected 3 points or more, found {0}")]
    TooFewPoints(usize),
    /// A coordinate that is not finite.
    #[error("expected finite coordinates, found {value} at point {point}")]
    NotFinite {
        /// The index of the point.
        point: usize,
        /// The coordinate.
        value: f64,
    },
}

/// The smallest upright rectangle around an outline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Bottom edge.
    pub bottom: f64,
}

impl Polygon {
    /// A polygon from its points.
    ///
    /// # Errors
    /// Fewer than three points, or a coordinate that is not finite.
    pub fn new(points: Vec<Point>) -> Result<Self, PolygonError> {
        if points.len() < 3 {
            return Err(PolygonError::TooFewPoints(points.len()));
        }
        for (point, [x, y]) in points.iter().enumerate() {
            if let Some(value) = [*x, *y].into_iter().find(|v| !v.is_finite()) {
                return Err(PolygonError::NotFinite { point, value });
            }
        }
        Ok(Self { points })
    }

    /// A polygon from `x0, y0, x1, y1, ...`, as COCO writes it.
    ///
    /// # Errors
    /// An odd number of numbers, and all that [`Self::new`] refuses.
    pub fn from_flat(numbers: &[f64]) -> Result<Self, PolygonError> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(PolygonError::OddNumbers(numbers.len()));
        }
        Self::new(pairs.to_vec())
    }

    /// `x0, y0, x1, y1, ...`
    pub fn to_flat(&self) -> Vec<f64> {
        self.points.iter().flatten().copied().collect()
    }

    /// The points.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Every edge, from its first to its second point.
    pub fn edges(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        let next = self.points.iter().skip(1).chain(self.points.first());
        self.points.iter().copied().zip(next.copied())
    }

    /// Twice the area, positive where the points go clockwise on the screen. Parts that a self-crossing outline turns
    /// around the other way are counted negative.
    fn signed_double_area(&self) -> f64 {
        let [x0, y0] = self.points[0];
        self.edges().map(|(a, b)| (a[0] - x0) * (b[1] - y0) - (b[0] - x0) * (a[1] - y0)).sum()
    }

    /// The enclosed area, by the shoelace formula.
    pub fn area(&self) -> f64 {
        0.5 * self.signed_double_area().abs()
    }

    /// The centroid of the enclosed area. Where there is no area, or the outline crosses itself so that the formula's
    /// point falls outside of [`Self::bounds`]: the mean of the points.
    pub fn mass_centre(&self) -> Point {
        let [x0, y0] = self.points[0];
        let double_area = self.signed_double_area();
        let (mut x, mut y) = (0.0, 0.0);
        for (a, b) in self.edges() {
            // Taken from the first point, so that far-away small outlines lose no digits.
            let (ax, ay, bx, by) = (a[0] - x0, a[1] - y0, b[0] - x0, b[1] - y0);
            let cross = ax * by - bx * ay;
            x += (ax + bx) * cross;
            y += (ay + by) * cross;
        }
        let centre = [x0 + x / (3.0 * double_area), y0 + y / (3.0 * double_area)];
        if self.bounds().contains(centre) { centre } else { self.mean_point() }
    }

    fn mean_point(&self) -> Point {
        let count = self.points.len() as f64;
        let sum = self.points.iter().fold([0.0, 0.0], |s, p| [s[0] + p[0], s[1] + p[1]]);
        [sum[0] / count, sum[1] / count]
    }

    /// The smallest upright rectangle around it.
    pub fn bounds(&self) -> Bounds {
        let [x, y] = self.points[0];
        self.points.iter().fold(Bounds { left: x, top: y, right: x, bottom: y }, |b, p| Bounds {
            left: b.left.min(p[0]),
            top: b.top.min(p[1]),
            right: b.right.max(p[0]),
            bottom: b.bottom.max(p[1]),
        })
    }

    /// Whether a point lies inside, by the even-odd rule.
    pub fn contains(&self, [x, y]: Point) -> bool {
        let crossings = self
            .edges()
            .filter(|(a, b)| (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
        crossings.count() % 2 == 1
    }

    /// The outline in an image stretched by these factors.
    #[must_use]
    pub fn scaled(&self, x: f64, y: f64) -> Self {
        Self { points: self.points.iter().map(|p| [p[0] * x, p[1] * y]).collect() }
    }

    /// The outline with every point moved.
    #[must_use]
    pub fn mapped(&self, place: impl Fn(Point) -> Point) -> Self {
        Self { points: self.points.iter().map(|p| place(*p)).collect() }
    }
}

impl Bounds {
    /// Whether a point lies inside or on the edge; never for what is not a number.
    pub fn contains(&self, [x, y]: Point) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    /// Right minus left.
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Bottom minus top.
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        [0.5 * (self.left + self.right), 0.5 * (self.top + self.bottom)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn polygon(numbers: &[f64]) -> Polygon {
        Polygon::from_flat(numbers).unwrap()
    }

    #[test]
    fn area_and_centre_of_known_outlines() {
        let square = polygon(&[1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]);
        assert_eq!((square.area(), square.mass_centre()), (4.0, [2.0, 2.0]));
        let ell = polygon(&[0.0, 0.0, 3.0, 0.0, 3.0, 1.0, 1.0, 1.0, 1.0, 3.0, 0.0, 3.0]);
        assert_eq!(ell.area(), 5.0);
        assert!((ell.mass_centre()[0] - 1.1).abs() < 1e-12 && (ell.mass_centre()[1] - 1.1).abs() < 1e-12);
    }

    #[test]
    fn outlines_without_area_have_the_mean_of_their_points() {
        assert_eq!(polygon(&[0.0, 0.0, 2.0, 2.0, 4.0, 4.0]).mass_centre(), [2.0, 2.0]);
        assert_eq!(polygon(&[5.0; 6]).mass_centre(), [5.0, 5.0]);
        // A bow tie: both halves cancel.
        assert_eq!(polygon(&[0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0, 2.0]).mass_centre(), [1.0, 1.0]);
    }

    #[test]
    fn faults_are_named() {
        let error = |numbers: &[f64]| Polygon::from_flat(numbers).unwrap_err().to_string();
        assert_eq!(error(&[1.0, 2.0, 3.0]), "expected pairs of x and y, found 3 numbers");
        assert_eq!(error(&[1.0, 2.0, 3.0, 4.0]), "expected 3 points or more, found 2");
        assert_eq!(error(&[1.0, 2.0, 3.0, f64::NAN, 1.0, 1.0]), "expected finite coordinates, found NaN at point 1");
    }

    proptest! {
        #[test]
        fn the_centre_moves_with_the_outline(numbers in prop::collection::vec(-100.0f64..100.0, 6..40), shift in -1e6f64..1e6) {
            let numbers = &numbers[..numbers.len() / 2 * 2];
            let moved: Vec<f64> = numbers.iter().map(|v| v + shift).collect();
            let (a, b) = (polygon(numbers), polygon(&moved));
            prop_assume!(a.area() > 1.0);
            prop_assert!((a.area() - b.area()).abs() < 1e-3);
            prop_assert!(a.bounds().contains(a.mass_centre()) && b.bounds().contains(b.mass_centre()));
        }
    }
}
