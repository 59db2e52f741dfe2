//! What two boxes say about each other, free of scale and place: the start of a pair's state where there are no images.

use lossmith::graph::{Corners, Edge};

/// How many numbers describe an ordered pair of boxes.
pub const WIDTH: usize = 9;

/// The offset of the middles by the mean size (clipped at 10), its length, the logarithms of the ratios of widths and
/// heights, overlap, and the share of either box that the other covers; all of them near -3 to 3.
pub fn pair(subject: Corners, object: Corners) -> [f32; WIDTH] {
    let size = |b: Corners| [(b[2] - b[0]).max(1.0), (b[3] - b[1]).max(1.0)];
    let (s, o) = (size(subject), size(object));
    let scale = (s[0] * s[1] * o[0] * o[1]).powf(0.25);
    let offset = |axis: usize| (object[axis] + object[axis + 2] - subject[axis] - subject[axis + 2]) / 2.0 / scale;
    let (dx, dy) = (offset(0).clamp(-10.0, 10.0), offset(1).clamp(-10.0, 10.0));
    let shared = Edge::Exclusive.intersection(subject, object);
    let near = (-dx.hypot(dy) / 3.0).exp();
    [
        dx / 3.0,
        dy / 3.0,
        dx.hypot(dy) / 3.0,
        near,
        (o[0] / s[0]).ln(),
        (o[1] / s[1]).ln(),
        Edge::Exclusive.iou(subject, object),
        shared / (s[0] * s[1]),
        shared / (o[0] * o[1]),
    ]
    .map(|x| x as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_place_do_not_matter() {
        let (a, b) = ([0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 25.0, 15.0]);
        let moved = |c: Corners| c.map(|x| 3.0 * x + 30.0);
        let (here, there) = (pair(a, b), pair(moved(a), moved(b)));
        assert!(here.iter().zip(&there).all(|(x, y)| (x - y).abs() < 1e-6), "{here:?} {there:?}");
        assert_eq!((here[7], here[8]), (0.25, 0.25));
        assert!(pair(a, a).iter().all(|x| x.is_finite()) && pair([1.0; 4], b).iter().all(|x| x.is_finite()));
    }
}
