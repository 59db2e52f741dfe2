//! The 28 numbers that the spatial module reads of a pair of boxes.

use lossmith::graph::{Corners, enclosing};

/// How many numbers describe an ordered pair.
pub const WIDTH: usize = 28;

/// Pair(s,o), pair(s,u), pair(u,o), 6 numbers each, then box(s), box(o), 5 numbers each; `u` is the box around both.
///
/// - pair(a,b): the Fast R-CNN deltas of b from a, `(cx_b - cx_a)/w_a`, `(cy_b - cy_a)/h_a`, `ln(w_b/w_a)`, `ln(h_b/h_a)`, then the first two of
///   a from b.
/// - box(b): corners by the image's width and height, and the share of its area.
///
/// Widths count the pixel at the end. The released code divides by the rescaled size at test time; here it is the image's own, as
/// in training.
pub fn pair(subject: Corners, object: Corners, [width, height]: [f64; 2]) -> [f32; WIDTH] {
    let union = enclosing(subject, object);
    let mut numbers = [0.0; WIDTH];
    for (at, (a, b)) in [(subject, object), (subject, union), (union, object)].into_iter().enumerate() {
        let ([dx, dy, dw, dh], [back_x, back_y, ..]) = (deltas(a, b), deltas(b, a));
        numbers[6 * at..][..6].copy_from_slice(&[dx, dy, dw, dh, back_x, back_y]);
    }
    for (at, b) in [subject, object].into_iter().enumerate() {
        let [w, h] = size(b);
        numbers[18 + 5 * at..][..5].copy_from_slice(&[
            b[0] / width,
            b[1] / height,
            b[2] / width,
            b[3] / height,
            w * h / (width * height),
        ]);
    }
    numbers.map(|v| v as f32)
}

fn size(b: Corners) -> [f64; 2] {
    [b[2] - b[0] + 1.0, b[3] - b[1] + 1.0]
}

/// Of `b` relative to `a`: shift of the middle by a's size, logarithm of the ratio of sizes.
fn deltas(a: Corners, b: Corners) -> [f64; 4] {
    let ([wa, ha], [wb, hb]) = (size(a), size(b));
    let dx = (b[0] + wb / 2.0 - a[0] - wa / 2.0) / wa;
    let dy = (b[1] + hb / 2.0 - a[1] - ha / 2.0) / ha;
    [dx, dy, (wb / wa).ln(), (hb / ha).ln()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        let (s, o) = ([0.0, 0.0, 9.0, 19.0], [10.0, 0.0, 29.0, 19.0]);
        let n = pair(s, o, [100.0, 50.0]);
        let near = |at: usize, wanted: f64| assert!((f64::from(n[at]) - wanted).abs() < 1e-6, "{at}: {n:?}");
        // pair(s,o): the middles are 15 apart, s is 10 wide and o 20.
        [1.5, 0.0, 2f64.ln(), 0.0, -0.75, 0.0].into_iter().enumerate().for_each(|(at, v)| near(at, v));
        // pair(s,u): u is 30 wide, its middle 10 from that of s.
        [1.0, 0.0, 3f64.ln(), 0.0, -1.0 / 3.0, 0.0].into_iter().enumerate().for_each(|(at, v)| near(6 + at, v));
        [0.0, 0.0, 0.09, 0.38, 0.04, 0.1, 0.0, 0.29, 0.38, 0.08]
            .into_iter()
            .enumerate()
            .for_each(|(at, v)| near(18 + at, v));
    }
}
