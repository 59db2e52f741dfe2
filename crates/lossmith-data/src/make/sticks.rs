//! `sticks`: bars that cross each other, the later over the earlier: an instance may fall into several pieces, which
//! boxes and connected components get wrong and embeddings do not. After figure 4 of arXiv 1708.02551.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::scenes::{Canvas, Scenes, rng};
use crate::label_images::Sample;

/// A picture of this generator, the same for the same seed and index.
pub fn sample(scenes: &Scenes, index: usize) -> Sample {
    let mut rng = rng(scenes.seed, index);
    // A bar that is hidden almost whole makes a scene that no one could read.
    loop {
        let canvas = draw(scenes.side, &mut rng);
        if canvas.least_visible() * 160 >= scenes.side * scenes.side {
            return canvas.into_sample(format!("sticks{index:04}"));
        }
    }
}

const BARS: u32 = 8;

/// Lengths are for a side of 256 pixels and scale with it.
fn draw(side: usize, rng: &mut ChaCha8Rng) -> Canvas {
    let scale = side as f32 / 256.0;
    let shade = rng.random_range(190..240u8);
    let mut canvas = Canvas::new(side, [shade; 3]);
    for id in 1..=BARS {
        let (length, width) = (rng.random_range(80.0..100.0f32) * scale, 15.0 * scale);
        let (sin, cos) = rng.random_range(-std::f32::consts::FRAC_PI_2..std::f32::consts::FRAC_PI_2).sin_cos();
        let (cy, cx) = (rng.random_range(30.0..225.0f32) * scale, rng.random_range(30.0..225.0f32) * scale);
        let color = [0; 3].map(|_| rng.random_range(90..200u8));
        // At least half a pixel wide, or small pictures would lose the outline.
        let outline = (2.0 * scale).max(0.5);
        canvas.paint(id, |x, y| {
            let along = (x - cx) * cos + (y - cy) * sin;
            let across = (y - cy) * cos - (x - cx) * sin;
            let inside = (length / 2.0 - along.abs()).min(width / 2.0 - across.abs());
            (inside >= 0.0).then(|| if inside < outline { color.map(|c| c / 3) } else { color })
        });
    }
    canvas.add_noise(rng, 6.0);
    canvas
}
