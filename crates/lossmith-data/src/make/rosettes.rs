//! `rosettes`: plants seen from above, 5 to 20 leaves around a centre, the young ones small and on top.
//!
//! Leaves follow each other at the golden angle, as they grow. A leaf is a stalk and an egg-shaped blade with a lighter
//! midrib; it is painted over the older ones and over a ground of soil and moss.

use std::f32::consts::{PI, TAU};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::scenes::{Canvas, Scenes, rng};
use crate::label_images::Sample;

/// A picture of this generator, the same for the same seed and index.
pub fn sample(scenes: &Scenes, index: usize) -> Sample {
    let mut rng = rng(scenes.seed, index);
    // No leaf is hidden almost whole: a count must be readable from the picture.
    loop {
        let canvas = draw(scenes.side, &mut rng);
        if canvas.least_visible() * 900 >= scenes.side * scenes.side {
            return canvas.into_sample(format!("plant{:03}", index + 1));
        }
    }
}

/// The angle between a leaf and the next: 137.5 degrees.
const GOLDEN: f32 = 2.399_963;

struct Leaf {
    sin: f32,
    cos: f32,
    /// Stalk and blade together.
    length: f32,
    /// Half the width of the blade.
    half_width: f32,
    stalk: f32,
    color: [f32; 3],
}

fn draw(side: usize, rng: &mut ChaCha8Rng) -> Canvas {
    let reach = side as f32 * 0.46;
    let mut canvas = Canvas::new(side, [0; 3]);
    paint_ground(&mut canvas, rng);
    let (cx, cy) = (side as f32 * rng.random_range(0.47..0.53f32), side as f32 * rng.random_range(0.47..0.53f32));
    let leaves = rng.random_range(5..=20u32);
    let turn = rng.random_range(0.0..TAU);
    let size = rng.random_range(0.75..1.0f32);
    for id in 1..=leaves {
        // 0 is the oldest leaf, 1 the youngest.
        let age = (id - 1) as f32 / leaves as f32;
        let leaf = grow(rng, turn + GOLDEN * id as f32, reach * size * (1.0 - 0.62 * age));
        canvas.paint(id, |x, y| leaf.color_at(x - cx, y - cy));
    }
    canvas.add_noise(rng, 5.0);
    canvas
}

/// A blotchy brown and green ground: a few waves of random direction.
fn paint_ground(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let waves: Vec<[f32; 4]> = (0..6)
        .map(|_| {
            [
                rng.random_range(-0.25..0.25),
                rng.random_range(-0.25..0.25),
                rng.random_range(0.0..TAU),
                rng.random_range(3.0..9.0),
            ]
        })
        .collect();
    let (r, g, b) =
        (rng.random_range(70.0..110.0f32), rng.random_range(60.0..85.0f32), rng.random_range(45.0..65.0f32));
    canvas.paint(0, |x, y| {
        let height: f32 =
            waves.iter().map(|[fx, fy, phase, amplitude]| amplitude * (fx * x + fy * y + phase).sin()).sum();
        Some([r + height, g + 0.9 * height, b + 0.5 * height].map(|v| v.clamp(0.0, 255.0) as u8))
    });
}

fn grow(rng: &mut ChaCha8Rng, angle: f32, length: f32) -> Leaf {
    let (sin, cos) = (angle + rng.random_range(-0.25..0.25f32)).sin_cos();
    let length = length * rng.random_range(0.85..1.1f32);
    let light = rng.random_range(0.8..1.2f32);
    let hue = rng.random_range(-18.0..18.0f32);
    Leaf {
        sin,
        cos,
        length,
        half_width: length * rng.random_range(0.17..0.25f32),
        stalk: rng.random_range(0.25..0.4f32),
        color: [(62.0 + hue) * light, 130.0 * light, (48.0 - 0.3 * hue) * light],
    }
}

impl Leaf {
    /// The colour at a place relative to the centre of the plant, if the leaf covers it.
    fn color_at(&self, x: f32, y: f32) -> Option<[u8; 3]> {
        let along = (x * self.cos + y * self.sin) / self.length;
        let across = (y * self.cos - x * self.sin).abs();
        let half = self.half_width_at(along)?;
        if across > half {
            return None;
        }
        // Darker towards the edge, a lighter rib along the middle.
        let edge = 1.0 - 0.35 * (across / half).powi(3);
        let rib = if across < 0.06 * self.half_width + 0.4 { 1.18 } else { 1.0 };
        Some(self.color.map(|c| (c * edge * rib).clamp(0.0, 255.0) as u8))
    }

    /// Half the width at a share of the length; nothing outside of the leaf.
    fn half_width_at(&self, along: f32) -> Option<f32> {
        if !(0.0..=1.0).contains(&along) {
            return None;
        }
        let stalk = (0.12 * self.half_width).max(0.7);
        let blade = (along - self.stalk) / (1.0 - self.stalk);
        Some(if blade <= 0.0 {
            stalk
        } else {
            stalk.max(self.half_width * (PI * blade.powf(0.8)).sin().max(0.0).sqrt())
        })
    }
}
