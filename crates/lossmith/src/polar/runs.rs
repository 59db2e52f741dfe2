//! Masks as run lengths, the form in which COCO compares them.
//!
//! Runs go down the columns, from the left column to the right one; the first counts pixels outside of the mask and may
//! be 0, then inside and outside take turns.
//!
//! Reference: cocoapi's `maskApi`, whose results these are to the last pixel (x86-64).

use super::{Point, Polygon};

/// A mask as run lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    width: usize,
    height: usize,
    counts: Vec<u32>,
}

/// Why run lengths are no mask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunsError {
    /// More pixels than are counted in 32 bits.
    #[error("an image of {0} x {1} pixels is too large for run lengths")]
    TooLarge(usize, usize),
    /// The counts do not add up to the image.
    #[error("the counts add up to {sum} pixels, but the image has {pixels}")]
    WrongSum {
        /// What the counts add up to.
        sum: u64,
        /// The pixels of the image.
        pixels: u64,
    },
    /// A corner further from the image than [`Runs::FURTHEST`].
    #[error("a corner lies at {0}, further out than {far} pixels", far = Runs::FURTHEST)]
    TooFar(f64),
}

/// COCO draws outlines on a grid this many times finer.
const FINE: i64 = 5;

impl Runs {
    /// Corners may lie this far outside of an image, in pixels: drawing takes as many steps.
    pub const FURTHEST: f64 = 1e5;

    /// A mask from counts that cover the image exactly.
    ///
    /// # Errors
    /// The counts add up to another number of pixels.
    pub fn new(width: usize, height: usize, counts: Vec<u32>) -> Result<Self, RunsError> {
        let pixels = pixels(width, height)?;
        let sum: u64 = counts.iter().map(|c| u64::from(*c)).sum();
        if sum == u64::from(pixels) {
            Ok(Self { width, height, counts })
        } else {
            Err(RunsError::WrongSum { sum, pixels: pixels.into() })
        }
    }

    /// The mask of one outline, by COCO's rule: inside is what an odd number of edges surrounds, and of the border's
    /// pixels those on the left and at the top belong to it.
    ///
    /// # Errors
    /// An image of 2^32 pixels or more, a corner too far away.
    pub fn from_outline(outline: &[Point], width: usize, height: usize) -> Result<Self, RunsError> {
        let pixels = pixels(width, height)?;
        if let Some(far) = outline.iter().flatten().find(|v| v.is_nan() || v.abs() > Self::FURTHEST) {
            return Err(RunsError::TooFar(*far));
        }
        let fine = |p: &Point| p.map(|v| (FINE as f64 * v + 0.5) as i64);
        let mut starts = Vec::new();
        // The reference walks from the first corner on and compares no step with the one before the first: the order of
        // edges is kept, as is that the walk does not close on itself.
        let corners: Vec<[i64; 2]> = outline.iter().chain(outline.first()).map(fine).collect();
        let mut before: Option<[i64; 2]> = None;
        for edge in corners.windows(2) {
            walk(edge[0], edge[1], |step| {
                if let Some(before) = before.replace(step)
                    && let Some(start) = crossing(before, step, width as i64, height as i64)
                {
                    starts.push(start);
                }
            });
        }
        Ok(Self::from_starts(starts, pixels, width, height))
    }

    /// The mask of an object of several parts: the union of their masks.
    ///
    /// # Errors
    /// As [`Self::from_outline`].
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = &'a Polygon>,
        width: usize,
        height: usize,
    ) -> Result<Self, RunsError> {
        let empty = Self::new(width, height, vec![pixels(width, height)?])?;
        parts.into_iter().try_fold(empty, |all, part| Ok(all.union(&Self::from_outline(part.points(), width, height)?)))
    }

    /// From the places where inside and outside change, in any order.
    fn from_starts(mut starts: Vec<u32>, pixels: u32, width: usize, height: usize) -> Self {
        starts.push(pixels);
        starts.sort_unstable();
        let mut counts = vec![starts[0]];
        let mut merge = false;
        for pair in starts.windows(2) {
            let length = pair[1] - pair[0];
            // A run of no pixels joins the runs before and after it.
            if merge {
                if let Some(last) = counts.last_mut() {
                    *last += length;
                }
                merge = false;
            } else if length == 0 {
                merge = true;
            } else {
                counts.push(length);
            }
        }
        Self { width, height, counts }
    }

    /// From a row-major mask.
    ///
    /// # Errors
    /// An image of 2^32 pixels or more.
    ///
    /// # Panics
    /// If the mask is not of `width * height` pixels.
    pub fn from_mask(mask: &[bool], width: usize, height: usize) -> Result<Self, RunsError> {
        assert_eq!(mask.len(), width * height, "one number for each pixel");
        pixels(width, height)?;
        let (mut counts, mut inside, mut run) = (Vec::new(), false, 0);
        for x in 0..width {
            for y in 0..height {
                if mask[y * width + x] != inside {
                    counts.push(run);
                    (inside, run) = (!inside, 0);
                }
                run += 1;
            }
        }
        counts.push(run);
        Ok(Self { width, height, counts })
    }

    /// Row-major.
    pub fn to_mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.width * self.height];
        for (start, length) in self.inside() {
            for at in start..start + length {
                mask[at % self.height * self.width + at / self.height] = true;
            }
        }
        mask
    }

    /// Columns of the image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The run lengths.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Start and length of each run inside the mask.
    fn inside(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut at = 0;
        self.counts.iter().enumerate().filter_map(move |(i, count)| {
            let start = at;
            at += *count as usize;
            (i % 2 == 1).then_some((start, *count as usize))
        })
    }

    /// The pixels inside.
    pub fn area(&self) -> u64 {
        self.inside().map(|(_, length)| length as u64).sum()
    }

    /// The smallest box around the mask as COCO writes it: left, top, width, height; all 0 for an empty mask.
    pub fn bbox(&self) -> [f64; 4] {
        let (mut left, mut top, mut right, mut bottom) = (usize::MAX, usize::MAX, 0, 0);
        for (start, length) in self.inside().filter(|(_, length)| *length > 0) {
            let end = start + length - 1;
            let (first, last) = (start / self.height, end / self.height);
            left = left.min(first);
            right = right.max(last + 1);
            // A run over several columns reaches from the top row to the bottom one.
            top = top.min(if first == last { start % self.height } else { 0 });
            bottom = bottom.max(if first == last { end % self.height + 1 } else { self.height });
        }
        if right == 0 { [0.0; 4] } else { [left, top, right - left, bottom - top].map(|v| v as f64) }
    }

    /// The pixels in either mask. Masks of images of another size have none in common with these.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (mut counts, mut inside, mut run) = (Vec::new(), false, 0);
        for (length, a, b) in Stretches::new(&self.counts, &other.counts) {
            if (a || b) != inside {
                counts.push(run);
                (inside, run) = (!inside, 0);
            }
            run += length;
        }
        counts.push(run);
        Self { width: self.width, height: self.height, counts }
    }

    /// Pixels in both by pixels in either; 0 if both are empty or the images differ in size.
    pub fn iou(&self, other: &Self) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 0.0;
        }
        let (mut both, mut either) = (0u64, 0u64);
        for (length, a, b) in Stretches::new(&self.counts, &other.counts) {
            both += u64::from(length) * u64::from(a && b);
            either += u64::from(length) * u64::from(a || b);
        }
        if both == 0 { 0.0 } else { both as f64 / either as f64 }
    }
}

fn pixels(width: usize, height: usize) -> Result<u32, RunsError> {
    width.checked_mul(height).and_then(|p| u32::try_from(p).ok()).ok_or(RunsError::TooLarge(width, height))
}

/// Every grid point of an edge of the fine grid, one for each step along its longer axis, ends included.
fn walk(from: [i64; 2], to: [i64; 2], mut visit: impl FnMut([i64; 2])) {
    let (dx, dy) = ((to[0] - from[0]).abs(), (to[1] - from[1]).abs());
    let along_x = dx >= dy;
    let axis = usize::from(!along_x);
    let backwards = from[axis] > to[axis];
    let (start, end) = if backwards { (to, from) } else { (from, to) };
    let steps = dx.max(dy);
    let slope = (end[1 - axis] - start[1 - axis]) as f64 / steps as f64;
    for step in 0..=steps {
        let t = if backwards { steps - step } else { step };
        let across =
            if steps == 0 { start[1 - axis] } else { (start[1 - axis] as f64 + slope * t as f64 + 0.5) as i64 };
        let along = start[axis] + t;
        visit(if along_x { [along, across] } else { [across, along] });
    }
}

/// Where, in the order of runs, inside and outside change if the outline steps from one column of the fine grid to the
/// next, and that step lies on the middle of a column of pixels of the image.
fn crossing(before: [i64; 2], step: [i64; 2], width: i64, height: i64) -> Option<u32> {
    if before[0] == step[0] {
        return None;
    }
    let column = if step[0] < before[0] { step[0] } else { step[0] - 1 } - FINE / 2;
    let x = column / FINE;
    if column < 0 || column % FINE != 0 || x >= width {
        return None;
    }
    let row = before[1].min(step[1]) - FINE / 2;
    let y = (row + FINE - 1).div_euclid(FINE).clamp(0, height);
    u32::try_from(x * height + y).ok()
}

/// The stretches over which two lists of runs both stay what they are: length, inside the first, inside the second.
struct Stretches<'a> {
    lists: [std::slice::Iter<'a, u32>; 2],
    left: [u32; 2],
    inside: [bool; 2],
}

impl<'a> Stretches<'a> {
    fn new(a: &'a [u32], b: &'a [u32]) -> Self {
        // Before the first run one is inside of nothing: taking it turns inside to outside.
        Self { lists: [a.iter(), b.iter()], left: [0; 2], inside: [true; 2] }
    }
}

impl Iterator for Stretches<'_> {
    type Item = (u32, bool, bool);

    fn next(&mut self) -> Option<Self::Item> {
        for list in 0..2 {
            while self.left[list] == 0 {
                self.left[list] = *self.lists[list].next()?;
                self.inside[list] = !self.inside[list];
            }
        }
        let length = self.left[0].min(self.left[1]);
        self.left = self.left.map(|l| l - length);
        Some((length, self.inside[0], self.inside[1]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    #[test]
    fn equals_pycocotools() {
        let fixture = fixture();
        let cases = fixture["polygons"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let numbers: Vec<f64> = serde_json::from_value(case["polygon"].clone()).unwrap();
            let (points, _) = numbers.as_chunks::<2>();
            let size: [usize; 2] = serde_json::from_value(case["size"].clone()).unwrap();
            let ours = Runs::from_outline(points, size[1], size[0]).unwrap();
            assert_eq!(ours.counts(), serde_json::from_value::<Vec<u32>>(case["counts"].clone()).unwrap(), "{case}");
            assert_eq!(ours.bbox().to_vec(), serde_json::from_value::<Vec<f64>>(case["bbox"].clone()).unwrap());
        }
    }

    #[test]
    fn a_square_leaves_out_its_right_and_bottom_pixels() {
        let square = Polygon::from_flat(&[1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]).unwrap();
        let runs = Runs::from_outline(square.points(), 4, 4).unwrap();
        assert_eq!((runs.area(), runs.bbox()), (4, [1.0, 1.0, 2.0, 2.0]));
        assert_eq!(runs.counts(), [5, 2, 2, 2, 5]);
    }

    #[test]
    fn faults_are_named() {
        let error = Runs::new(4, 4, vec![10, 10]).unwrap_err();
        assert_eq!(error.to_string(), "the counts add up to 20 pixels, but the image has 16");
        assert!(Runs::new(1 << 20, 1 << 20, vec![]).is_err());
        let far = Runs::from_outline(&[[0.0, 0.0], [1e9, 0.0], [0.0, 1.0]], 4, 4).unwrap_err();
        assert_eq!(far.to_string(), "a corner lies at 1000000000, further out than 100000 pixels");
        assert_eq!(Runs::from_outline(&[], 2, 2).unwrap().counts(), [4]);
        assert_eq!(Runs::from_outline(&[[0.0, 0.0]; 3], 0, 0).unwrap().area(), 0);
    }

    proptest! {
        #[test]
        fn masks_and_runs_are_inverse(bits in prop::collection::vec(any::<bool>(), 0..200), width in 1usize..20) {
            let height = bits.len() / width;
            let mask = &bits[..width * height];
            let runs = Runs::from_mask(mask, width, height).unwrap();
            prop_assert_eq!(runs.to_mask(), mask);
            prop_assert_eq!(Runs::new(width, height, runs.counts().to_vec()).unwrap().area(), mask.iter().filter(|b| **b).count() as u64);
        }

        #[test]
        fn union_and_iou_are_those_of_the_pixels(
            a in prop::collection::vec(any::<bool>(), 60),
            b in prop::collection::vec(any::<bool>(), 60),
        ) {
            let runs = |mask: &[bool]| Runs::from_mask(mask, 10, 6).unwrap();
            let either: Vec<bool> = a.iter().zip(&b).map(|(a, b)| a | b).collect();
            let both = a.iter().zip(&b).filter(|(a, b)| **a && **b).count() as f64;
            prop_assert_eq!(runs(&a).union(&runs(&b)), runs(&either));
            let expected = if both == 0.0 { 0.0 } else { both / runs(&either).area() as f64 };
            prop_assert_eq!(runs(&a).iou(&runs(&b)), expected);
        }
    }
}
