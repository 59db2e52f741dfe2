//! Outline to rays and back.

use std::f64::consts::TAU;

use super::{Point, Polygon};

/// The distance of a ray that meets no outline, as in the paper: no target is 0, so that logarithms stay finite.
pub const LEAST_RAY: f32 = 1e-6;

/// Evenly spread rays about a centre.
#[derive(Clone, Debug, PartialEq)]
pub struct RayFan {
    directions: Vec<Point>,
}

impl RayFan {
    /// The most rays there may be.
    pub const MOST: usize = 3600;

    /// A fan of so many rays; `None` below 3 and above [`Self::MOST`].
    pub fn new(rays: usize) -> Option<Self> {
        let angle = |i: usize| TAU * i as f64 / rays as f64;
        (3..=Self::MOST)
            .contains(&rays)
            .then(|| Self { directions: (0..rays).map(|i| [angle(i).sin(), angle(i).cos()]).collect() })
    }

    /// The number of rays.
    pub fn rays(&self) -> usize {
        self.directions.len()
    }

    /// The distance along each ray from the centre to the *furthest* crossing with the outline, exact up to rounding;
    /// [`LEAST_RAY`] where there is none. Each edge updates only the rays it spans.
    ///
    /// # Panics
    /// If `rays` is not of [`Self::rays`] length.
    pub fn cast(&self, outline: &Polygon, centre: Point, rays: &mut [f32]) {
        assert_eq!(rays.len(), self.rays(), "one number for each ray");
        rays.fill(LEAST_RAY);
        let corner = |p: &Point| Corner::new([p[0] - centre[0], p[1] - centre[1]], self.rays());
        let Some(last) = outline.points().last() else { return };
        let mut a = corner(last);
        for point in outline.points() {
            let b = corner(point);
            self.cast_edge(&a, &b, rays);
            a = b;
        }
    }

    fn cast_edge(&self, a: &Corner, b: &Corner, rays: &mut [f32]) {
        let count = self.rays() as i64;
        let (low, high) = span(a, b, count as f64);
        let (first, last) = (low.ceil() as i64, high.floor() as i64);
        if first > last {
            return;
        }
        let edge = [b.at[0] - a.at[0], b.at[1] - a.at[1]];
        let cross = a.at[0] * b.at[1] - a.at[1] * b.at[0];
        let reach = a.square.max(b.square);
        let mut ray = first.rem_euclid(count) as usize;
        for _ in first..=last {
            let [x, y] = self.directions[ray];
            let distance = cross / (x * edge[1] - y * edge[0]);
            // An edge along the ray has no crossing but an end: the outer one. Rounding must not lead past it either.
            let distance = if distance * distance <= reach { distance.abs() } else { reach.sqrt() };
            rays[ray] = rays[ray].max(distance as f32);
            ray = if ray + 1 == rays.len() { 0 } else { ray + 1 };
        }
    }

    /// The outline that joins the ends of the rays, in their order. Distances that are negative or not finite count as 0.
    ///
    /// # Panics
    /// If `rays` is not of [`Self::rays`] length.
    pub fn outline(&self, centre: Point, rays: &[f32]) -> Vec<Point> {
        assert_eq!(rays.len(), self.rays(), "one number for each ray");
        let end = |(d, direction): (&f32, &Point)| {
            let d = if d.is_finite() { f64::from(d.max(0.0)) } else { 0.0 };
            [centre[0] + d * direction[0], centre[1] + d * direction[1]]
        };
        rays.iter().zip(&self.directions).map(end).collect()
    }
}

/// A corner of the outline, seen from the centre.
struct Corner {
    at: Point,
    /// The square of its distance.
    square: f64,
    /// Its angle, measured in rays: ray `i` is at `i`; `None` at the centre itself, which lies in every direction.
    turn: Option<f64>,
}

impl Corner {
    fn new(at: Point, rays: usize) -> Self {
        let square = at[0] * at[0] + at[1] * at[1];
        let turn = (square > 0.0).then(|| at[0].atan2(at[1]) * (rays as f64 / TAU));
        Self { at, square, turn }
    }
}

/// The angles between which an edge lies, in rays, the shorter way round. Both ends keep the exact number that the
/// neighbouring edge has for the same corner, so that no ray slips through between two edges.
fn span(a: &Corner, b: &Corner, count: f64) -> (f64, f64) {
    let Some(from) = a.turn.or(b.turn) else { return (0.0, -1.0) };
    let mut to = b.turn.unwrap_or(from);
    if to - from > 0.5 * count {
        to -= count;
    } else if from - to > 0.5 * count {
        to += count;
    }
    (from.min(to), from.max(to))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every ray against every edge.
    fn oracle(outline: &Polygon, centre: Point, rays: usize) -> Vec<f64> {
        let fan = RayFan::new(rays).unwrap();
        let furthest = |[x, y]: &Point| {
            let hits = outline.edges().filter_map(|(a, b)| {
                let (a, b) = ([a[0] - centre[0], a[1] - centre[1]], [b[0] - centre[0], b[1] - centre[1]]);
                let edge = [b[0] - a[0], b[1] - a[1]];
                let across = x * edge[1] - y * edge[0];
                let along_ray = (a[0] * edge[1] - a[1] * edge[0]) / across;
                let along_edge = (a[0] * y - a[1] * x) / across;
                (along_ray >= 0.0 && (-1e-12..=1.0 + 1e-12).contains(&along_edge)).then_some(along_ray)
            });
            hits.fold(f64::from(LEAST_RAY), f64::max)
        };
        fan.directions.iter().map(furthest).collect()
    }

    fn cast(outline: &Polygon, centre: Point, rays: usize) -> Vec<f32> {
        let mut out = vec![0.0; rays];
        RayFan::new(rays).unwrap().cast(outline, centre, &mut out);
        out
    }

    #[test]
    fn a_square_seen_from_its_middle() {
        let square = Polygon::from_flat(&[0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]).unwrap();
        let rays = cast(&square, [1.0, 1.0], 8);
        let diagonal = 2f32.sqrt();
        for (ray, expected) in rays.iter().zip([1.0, diagonal].repeat(4)) {
            assert!((ray - expected).abs() < 1e-6, "{rays:?}");
        }
    }

    #[test]
    fn angle_0_points_down_and_grows_to_the_right() {
        let square = Polygon::from_flat(&[0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0]).unwrap();
        assert_eq!(cast(&square, [4.0, 3.0], 4), [7.0, 6.0, 3.0, 4.0]);
    }

    #[test]
    fn the_furthest_crossing_counts_and_none_is_the_least() {
        // A horseshoe open to the right: from inside its left arm the ray to the right leaves, and nothing comes again.
        let horseshoe = [0.0, 0.0, 9.0, 0.0, 9.0, 2.0, 2.0, 2.0, 2.0, 7.0, 9.0, 7.0, 9.0, 9.0, 0.0, 9.0];
        let horseshoe = Polygon::from_flat(&horseshoe).unwrap();
        assert_eq!(cast(&horseshoe, [1.0, 4.0], 4), [5.0, 1.0, 4.0, 1.0]);
        // From the opening, which is outside: the far wall of both arms, the spine, and nothing to the right.
        assert_eq!(cast(&horseshoe, [5.0, 4.0], 4), [5.0, LEAST_RAY, 4.0, 5.0]);
    }

    #[test]
    fn a_centre_on_the_outline_gives_no_nonsense() {
        let square = Polygon::from_flat(&[0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]).unwrap();
        for centre in [[0.0, 0.0], [1.0, 0.0], [2.0, 2.0], [2.0, 1.0]] {
            let rays = cast(&square, centre, 36);
            assert!(rays.iter().all(|d| (LEAST_RAY..=3.0).contains(d)), "{centre:?}: {rays:?}");
        }
        let point = Polygon::from_flat(&[1.0; 6]).unwrap();
        assert_eq!(cast(&point, [1.0, 1.0], 4), [LEAST_RAY; 4]);
    }

    #[test]
    fn rays_and_outline_are_inverse_where_rays_meet_the_corners() {
        let fan = RayFan::new(36).unwrap();
        let rays: Vec<f32> = (0..36).map(|i| 5.0 + (i * 7 % 11) as f32).collect();
        let outline = Polygon::new(fan.outline([40.0, 30.0], &rays)).unwrap();
        for (a, b) in cast(&outline, [40.0, 30.0], 36).iter().zip(&rays) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        assert_eq!(fan.outline([1.0, 1.0], &[f32::NAN; 36]), vec![[1.0, 1.0]; 36]);
    }

    proptest! {
        #[test]
        fn equals_the_oracle(
            numbers in prop::collection::vec(0.0f64..50.0, 6..60),
            x in 0.0f64..50.0,
            y in 0.0f64..50.0,
            rays in 3usize..100,
        ) {
            let outline = Polygon::from_flat(&numbers[..numbers.len() / 2 * 2]).unwrap();
            let ours = cast(&outline, [x, y], rays);
            for (a, b) in ours.iter().zip(oracle(&outline, [x, y], rays)) {
                prop_assert!((f64::from(*a) - b).abs() <= 1e-5 * b.max(1.0), "{} {}", a, b);
            }
        }

        #[test]
        fn no_ray_slips_through_a_corner(steps in prop::array::uniform8(1i32..9), x in -99i32..99, y in -99i32..99) {
            // Corners exactly on the rays: the rounding of angles must not let a ray pass between two edges.
            let compass = [[0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1]];
            let corner = |(step, [dx, dy]): (&i32, [i32; 2])| [f64::from(x + step * dx), f64::from(y + step * dy)];
            let outline = Polygon::new(steps.iter().zip(compass).map(corner).collect()).unwrap();
            let rays = cast(&outline, [f64::from(x), f64::from(y)], 8);
            for ((ray, step), [dx, dy]) in rays.iter().zip(steps).zip(compass) {
                let expected = f64::from(step) * f64::from(dx * dx + dy * dy).sqrt();
                prop_assert!((f64::from(*ray) - expected).abs() < 1e-5, "{} {}", ray, expected);
            }
        }
    }
}
