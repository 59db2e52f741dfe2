//! `digits`: handwritten-looking digits, 28 x 28, grey, ten classes; as MNIST, but made, and harder for a small network.
//!
//! A digit is a few strokes given as points of a smooth curve. Each image takes one of the digit's forms, moves its points
//! (elastic change), turns, shears, stretches and shifts it (affine change), draws it with a pen of its own width and
//! darkness, and adds what is not the digit: a stray stroke or blot, a sloping background, noise.

use std::f32::consts::TAU;
use std::path::Path;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::check_count;
use crate::classification::{Classification, LabelledImages, Shape, numbered};
use crate::{DataError, Result, atomic, idx};

/// Rows and columns of an image.
pub const SIDE: usize = 28;

/// The number of training images unless told otherwise.
pub const TRAIN: usize = 12_000;
/// The number of test images unless told otherwise.
pub const TEST: usize = 5_000;

/// One stroke: points in the unit square (x to the right, y down) that a smooth curve runs through.
type Stroke = &'static [(f32, f32)];

/// The forms in which each digit is written.
const FORMS: [&[&[Stroke]]; 10] = [
    &[
        &[&[
            (0.5, 0.0),
            (0.18, 0.15),
            (0.08, 0.5),
            (0.2, 0.87),
            (0.5, 1.0),
            (0.82, 0.85),
            (0.92, 0.5),
            (0.8, 0.14),
            (0.5, 0.0),
        ]],
        &[&[
            (0.62, 0.05),
            (0.3, 0.1),
            (0.12, 0.45),
            (0.22, 0.9),
            (0.52, 0.98),
            (0.85, 0.7),
            (0.85, 0.3),
            (0.6, 0.03),
            (0.35, 0.12),
        ]],
    ],
    &[
        &[&[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]],
        &[&[(0.28, 0.22), (0.42, 0.13), (0.55, 0.0)], &[(0.55, 0.0), (0.54, 0.5), (0.52, 1.0)]],
        &[&[(0.25, 0.25), (0.52, 0.02)], &[(0.52, 0.02), (0.52, 1.0)], &[(0.25, 1.0), (0.8, 1.0)]],
    ],
    &[
        &[
            &[(0.12, 0.25), (0.3, 0.03), (0.65, 0.02), (0.85, 0.25), (0.68, 0.52), (0.35, 0.78), (0.1, 0.98)],
            &[(0.1, 0.98), (0.9, 0.98)],
        ],
        &[&[
            (0.15, 0.22),
            (0.4, 0.0),
            (0.75, 0.1),
            (0.78, 0.38),
            (0.5, 0.7),
            (0.22, 0.95),
            (0.12, 0.82),
            (0.35, 0.78),
            (0.6, 0.95),
            (0.92, 0.92),
        ]],
    ],
    &[
        &[
            &[(0.15, 0.12), (0.45, 0.0), (0.8, 0.15), (0.72, 0.4), (0.42, 0.48)],
            &[(0.42, 0.48), (0.78, 0.56), (0.88, 0.8), (0.6, 0.98), (0.3, 0.98), (0.1, 0.85)],
        ],
        &[
            &[(0.15, 0.02), (0.82, 0.02)],
            &[(0.82, 0.02), (0.42, 0.4)],
            &[(0.42, 0.4), (0.8, 0.48), (0.88, 0.75), (0.62, 0.98), (0.3, 0.98), (0.1, 0.85)],
        ],
    ],
    &[
        &[&[(0.62, 0.0), (0.1, 0.68)], &[(0.1, 0.68), (0.92, 0.68)], &[(0.66, 0.35), (0.66, 1.0)]],
        &[&[(0.18, 0.0), (0.15, 0.3), (0.22, 0.5), (0.5, 0.54), (0.8, 0.46)], &[(0.82, 0.0), (0.8, 0.5), (0.76, 1.0)]],
    ],
    &[
        &[
            &[(0.85, 0.02), (0.25, 0.02)],
            &[(0.25, 0.02), (0.2, 0.44)],
            &[(0.2, 0.44), (0.55, 0.36), (0.86, 0.55), (0.8, 0.86), (0.48, 1.0), (0.12, 0.9)],
        ],
        &[&[(0.8, 0.0), (0.35, 0.05), (0.22, 0.25), (0.4, 0.43), (0.7, 0.55), (0.78, 0.8), (0.5, 1.0), (0.15, 0.9)]],
    ],
    &[
        &[&[
            (0.72, 0.02),
            (0.38, 0.2),
            (0.14, 0.6),
            (0.25, 0.93),
            (0.58, 1.0),
            (0.84, 0.8),
            (0.7, 0.54),
            (0.4, 0.53),
            (0.18, 0.7),
        ]],
        &[&[(0.42, 0.0), (0.2, 0.4), (0.15, 0.75), (0.4, 1.0), (0.72, 0.92), (0.76, 0.68), (0.5, 0.58), (0.2, 0.74)]],
    ],
    &[
        &[&[(0.1, 0.03), (0.88, 0.03)], &[(0.88, 0.03), (0.58, 0.48), (0.42, 1.0)]],
        &[
            &[(0.1, 0.15), (0.14, 0.03), (0.5, 0.05), (0.86, 0.02)],
            &[(0.86, 0.02), (0.6, 0.5), (0.4, 1.0)],
            &[(0.35, 0.52), (0.78, 0.48)],
        ],
    ],
    &[
        &[&[
            (0.75, 0.12),
            (0.45, 0.0),
            (0.2, 0.18),
            (0.4, 0.42),
            (0.7, 0.6),
            (0.8, 0.84),
            (0.5, 1.0),
            (0.2, 0.86),
            (0.3, 0.6),
            (0.62, 0.4),
            (0.8, 0.2),
            (0.75, 0.12),
        ]],
        &[
            &[(0.5, 0.0), (0.24, 0.1), (0.26, 0.36), (0.5, 0.46), (0.75, 0.35), (0.76, 0.1), (0.5, 0.0)],
            &[(0.5, 0.46), (0.18, 0.6), (0.16, 0.88), (0.5, 1.0), (0.84, 0.88), (0.82, 0.6), (0.5, 0.46)],
        ],
    ],
    &[
        &[
            &[(0.8, 0.28), (0.62, 0.02), (0.3, 0.05), (0.16, 0.3), (0.36, 0.5), (0.66, 0.46), (0.8, 0.2)],
            &[(0.8, 0.2), (0.78, 0.6), (0.66, 1.0)],
        ],
        &[
            &[(0.78, 0.1), (0.42, 0.0), (0.16, 0.22), (0.34, 0.46), (0.66, 0.4), (0.79, 0.1)],
            &[(0.79, 0.1), (0.82, 0.55), (0.66, 0.92), (0.3, 0.96)],
        ],
    ],
];

/// Makes the data set in memory, labels in random order.
///
/// # Errors
/// A part of no images, or of more than memory should hold.
pub fn make(train: usize, test: usize, seed: u64) -> Result<Classification> {
    // Image `i` has the stream `i`; the test images follow the training images far enough never to meet them.
    const TEST_STREAM: u64 = 1 << 40;
    check_count("digits", train, test, SIDE * SIDE + 1)?;
    Ok(Classification {
        classes: numbered(10),
        train: part(train, seed, 0)?,
        test: Some(part(test, seed, TEST_STREAM)?),
    })
}

/// Makes the data set as a folder under MNIST's file names.
///
/// # Errors
/// A part of no images, a folder that holds something, or the system's refusal.
pub fn write(folder: &Path, train: usize, test: usize, seed: u64) -> Result<()> {
    let data = make(train, test, seed)?;
    let test = data.test.as_ref().ok_or_else(|| DataError::argument("no test images"))?;
    atomic::folder_with(folder, |inside| idx::write_folder(inside, &data.train, test))
}

fn part(count: usize, seed: u64, first_stream: u64) -> Result<LabelledImages> {
    if count == 0 {
        return Err(DataError::argument("digits: expected at least one training and one test image"));
    }
    let mut pixels = vec![0; count * SIDE * SIDE];
    let mut labels = vec![0; count];
    pixels.par_chunks_exact_mut(SIDE * SIDE).zip(&mut labels).enumerate().for_each(|(at, (image, label))| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(first_stream + at as u64);
        *label = rng.random_range(0..10);
        draw(usize::from(*label), &mut rng, image);
    });
    LabelledImages::new(Shape { channels: 1, height: SIDE, width: SIDE }, pixels, labels)
}

/// One image of a digit.
fn draw(digit: usize, rng: &mut ChaCha8Rng, image: &mut [u8]) {
    let mut ink = [0f32; SIDE * SIDE];
    let form = FORMS[digit][rng.random_range(0..FORMS[digit].len())];
    let hand = Hand::draw(rng);
    let mut pen = Pen { width: rng.random_range(0.9..2.7), darkness: rng.random_range(0.55..1.0) };
    for stroke in form {
        let points: Vec<(f32, f32)> = curve(stroke).into_iter().map(|p| hand.place(p)).collect();
        pen.stroke(&points, &mut ink);
    }
    for _ in 0..rng.random_range(0..3) {
        pen.width = rng.random_range(0.7..2.0);
        pen.darkness = rng.random_range(0.3..0.9);
        pen.stroke(&stray(rng), &mut ink);
    }
    let slope = [normal(rng, 0.06), normal(rng, 0.06), rng.random_range(0.0..0.15)];
    let noise = rng.random_range(0.02..0.10);
    for (at, (pixel, ink)) in image.iter_mut().zip(ink).enumerate() {
        let [x, y] = [at % SIDE, at / SIDE].map(|v| v as f32 / SIDE as f32 - 0.5);
        let background = (slope[0] * x + slope[1] * y + slope[2]).max(0.0);
        let value = background + (1.0 - background) * ink + normal(rng, noise);
        *pixel = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    }
}

/// How a writer forms and places a digit.
struct Hand {
    /// Rows of the linear map from the unit square, centred, to pixels.
    map: [[f32; 2]; 2],
    shift: [f32; 2],
    /// Waves that push points aside: direction of travel, direction of push, phase.
    waves: [[f32; 5]; 3],
}

impl Hand {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let (turn, shear) = (normal(rng, 0.12).clamp(-0.4, 0.4), normal(rng, 0.16).clamp(-0.45, 0.45));
        let (wide, high) = (rng.random_range(11.5..16.5), rng.random_range(16.0..21.0));
        let (sin, cos) = turn.sin_cos();
        let room: f32 = 1.5;
        Self {
            map: [[cos * wide, (-sin - shear) * high], [sin * wide, cos * high]],
            shift: [0, 1].map(|_| (SIDE as f32 - 1.0) / 2.0 + rng.random_range(-room..room)),
            waves: [0, 1, 2].map(|_| {
                let angle = rng.random_range(0.0..TAU);
                let frequency = rng.random_range(2.0..6.0);
                [
                    frequency * angle.cos(),
                    frequency * angle.sin(),
                    normal(rng, 0.04),
                    normal(rng, 0.04),
                    rng.random_range(0.0..TAU),
                ]
            }),
        }
    }

    fn place(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let (mut u, mut v) = (x - 0.5, y - 0.5);
        for [kx, ky, push_x, push_y, phase] in self.waves {
            let wave = (kx * x + ky * y + phase).sin();
            u += push_x * wave;
            v += push_y * wave;
        }
        let [[a, b], [c, d]] = self.map;
        (a * u + b * v + self.shift[0], c * u + d * v + self.shift[1])
    }
}

/// A pen of this width in pixels and darkness of 0 to 1.
struct Pen {
    width: f32,
    darkness: f32,
}

impl Pen {
    /// Draws a line through the points, darkest where strokes cross.
    fn stroke(&self, points: &[(f32, f32)], ink: &mut [f32; SIDE * SIDE]) {
        let reach = self.width / 2.0 + 0.5;
        let pixels = |low: f32, high: f32| {
            let last = (SIDE - 1) as f32;
            (low - reach).ceil().clamp(0.0, SIDE as f32) as usize..=(high + reach).floor().clamp(-1.0, last) as usize
        };
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            if x0.max(x1) + reach < 0.0 || y0.max(y1) + reach < 0.0 {
                continue;
            }
            for row in pixels(y0.min(y1), y0.max(y1)) {
                for column in pixels(x0.min(x1), x0.max(x1)) {
                    let away = distance((column as f32, row as f32), pair[0], pair[1]);
                    let covered = (reach - away).clamp(0.0, 1.0) * self.darkness;
                    let value = &mut ink[row * SIDE + column];
                    *value = value.max(covered);
                }
            }
        }
    }
}

/// The distance of a point from the line between two others.
fn distance(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(1e-12);
    let t = (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length).clamp(0.0, 1.0);
    (p.0 - a.0 - t * dx).hypot(p.1 - a.1 - t * dy)
}

/// A smooth curve through the points of a stroke (Catmull-Rom), as short lines.
fn curve(stroke: Stroke) -> Vec<(f32, f32)> {
    const STEPS: usize = 6;
    let at = |i: isize| stroke[i.clamp(0, stroke.len() as isize - 1) as usize];
    let mut points = vec![stroke[0]];
    for i in 0..stroke.len() as isize - 1 {
        let [p0, p1, p2, p3] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
        let blend = |a: f32, b: f32, c: f32, d: f32, t: f32| {
            b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
        };
        points.extend((1..=STEPS).map(|s| {
            let t = s as f32 / STEPS as f32;
            (blend(p0.0, p1.0, p2.0, p3.0, t), blend(p0.1, p1.1, p2.1, p3.1, t))
        }));
    }
    points
}

/// A short line anywhere, which belongs to no digit.
fn stray(rng: &mut ChaCha8Rng) -> [(f32, f32); 2] {
    let (x, y) = (rng.random_range(0.0..SIDE as f32), rng.random_range(0.0..SIDE as f32));
    let (angle, length) = (rng.random_range(0.0..TAU), rng.random_range(1.0..9.0));
    [(x, y), (x + length * angle.cos(), y + length * angle.sin())]
}

fn normal(rng: &mut ChaCha8Rng, sd: f32) -> f32 {
    let value: f32 = StandardNormal.sample(rng);
    sd * value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| make(200, 50, 7).unwrap())
        };
        assert_eq!(on(1), on(5));
        assert_ne!(on(1), make(200, 50, 8).unwrap());
    }

    /// Image `i` follows from the seed and `i` alone.
    #[test]
    fn a_larger_set_begins_with_the_smaller_and_parts_do_not_meet() {
        let (small, large) = (make(40, 40, 3).unwrap(), make(80, 40, 3).unwrap());
        assert_eq!(large.train.first(40).unwrap(), small.train);
        let test = small.test.unwrap();
        assert!((0..40).all(|i| (0..40).all(|j| small.train.image(i) != test.image(j))));
    }

    #[test]
    fn every_class_is_drawn_about_equally_often_and_never_empty() {
        let data = make(5_000, 1, 1).unwrap().train;
        for class in 0..10 {
            let count = data.labels().iter().filter(|l| **l == class).count();
            assert!((400..600).contains(&count), "class {class}: {count}");
        }
        for i in 0..data.len() {
            let bright = data.image(i).iter().filter(|&&v| v > 110).count();
            assert!((8..500).contains(&bright), "image {i}, a {}: {bright} bright pixels", data.labels()[i]);
        }
    }

    #[test]
    fn a_written_folder_reads_like_mnist() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 30, 20, 5).unwrap();
        assert_eq!(crate::folder::classification(folder.path()).unwrap(), make(30, 20, 5).unwrap());
        assert!(matches!(write(folder.path(), 30, 20, 5), Err(DataError::Exists(_))));
        assert!(make(0, 1, 1).is_err() && make(1, 0, 1).is_err());
    }

    #[test]
    fn a_curve_runs_through_its_points() {
        let stroke: Stroke = &[(0.0, 0.0), (0.5, 0.2), (1.0, 0.9)];
        let points = curve(stroke);
        for p in stroke {
            assert!(points.iter().any(|q| (p.0 - q.0).hypot(p.1 - q.1) < 1e-6));
        }
    }
}
