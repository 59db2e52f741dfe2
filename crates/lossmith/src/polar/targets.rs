//! What a network of feature levels has to say at each of its points: the class of the object it stands for, and the
//! rays from the point to that object's outline.
//!
//! A point of a level stands for an object if it lies strictly within `radius` strides of the object's mass centre (as a
//! square) and within its box, and the furthest side of the box from the point lies in the level's range. Of several
//! objects the one with the smallest box gets the point, of equal ones the first.
//!
//! Reference: Tian et al., FCOS, ICCV 2019 (levels and centre sampling); Xie et al., PolarMask, CVPR 2020.

use super::{Bounds, Point, Polygon, RayFan, published};

/// One level of a feature pyramid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Pixels from one point to the next.
    pub stride: usize,
    /// The least distance from a point to the furthest side of its object's box, in pixels.
    pub least: f64,
    /// The greatest such distance.
    pub most: f64,
}

/// P3 to P7 with the published ranges.
pub const PUBLISHED_LEVELS: [Level; 5] = [
    Level { stride: 8, least: -1.0, most: 64.0 },
    Level { stride: 16, least: 64.0, most: 128.0 },
    Level { stride: 32, least: 128.0, most: 256.0 },
    Level { stride: 64, least: 256.0, most: 512.0 },
    Level { stride: 128, least: 512.0, most: 1e8 },
];

/// The published reach of centre sampling, in strides.
pub const PUBLISHED_RADIUS: f64 = 1.5;

/// An object to be learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its class, from 1.
    pub class: i64,
    /// Its box.
    pub bounds: Bounds,
    /// Its largest part.
    pub shape: Shape,
}

/// The form in which an object's outline is known; it decides how rays are made.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A polygon: rays are exact.
    Outline(Polygon),
    /// The pixels of a contour: rays by the [`published`] procedure.
    Pixels(Vec<[i64; 2]>),
}

impl Shape {
    fn mass_centre(&self) -> Option<Point> {
        match self {
            Self::Outline(outline) => Some(outline.mass_centre()),
            Self::Pixels(pixels) => published::mass_centre(pixels),
        }
    }

    fn cast(&self, fan: &RayFan, point: Point, rays: &mut [f32]) {
        match self {
            Self::Outline(outline) => fan.cast(outline, point, rays),
            Self::Pixels(pixels) => published::cast(pixels, point, rays),
        }
    }
}

/// What is to be learned from one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// For each point, level by level and row by row: the class, or 0 for background.
    pub labels: Vec<i64>,
    /// The points with an object, ascending.
    pub positives: Vec<usize>,
    /// For each of `positives` the index of its object.
    pub objects: Vec<usize>,
    /// For each of `positives` its rays, one row after the other.
    pub rays: Vec<f32>,
}

/// The points of one level over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Pixels from one point to the next; the first is half a stride from the image's edge.
    pub stride: usize,
    /// Points in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Grid {
    /// The points of a stride over an image; the last ones may lie outside.
    pub fn over(width: usize, height: usize, stride: usize) -> Self {
        Self { stride, columns: width.div_ceil(stride), rows: height.div_ceil(stride) }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.columns * self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of a point, in pixels.
    pub fn point(&self, index: usize) -> Point {
        [self.place(index % self.columns), self.place(index / self.columns)]
    }

    fn place(&self, step: usize) -> f64 {
        (step * self.stride + self.stride / 2) as f64
    }

    /// The steps whose place lies strictly between two coordinates, out of so many.
    fn strictly_between(&self, low: f64, high: f64, steps: usize) -> std::ops::Range<usize> {
        let half = (self.stride / 2) as f64;
        let first = ((low - half) / self.stride as f64).floor() + 1.0;
        let end = ((high - half) / self.stride as f64).ceil();
        // `as` saturates, so that far-away objects give empty ranges.
        (first.max(0.0) as usize).min(steps)..(end.max(0.0) as usize).min(steps)
    }
}

/// Makes [`Targets`].
#[derive(Clone, Debug, PartialEq)]
pub struct Assigner {
    fan: RayFan,
    levels: Vec<Level>,
    radius: f64,
}

impl Assigner {
    /// For these rays, levels, and reach of centre sampling in strides.
    pub fn new(fan: RayFan, levels: Vec<Level>, radius: f64) -> Self {
        Self { fan, levels, radius }
    }

    /// The rays, levels and reach of the paper.
    pub fn published(fan: RayFan) -> Self {
        Self::new(fan, PUBLISHED_LEVELS.to_vec(), PUBLISHED_RADIUS)
    }

    /// The points of every level over an image.
    pub fn grids(&self, width: usize, height: usize) -> Vec<Grid> {
        self.levels.iter().map(|level| Grid::over(width, height, level.stride)).collect()
    }

    /// The targets of an image. An object without any point in reach (much smaller than the finest stride, or outside of
    /// the image) is not learned.
    pub fn targets(&self, objects: &[Object], width: usize, height: usize) -> Targets {
        let grids = self.grids(width, height);
        let owners = self.owners(objects, &grids);
        let mut targets = Targets { labels: vec![0; owners.len()], ..Targets::default() };
        let points = grids.iter().flat_map(|grid| (0..grid.len()).map(|i| grid.point(i)));
        for (index, (owner, point)) in owners.iter().zip(points).enumerate() {
            let Some(owner) = *owner else { continue };
            targets.labels[index] = objects[owner].class;
            targets.positives.push(index);
            targets.objects.push(owner);
            let start = targets.rays.len();
            targets.rays.resize(start + self.fan.rays(), 0.0);
            objects[owner].shape.cast(&self.fan, point, &mut targets.rays[start..]);
        }
        targets
    }

    /// For each point the object that it stands for.
    fn owners(&self, objects: &[Object], grids: &[Grid]) -> Vec<Option<usize>> {
        let mut owners = vec![None; grids.iter().map(Grid::len).sum()];
        let mut areas = vec![f64::INFINITY; owners.len()];
        for (index, object) in objects.iter().enumerate() {
            let Some(centre) = object.shape.mass_centre() else { continue };
            let area = object.bounds.width() * object.bounds.height();
            let mut start = 0;
            for (level, grid) in self.levels.iter().zip(grids) {
                self.claim(object, centre, level, grid, |at| {
                    if area < areas[start + at] {
                        areas[start + at] = area;
                        owners[start + at] = Some(index);
                    }
                });
                start += grid.len();
            }
        }
        owners
    }

    /// Calls `claimed` with each point of a level that may stand for the object.
    fn claim(&self, object: &Object, [x, y]: Point, level: &Level, grid: &Grid, mut claimed: impl FnMut(usize)) {
        let reach = self.radius * level.stride as f64;
        let b = &object.bounds;
        let columns = grid.strictly_between((x - reach).max(b.left), (x + reach).min(b.right), grid.columns);
        let rows = grid.strictly_between((y - reach).max(b.top), (y + reach).min(b.bottom), grid.rows);
        for row in rows {
            for column in columns.clone() {
                let (px, py) = (grid.place(column), grid.place(row));
                let furthest = (px - b.left).max(b.right - px).max(py - b.top).max(b.bottom - py);
                if (level.least..=level.most).contains(&furthest) {
                    claimed(row * grid.columns + column);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rectangle(class: i64, left: f64, top: f64, right: f64, bottom: f64) -> Object {
        let outline = Polygon::from_flat(&[left, top, right, top, right, bottom, left, bottom]).unwrap();
        Object { class, bounds: outline.bounds(), shape: Shape::Outline(outline) }
    }

    fn assigner() -> Assigner {
        Assigner::published(RayFan::new(36).unwrap())
    }

    /// Every point against every object, as the rule says it.
    fn oracle(objects: &[Object], width: usize, height: usize) -> Vec<i64> {
        let mut labels = Vec::new();
        for level in PUBLISHED_LEVELS {
            for y in 0..height.div_ceil(level.stride) {
                for x in 0..width.div_ceil(level.stride) {
                    let point =
                        [(x * level.stride + level.stride / 2) as f64, (y * level.stride + level.stride / 2) as f64];
                    let mut best = (f64::INFINITY, 0);
                    for object in objects {
                        let (b, c) = (&object.bounds, object.shape.mass_centre().unwrap());
                        let sides = [point[0] - b.left, point[1] - b.top, b.right - point[0], b.bottom - point[1]];
                        let near = (0..2).all(|i| (point[i] - c[i]).abs() < PUBLISHED_RADIUS * level.stride as f64);
                        let inside = sides.iter().all(|s| *s > 0.0);
                        let furthest = sides.iter().copied().fold(0.0, f64::max);
                        let area = b.width() * b.height();
                        if near && inside && furthest >= level.least && furthest <= level.most && area < best.0 {
                            best = (area, object.class);
                        }
                    }
                    labels.push(best.1);
                }
            }
        }
        labels
    }

    #[test]
    fn a_small_object_is_learned_at_nine_points_of_the_finest_level() {
        let targets = assigner().targets(&[rectangle(3, 30.0, 30.0, 78.0, 78.0)], 128, 128);
        assert_eq!(targets.positives.len(), 9);
        assert!(targets.positives.iter().all(|p| *p < 256 && targets.labels[*p] == 3));
        assert_eq!(targets.rays.len(), 9 * 36);
        // The middle one of the nine lies at (52, 52).
        assert!((targets.rays[4 * 36] - 26.0).abs() < 1e-5);
    }

    #[test]
    fn the_smaller_box_wins_whatever_the_order() {
        let (large, small) = (rectangle(1, 0.0, 0.0, 60.0, 60.0), rectangle(2, 20.0, 20.0, 44.0, 44.0));
        let a = assigner().targets(&[large.clone(), small.clone()], 64, 64);
        let b = assigner().targets(&[small, large], 64, 64);
        assert_eq!(a.labels, b.labels);
        assert!(a.labels.contains(&2));
    }

    #[test]
    fn images_without_objects_are_all_background() {
        let targets = assigner().targets(&[], 100, 60);
        assert_eq!(targets.labels.len(), 13 * 8 + 7 * 4 + 4 * 2 + 2 + 1);
        assert!(targets.labels.iter().all(|l| *l == 0) && targets.positives.is_empty());
        let outside = assigner().targets(&[rectangle(1, 1e9, 1e9, 1e9 + 9.0, 1e9 + 9.0)], 100, 60);
        assert!(outside.positives.is_empty());
    }

    proptest! {
        #[test]
        fn labels_follow_the_rule(boxes in prop::collection::vec((0u16..300, 0u16..200, 1u16..300, 1u16..200, 1i64..5), 0..12)) {
            let objects: Vec<Object> = boxes
                .iter()
                .map(|&(x, y, w, h, class)| {
                    let (x, y) = (f64::from(x), f64::from(y));
                    rectangle(class, x, y, x + f64::from(w), y + f64::from(h))
                })
                .collect();
            prop_assert_eq!(assigner().targets(&objects, 320, 200).labels, oracle(&objects, 320, 200));
        }
    }
}
