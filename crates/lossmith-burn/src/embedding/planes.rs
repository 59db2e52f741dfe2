//! Pictures as the network sees them: normalised colours and two coordinate channels; views for training and tiles.

use lossmith_data::label_images::{Labels, Picture, Sample};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::Recipe;

/// Red, green, blue, brightness, x, y.
pub(super) const CHANNELS: usize = COLORS + 2;
/// Red, green and blue with the mean 0 and the variance 1 over the picture; and the square root of the brightness itself, without
/// which nobody knows a dark picture from a bright one, nor a dim halo from the dark beside a bright spot.
const COLORS: usize = 4;

/// A picture, channel by channel.
pub(super) struct Planes {
    pub height: usize,
    pub width: usize,
    colors: Vec<f32>,
}

impl Planes {
    pub fn new(picture: &Picture) -> Self {
        let pixels = picture.height * picture.width;
        let mut colors = Vec::with_capacity(COLORS * pixels);
        for color in 0..COLORS - 1 {
            let channel = color.min(picture.channels - 1);
            let values = || picture.samples.iter().skip(channel).step_by(picture.channels).map(|v| f64::from(*v));
            let mean = values().sum::<f64>() / pixels as f64;
            let variance = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / pixels as f64;
            // A picture of one colour has no variance to divide by.
            let scale = 1.0 / variance.sqrt().max(1.0);
            colors.extend(values().map(|v| ((v - mean) * scale) as f32));
        }
        // From 0 to 3, so that it is about as large as the others.
        const GAIN: f32 = 3.0;
        colors.extend(picture.samples.chunks_exact(picture.channels).map(|pixel| {
            let mean = pixel.iter().map(|v| f32::from(*v)).sum::<f32>() / pixel.len() as f32;
            GAIN * (mean / 255.0).sqrt()
        }));
        Self { height: picture.height, width: picture.width, colors }
    }

    /// The picture enlarged, each side by `factor` and rounded.
    pub fn enlarged(self, factor: f32) -> Self {
        if factor == 1.0 {
            return self;
        }
        let [height, width] = [self.height, self.width].map(|length| (length as f32 * factor).round() as usize);
        let mut colors = vec![0f32; COLORS * height * width];
        let place = |at: usize| (at as f32 + 0.5) / factor - 0.5;
        self.sample(&mut colors, width, |y, x| (place(y), place(x)));
        Self { height, width, colors }
    }

    /// The colours at a grid of places, rows of `width`, channel by channel.
    fn sample(&self, colors: &mut [f32], width: usize, place: impl Fn(usize, usize) -> (f32, f32)) {
        let pixels = colors.len() / COLORS;
        for i in 0..pixels {
            let (y, x) = place(i / width, i % width);
            for (channel, color) in self.bilinear(y, x).into_iter().enumerate() {
                colors[channel * pixels + i] = color;
            }
        }
    }

    /// The colours at a place between pixels, mirrored at the borders.
    fn bilinear(&self, y: f32, x: f32) -> [f32; COLORS] {
        let (fy, fx) = (y - y.floor(), x - x.floor());
        let ys = [mirror(y.floor() as i64, self.height).0, mirror(y.floor() as i64 + 1, self.height).0];
        let xs = [mirror(x.floor() as i64, self.width).0, mirror(x.floor() as i64 + 1, self.width).0];
        std::array::from_fn(|c| {
            let at = |y: usize, x: usize| self.colors[(c * self.height + y) * self.width + x];
            let top = at(ys[0], xs[0]) * (1.0 - fx) + at(ys[0], xs[1]) * fx;
            let bottom = at(ys[1], xs[0]) * (1.0 - fx) + at(ys[1], xs[1]) * fx;
            top * (1.0 - fy) + bottom * fy
        })
    }
}

/// Labels on another grid over the same picture: each pixel has the label that lies at its middle.
pub(super) fn resampled(labels: &Labels, height: usize, width: usize) -> Labels {
    let nearest = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    let row = |y: usize| nearest(y, labels.height, height) * labels.width;
    let ids = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let ids = ids.map(|(y, x)| labels.ids[row(y) + nearest(x, labels.width, width)]).collect();
    Labels { height, width, ids }
}

/// The index that a place outside is mirrored to, and how many times it was mirrored.
fn mirror(at: i64, length: usize) -> (usize, i64) {
    let length = length as i64;
    let (turn, rest) = (at.div_euclid(length), at.rem_euclid(length));
    ((if turn % 2 == 0 { rest } else { length - 1 - rest }) as usize, turn)
}

/// What the network is fed: `[CHANNELS, side, side]`.
pub(super) fn tile(planes: &Planes, top: usize, left: usize, side: usize) -> Vec<f32> {
    view(planes, side, |y, x| ((top + y) as f32, (left + x) as f32))
}

fn view(planes: &Planes, side: usize, place: impl Fn(usize, usize) -> (f32, f32)) -> Vec<f32> {
    let pixels = side * side;
    let mut view = vec![0f32; CHANNELS * pixels];
    // From -1 at the first pixel to 1 at the last.
    let coordinate = |i: usize| 2.0 * i as f32 / (side - 1) as f32 - 1.0;
    let (colors, coordinates) = view.split_at_mut(COLORS * pixels);
    planes.sample(colors, side, place);
    for i in 0..pixels {
        coordinates[i] = coordinate(i % side);
        coordinates[pixels + i] = coordinate(i / side);
    }
    view
}

/// A random view of a sample: cut, mirrored, turned and enlarged, the labels in the same way. Mirror images of an instance
/// beyond the border are instances of their own.
pub(super) fn random_view(
    planes: &Planes,
    labels: &Labels,
    recipe: &Recipe,
    rng: &mut ChaCha8Rng,
) -> (Vec<f32>, Vec<i64>) {
    let side = recipe.side;
    let angle = if recipe.rotate { rng.random_range(0.0..std::f32::consts::TAU) } else { 0.0 };
    let scale = 1.0 / (recipe.enlarge * rng.random_range(1.0..=recipe.zoom));
    let flip = if rng.random::<bool>() { -1.0 } else { 1.0 };
    // The middle of the view lies where a whole view fits, or in the middle of a smaller picture.
    let mut middle = |length: usize| {
        let half = side as f32 * scale / 2.0;
        let spare = (length as f32 - 2.0 * half).max(0.0);
        (length as f32 - 1.0) / 2.0 + (rng.random::<f32>() - 0.5) * spare
    };
    let (cy, cx) = (middle(planes.height), middle(planes.width));
    let (sin, cos) = (angle.sin() * scale, angle.cos() * scale);
    let half = (side as f32 - 1.0) / 2.0;
    let place = |y: usize, x: usize| {
        let (v, u) = (y as f32 - half, (x as f32 - half) * flip);
        (cy + v * cos + u * sin, cx + u * cos - v * sin)
    };
    let ids = (0..side * side).map(|i| {
        let (y, x) = place(i / side, i % side);
        let (row, turn_y) = mirror(y.round() as i64, labels.height);
        let (column, turn_x) = mirror(x.round() as i64, labels.width);
        let id = i64::from(labels.ids[row * labels.width + column]);
        // A number per mirrored copy: turns are few, since a view is hardly larger than the picture.
        let copy = (turn_y + 64) * 128 + turn_x + 64;
        if id == 0 { 0 } else { id + (copy << 32) }
    });
    (view(planes, side, place), ids.collect())
}

/// The sample's planes.
pub(super) fn of_samples(samples: &[Sample]) -> Vec<Planes> {
    samples.iter().map(|s| Planes::new(&s.picture)).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn ramp(height: usize, width: usize) -> (Picture, Labels) {
        let samples = (0..height * width).map(|i| (i % width) as u8).collect();
        let ids = (0..height * width).map(|i| u32::from(i % width >= width / 2)).collect();
        (Picture { height, width, channels: 1, samples }, Labels { height, width, ids })
    }

    #[test]
    fn a_tile_is_the_picture_and_its_mirror_image_beyond() {
        let planes = Planes::new(&ramp(16, 20).0);
        let tile = tile(&planes, 0, 8, 16);
        for (column, source) in [(0, 8), (11, 19), (12, 19), (15, 16)] {
            assert_eq!(tile[column], planes.colors[source], "{column}");
        }
        assert_eq!((tile[4 * 256], tile[4 * 256 + 15], tile[5 * 256 + 255]), (-1.0, 1.0, 1.0));
        assert_eq!(tile[3 * 256], 3.0 * (8.0f32 / 255.0).sqrt());
    }

    #[test]
    fn enlarging_and_shrinking_keeps_labels_and_places() {
        let (picture, labels) = ramp(9, 14);
        let planes = Planes::new(&picture).enlarged(1.5);
        assert_eq!((planes.height, planes.width), (14, 21));
        let own = Planes::new(&picture);
        // The middle of the enlarged pixel 10 is the middle of pixel 6.5: halfway between two columns, on a ramp.
        assert!(
            (planes.colors[10] - f32::midpoint(own.colors[6], own.colors[7])).abs()
                < 0.5 * (own.colors[7] - own.colors[6])
        );
        let large = resampled(&labels, planes.height, planes.width);
        assert_eq!(resampled(&large, labels.height, labels.width), labels);
        assert_eq!(large.ids.iter().filter(|id| **id > 0).count(), 14 * 11);
    }

    #[test]
    fn labels_follow_the_picture() {
        let (picture, labels) = ramp(40, 40);
        let planes = Planes::new(&picture);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let (view, ids) = random_view(&planes, &labels, &Recipe { side: 16, ..Recipe::default() }, &mut rng);
            // The picture is its own column number: above the middle exactly where the label is.
            let middle = (planes.colors[19] + planes.colors[20]) / 2.0;
            let step = planes.colors[20] - planes.colors[19];
            for (color, id) in view.iter().zip(&ids) {
                let clear = (color - middle).abs() > 0.6 * step;
                assert!(!clear || (*color > middle) == (*id != 0));
            }
        }
    }

    #[test]
    fn mirrored_copies_of_an_instance_are_instances_of_their_own() {
        let (picture, _) = ramp(8, 8);
        let labels = Labels { height: 8, width: 8, ids: vec![1; 64] };
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let recipe = Recipe { side: 16, zoom: 1.0, rotate: false, ..Recipe::default() };
        let (_, mut ids) = random_view(&Planes::new(&picture), &labels, &recipe, &mut rng);
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() >= 4, "{ids:?}");
    }
}
