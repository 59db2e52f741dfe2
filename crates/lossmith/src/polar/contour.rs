//! Outlines of masks and of the instances of label images.
//!
//! A mask is row-major, one number for each pixel. Pixels that touch at a side or at a corner belong together. Only outer
//! outlines are taken: holes are filled, as the polar form has none.

use super::{Point, Polygon};

/// The outline of one connected region.
#[derive(Clone, Debug, PartialEq)]
pub struct Contour {
    /// Along the edges of the pixels, corners only: rasterised by COCO's rule it gives the region back.
    pub outline: Polygon,
    /// Through the middles of the border pixels, as OpenCV's `findContours` walks them: what the published code works on.
    pub pixels: Vec<[i64; 2]>,
}

/// The outer outline of the region that encloses the largest area, the first one of equals; `None` for an empty mask.
///
/// # Panics
/// If the mask is not of `width * height` pixels.
pub fn largest<T: Copy + PartialEq>(mask: &[T], width: usize, height: usize, value: T) -> Option<Contour> {
    assert_eq!(mask.len(), width * height, "one number for each pixel");
    let region = Region { mask, width, height, value };
    let mut seen = vec![false; mask.len()];
    let mut best: Option<(i64, Contour)> = None;
    for start in 0..mask.len() {
        let (x, y) = ((start % width) as i64, (start / width) as i64);
        if seen[start] || !region.has(x, y) || region.has(x, y - 1) {
            continue;
        }
        let (double_area, contour) = region.trace(x, y, &mut seen);
        if best.as_ref().is_none_or(|(most, _)| double_area > *most) {
            best = Some((double_area, contour));
        }
    }
    // Holes are walked the other way round; a mask with a pixel has an outer outline with more area than any hole.
    best.map(|(_, contour)| contour)
}

struct Region<'a, T> {
    mask: &'a [T],
    width: usize,
    height: usize,
    value: T,
}

impl<T: Copy + PartialEq> Region<'_, T> {
    fn has(&self, x: i64, y: i64) -> bool {
        x >= 0
            && y >= 0
            && (x as usize) < self.width
            && (y as usize) < self.height
            && self.mask[y as usize * self.width + x as usize] == self.value
    }

    /// Walks along the pixel edges with the region on the right hand, from the upper left corner of a pixel that has
    /// none above it, back to the start. Marks the pixels whose upper edge it passed; returns twice the signed area too.
    fn trace(&self, start_x: i64, start_y: i64, seen: &mut [bool]) -> (i64, Contour) {
        let (mut x, mut y) = (start_x, start_y);
        let (mut dx, mut dy) = (1i64, 0i64);
        let mut double_area = 0;
        let mut corners: Vec<Point> = Vec::new();
        let mut pixels: Vec<[i64; 2]> = Vec::new();
        loop {
            // The pixels on the right and on the left of the edge from here to the next grid point.
            let right = [x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2];
            if dx == 1 {
                seen[right[1] as usize * self.width + right[0] as usize] = true;
            }
            if pixels.last() != Some(&right) {
                pixels.push(right);
            }
            double_area += x * dy - y * dx;
            (x, y) = (x + dx, y + dy);
            let ahead_left = [x + (dx + dy - 1) / 2, y + (dy - dx - 1) / 2];
            let ahead_right = [x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2];
            // To the left first: pixels that touch at a corner belong together.
            let turned = if self.has(ahead_left[0], ahead_left[1]) {
                (dy, -dx)
            } else if self.has(ahead_right[0], ahead_right[1]) {
                (dx, dy)
            } else {
                (-dy, dx)
            };
            if turned != (dx, dy) {
                corners.push([x as f64, y as f64]);
            }
            (dx, dy) = turned;
            if (x, y, dx, dy) == (start_x, start_y, 1, 0) {
                break;
            }
        }
        if pixels.len() > 1 && pixels.first() == pixels.last() {
            pixels.pop();
        }
        let outline = Polygon::new(corners).unwrap_or_else(|_| unreachable!("a walk around a pixel has four corners"));
        (double_area, Contour { outline, pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn mask(rows: &[&str]) -> (Vec<u8>, usize, usize) {
        (rows.concat().bytes().map(|b| u8::from(b == b'#')).collect(), rows[0].len(), rows.len())
    }

    fn contour(rows: &[&str]) -> Contour {
        let (mask, width, height) = mask(rows);
        largest(&mask, width, height, 1).unwrap()
    }

    #[test]
    fn one_pixel_is_a_unit_square() {
        let one = contour(&["...", ".#.", "..."]);
        assert_eq!(one.outline.area(), 1.0);
        assert_eq!(one.outline.mass_centre(), [1.5, 1.5]);
        assert_eq!(one.pixels, [[1, 1]]);
    }

    #[test]
    fn the_largest_region_is_taken_and_its_hole_filled() {
        let ring = contour(&["#.####", "..#..#", "..####"]);
        assert_eq!(ring.outline.area(), 12.0);
        assert_eq!(ring.pixels.len(), 10);
    }

    #[test]
    fn regions_that_touch_at_a_corner_are_one() {
        let both = contour(&["##..", "##..", "..##", "..##"]);
        assert_eq!(both.outline.area(), 8.0);
        assert_eq!(both.outline.mass_centre(), [2.0, 2.0]);
    }

    #[test]
    fn an_empty_mask_has_no_outline() {
        assert_eq!(largest(&[0u8; 12], 4, 3, 1), None);
        assert_eq!(largest(&[] as &[u8], 0, 0, 1), None);
    }

    #[test]
    fn labels_are_told_apart() {
        let labels = [7u16, 7, 9, 9, 7, 9];
        assert_eq!(largest(&labels, 3, 2, 9).unwrap().outline.area(), 2.0);
        assert_eq!(largest(&labels, 3, 2, 8), None);
    }

    /// The inside of every outline, by the middles of its pixels, is the region with its holes filled.
    #[test]
    fn the_outline_gives_the_region_back() {
        let (mask, width, height) = mask(&["..##....", ".####.#.", "..#####.", "...#.#..", "..#####.", "........"]);
        let outline = largest(&mask, width, height, 1).unwrap().outline;
        for (i, set) in mask.iter().enumerate() {
            let middle = [(i % width) as f64 + 0.5, (i / width) as f64 + 0.5];
            let hole = (i % width, i / width) == (4, 3);
            assert_eq!(outline.contains(middle), *set == 1 || hole, "{middle:?}");
        }
    }

    #[test]
    fn walks_the_same_pixels_as_opencv() {
        for case in fixture()["contours"].as_array().unwrap() {
            let rows: Vec<&str> = case["mask"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
            let mut ours = contour(&rows).pixels;
            let mut theirs: Vec<[i64; 2]> = serde_json::from_value(case["pixels"].clone()).unwrap();
            assert_eq!(ours.len(), theirs.len(), "{rows:#?}");
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours, theirs, "{rows:#?}");
        }
    }
}
