//! Pictures larger than a tile: where the tiles lie, and how their instances become instances of the picture.
//!
//! Embeddings of different forward passes are not comparable, so instances are joined by how they overlap.

/// The starts of tiles along an axis: neighbours overlap by at least a quarter, the last one ends with the axis.
pub(super) fn starts(length: usize, side: usize) -> Vec<usize> {
    if length <= side {
        return vec![0];
    }
    let spare = length - side;
    let steps = spare.div_ceil(side - side / 4);
    (0..=steps).map(|i| i * spare / steps).collect()
}

/// A picture's labels, filled tile by tile. Each pixel is taken from the tile that it lies deepest in: a tile knows little of what is at
/// its border, and cuts it.
pub(super) struct Canvas {
    height: usize,
    width: usize,
    pub ids: Vec<u32>,
    /// How deep each pixel lies in the tile that it is taken from; 0 where there was none yet.
    depth: Vec<usize>,
    /// The number of ids given so far.
    pub count: u32,
}

impl Canvas {
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, ids: vec![0; height * width], depth: vec![0; height * width], count: 0 }
    }

    /// Adds the labels of a tile (`side x side`, instances from 1 to `count`), and says which id of the picture each instance has.
    /// An instance is the one that it shares more than half of their union with, where the tile lies on earlier ones.
    pub fn add(&mut self, top: usize, left: usize, side: usize, labels: &[u32], count: usize) -> Vec<u32> {
        let (height, width, row) = (side.min(self.height - top), side.min(self.width - left), self.width);
        let (rows, columns) = (depths(top, height, self.height), depths(left, width, self.width));
        let places = || {
            (0..height).flat_map(move |y| (0..width).map(move |x| ([y, x], y * side + x, (top + y) * row + left + x)))
        };
        let mut shared = std::collections::BTreeMap::new();
        let mut own = vec![0usize; count + 1];
        let mut theirs = vec![0usize; self.count as usize + 1];
        for (_, tile, at) in places().filter(|(_, _, at)| self.depth[*at] > 0) {
            let (label, id) = (labels[tile], self.ids[at]);
            own[label as usize] += 1;
            theirs[id as usize] += 1;
            *shared.entry((label, id)).or_insert(0usize) += 1;
        }
        let mut ids = vec![0u32; count + 1];
        for ((label, id), shared) in shared {
            let union = own[label as usize] + theirs[id as usize] - shared;
            if label > 0 && id > 0 && 2 * shared > union {
                ids[label as usize] = id;
            }
        }
        for id in ids.iter_mut().skip(1).filter(|id| **id == 0) {
            self.count += 1;
            *id = self.count;
        }
        for ([y, x], tile, at) in places() {
            let depth = rows[y].min(columns[x]);
            if depth > self.depth[at] {
                (self.ids[at], self.depth[at]) = (ids[labels[tile] as usize], depth);
            }
        }
        ids.split_off(1)
    }
}

/// How deep each place along a side of a tile lies in it, from 1 on; an end of the picture cuts nothing.
fn depths(start: usize, length: usize, of: usize) -> Vec<usize> {
    let from = |open: bool, steps: usize| if open { steps } else { usize::MAX };
    (0..length).map(|i| from(start > 0, i + 1).min(from(start + length < of, length - i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_an_axis_and_overlap_by_a_quarter() {
        for length in 1..300 {
            let starts = starts(length, 32);
            assert_eq!(starts[0], 0);
            assert!(starts.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] <= 24));
            assert!(
                starts[starts.len() - 1] + 32 >= length && (length < 32 || starts[starts.len() - 1] + 32 == length)
            );
        }
    }

    #[test]
    fn an_instance_over_several_tiles_is_one() {
        let (height, width, side) = (40, 70, 32);
        // Bars from border to border, two rows of nothing between them.
        let truth: Vec<u32> =
            (0..height * width).map(|i| if i / width % 8 < 6 { (i / width / 8) as u32 + 1 } else { 0 }).collect();
        let mut canvas = Canvas::new(height, width);
        for top in starts(height, side) {
            for left in starts(width, side) {
                // Each tile numbers its instances anew.
                let ids: Vec<u32> =
                    (0..side * side).map(|i| truth[(top + i / side) * width + left + i % side]).collect();
                let mut numbers: Vec<u32> = ids.iter().copied().filter(|v| *v > 0).collect();
                numbers.sort_unstable_by_key(|v| std::cmp::Reverse(*v));
                numbers.dedup();
                let number = |v: &u32| numbers.iter().position(|n| n == v).map_or(0, |p| p as u32 + 1);
                let labels: Vec<u32> = ids.iter().map(number).collect();
                canvas.add(top, left, side, &labels, numbers.len());
            }
        }
        assert_eq!(canvas.count, 5);
        let scores = lossmith::metric::instances::Overlaps::between(&truth, &canvas.ids).unwrap();
        assert_eq!(scores.scores(Default::default()).sbd, 1.0);
    }

    #[test]
    fn pixels_are_taken_from_the_tile_that_they_lie_deepest_in() {
        assert_eq!(depths(0, 4, 4), [usize::MAX; 4]);
        assert_eq!(
            (depths(0, 4, 9), depths(5, 4, 9), depths(2, 4, 9)),
            (vec![4, 3, 2, 1], vec![1, 2, 3, 4], vec![1, 2, 2, 1])
        );
        // Two tiles that overlap by half: the first sees nothing in its last rows, the second nothing in its first ones.
        let mut canvas = Canvas::new(48, 32);
        let rows = |seen: std::ops::Range<usize>| -> Vec<u32> {
            (0..32 * 32).map(|i| u32::from(seen.contains(&(i / 32)))).collect()
        };
        canvas.add(0, 0, 32, &rows(4..30), 1);
        canvas.add(16, 0, 32, &rows(2..28), 1);
        let column: Vec<u32> = (0..48).map(|y| canvas.ids[y * 32]).collect();
        assert!(
            column[4..44].iter().all(|id| *id == 1) && column[..4].iter().chain(&column[44..]).all(|id| *id == 0),
            "{column:?}"
        );
    }
}
