//! `shapes`: coloured figures on a textured ground, with outlines and classes, as COCO ground truth and PNG pictures.
//!
//! Five classes. Ellipse, polygon and star are star-convex: every point of their border is seen from their middle, so rays
//! hold them exactly. Bars are seen from their middle too but are long; horseshoes are not star-convex, and their mass
//! centre lies outside of them or at their rim. Later figures cover earlier ones, and what is covered does not count.

use std::f64::consts::TAU;
use std::path::Path;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::check_count;
use crate::coco::{Annotation, Category, Coco, Image, Rle, Segmentation};
use crate::picture::Picture;
use crate::{DataError, Result, atomic};

/// The classes, in the order of their ids from 1.
pub const CLASSES: [&str; 5] = ["ellipse", "polygon", "star", "bar", "horseshoe"];
/// Rows and columns of a picture unless told otherwise.
pub const SIDE: usize = 128;
/// The number of training pictures unless told otherwise.
pub const TRAIN: usize = 600;
/// The number of test pictures unless told otherwise.
pub const TEST: usize = 200;
/// The file of the training pictures' ground truth.
pub const TRAIN_FILE: &str = "train.json";
/// The file of the test pictures' ground truth.
pub const TEST_FILE: &str = "test.json";
/// The folder of the pictures.
pub const PICTURES: &str = "images";

/// A figure of which less than this is left uncovered is taken out of the ground truth, in pixels.
const LEAST_VISIBLE: usize = 24;
/// The share of a figure that must be uncovered.
const LEAST_SHARE: f64 = 0.35;

/// Pictures and their ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Shapes {
    /// In the order of the ground truth's images.
    pub pictures: Vec<Picture>,
    /// What is in them.
    pub truth: Coco,
}

/// Makes pictures in memory, numbered from `first` on; picture `i` is the same whatever is made with it.
///
/// # Errors
/// No pictures, a side below 32 or above 4096, more than memory should hold.
pub fn make(first: usize, count: usize, side: usize, seed: u64) -> Result<Shapes> {
    if count == 0 {
        return Err(DataError::argument("shapes: expected at least one picture"));
    }
    if !(32..=4096).contains(&side) {
        return Err(DataError::argument(format!("shapes: expected a side of 32 to 4096 pixels, found {side}")));
    }
    check_count("shapes", count, first, side * side * 3)?;
    let scenes: Vec<Scene> =
        (first..first + count).into_par_iter().map(|index| Scene::draw(index, side, seed)).collect();
    let mut truth = Coco { categories: categories(), ..Coco::default() };
    let mut pictures = Vec::with_capacity(count);
    for (index, scene) in (first..).zip(scenes) {
        let size = side as u32;
        truth.images.push(Image {
            id: (index as u64 + 1).into(),
            file_name: format!("{index:06}.png"),
            width: size,
            height: size,
        });
        for mut annotation in scene.annotations {
            annotation.id = (truth.annotations.len() as u64 + 1).into();
            truth.annotations.push(annotation);
        }
        pictures.push(scene.picture);
    }
    Ok(Shapes { pictures, truth })
}

/// Makes the data set as a folder: [`TRAIN_FILE`], [`TEST_FILE`], and all pictures in [`PICTURES`].
///
/// # Errors
/// A part of no pictures, a folder that holds something, or the system's refusal.
pub fn write(folder: &Path, train: usize, test: usize, seed: u64) -> Result<()> {
    let parts = [(TRAIN_FILE, make(0, train, SIDE, seed)?), (TEST_FILE, make(train, test, SIDE, seed)?)];
    atomic::folder_with(folder, |folder| {
        let pictures = folder.join(PICTURES);
        atomic::new_folder(&pictures)?;
        for (name, part) in parts {
            for (image, picture) in part.truth.images.iter().zip(&part.pictures) {
                picture.write(&pictures.join(&image.file_name))?;
            }
            part.truth.write(&folder.join(name))?;
        }
        Ok(())
    })
}

fn categories() -> Vec<Category> {
    (1u64..).zip(CLASSES).map(|(id, name)| Category { id: id.into(), name: name.to_owned() }).collect()
}

struct Scene {
    picture: Picture,
    annotations: Vec<Annotation>,
}

struct Figure {
    class: usize,
    outline: Vec<[f64; 2]>,
    colour: [f32; 3],
    /// The pixels whose middle it covers.
    pixels: Vec<bool>,
}

impl Scene {
    fn draw(index: usize, side: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        let mut canvas = ground(&mut rng, side);
        let figures: Vec<Figure> = (0..rng.random_range(2..=6)).map(|_| Figure::draw(&mut rng, side)).collect();
        for figure in &figures {
            figure.paint(&mut canvas, side);
        }
        let noise = rng.random_range(2.0f32..14.0);
        let pixels =
            canvas.iter().map(|v| (v + noise * rng.random_range(-1.0f32..1.0)).clamp(0.0, 255.0) as u8).collect();
        let picture = Picture { width: side, height: side, pixels };
        let annotations = annotations(&figures, index as u64 + 1, side);
        Self { picture, annotations }
    }
}

/// What is left to see of each figure.
fn annotations(figures: &[Figure], image_id: u64, side: usize) -> Vec<Annotation> {
    let mut covered = vec![false; side * side];
    let mut annotations = Vec::new();
    for figure in figures.iter().rev() {
        let visible: Vec<bool> = figure.pixels.iter().zip(&covered).map(|(inside, above)| *inside && !above).collect();
        let count = |mask: &[bool]| mask.iter().filter(|m| **m).count();
        let (seen, whole) = (count(&visible), count(&figure.pixels));
        covered.iter_mut().zip(&figure.pixels).for_each(|(c, p)| *c |= p);
        if seen < LEAST_VISIBLE || (seen as f64) < LEAST_SHARE * whole as f64 {
            continue;
        }
        // A figure that is seen whole is known by its outline, a covered one by its mask.
        let segmentation = if seen == whole {
            Segmentation::Polygons(vec![figure.outline.iter().flatten().copied().collect()])
        } else {
            Segmentation::Mask(Rle::from_mask(&visible, side, side))
        };
        annotations.push(Annotation {
            id: 0.into(),
            image_id: image_id.into(),
            category_id: (figure.class as u64 + 1).into(),
            segmentation,
            bbox: bbox(&visible, side),
            area: seen as f64,
            iscrowd: 0,
        });
    }
    annotations.reverse();
    annotations
}

/// Left, top, width, height of the pixels of a mask that is not empty.
fn bbox(mask: &[bool], side: usize) -> [f64; 4] {
    let places = || mask.iter().enumerate().filter(|(_, m)| **m).map(|(i, _)| (i % side, i / side));
    let range = |of: fn((usize, usize)) -> usize| {
        places().map(of).fold((usize::MAX, 0), |(low, high), v| (low.min(v), high.max(v + 1)))
    };
    let ((left, right), (top, bottom)) = (range(|p| p.0), range(|p| p.1));
    [left, top, right - left, bottom - top].map(|v| v as f64)
}

/// A sloping ground with waves, so that no figure stands out by brightness alone.
fn ground(rng: &mut ChaCha8Rng, side: usize) -> Vec<f32> {
    let base: [f32; 3] = std::array::from_fn(|_| rng.random_range(40.0..200.0));
    let slope: [f32; 2] = std::array::from_fn(|_| rng.random_range(-50.0..50.0));
    let wave: [f32; 4] = [
        rng.random_range(3.0..25.0),
        rng.random_range(3.0..25.0),
        rng.random_range(0.0..6.3),
        rng.random_range(0.0..18.0),
    ];
    let mut canvas = Vec::with_capacity(side * side * 3);
    for at in 0..side * side {
        let (x, y) = ((at % side) as f32 / side as f32, (at / side) as f32 / side as f32);
        let change =
            slope[0] * (x - 0.5) + slope[1] * (y - 0.5) + wave[3] * (wave[0] * x + wave[1] * y + wave[2]).sin();
        canvas.extend(base.map(|b| b + change));
    }
    canvas
}

impl Figure {
    fn draw(rng: &mut ChaCha8Rng, side: usize) -> Self {
        let class = rng.random_range(0..CLASSES.len());
        let size = side as f64;
        let radius = size * rng.random_range(0.07..0.24);
        let middle: [f64; 2] = std::array::from_fn(|_| rng.random_range(0.5 * radius..size - 0.5 * radius));
        let turn = rng.random_range(0.0..TAU);
        let outline: Vec<[f64; 2]> = unit_outline(class, rng)
            .iter()
            .map(|[x, y]| {
                let at = [x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()];
                // Two decimals are what COCO files have; inside the picture, as COCO's outlines are.
                std::array::from_fn(|i| ((middle[i] + radius * at[i]).clamp(0.0, size) * 100.0).round() / 100.0)
            })
            .collect();
        let colour = std::array::from_fn(|_| rng.random_range(10.0..245.0));
        let pixels = (0..side * side).map(|at| inside(&outline, [(at % side) as f64 + 0.5, (at / side) as f64 + 0.5]));
        let pixels = pixels.collect();
        Self { class, outline, colour, pixels }
    }

    /// Covers the canvas; pixels at the border by the share of them that is inside.
    fn paint(&self, canvas: &mut [f32], side: usize) {
        const FINE: usize = 3;
        for at in 0..side * side {
            let (x, y) = (at % side, at / side);
            let same = |x: usize, y: usize| self.pixels[y.min(side - 1) * side + x.min(side - 1)] == self.pixels[at];
            let border =
                !(same(x.saturating_sub(1), y) && same(x + 1, y) && same(x, y.saturating_sub(1)) && same(x, y + 1));
            if !border && !self.pixels[at] {
                continue;
            }
            let fine = |i: usize| (i as f64 + 0.5) / FINE as f64;
            let hit = |i: usize| inside(&self.outline, [x as f64 + fine(i % FINE), y as f64 + fine(i / FINE)]);
            let share =
                if border { (0..FINE * FINE).filter(|i| hit(*i)).count() as f32 / (FINE * FINE) as f32 } else { 1.0 };
            for (pixel, colour) in canvas[3 * at..3 * at + 3].iter_mut().zip(self.colour) {
                *pixel += share * (colour - *pixel);
            }
        }
    }
}

/// Whether a point is inside an outline, by the even-odd rule.
fn inside(outline: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let edges = outline.iter().zip(outline.iter().cycle().skip(1));
    let crossed = |(a, b): &(&[f64; 2], &[f64; 2])| {
        (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
    };
    edges.filter(crossed).count() % 2 == 1
}

/// The outline of a class about the origin, of radius about 1.
fn unit_outline(class: usize, rng: &mut ChaCha8Rng) -> Vec<[f64; 2]> {
    let around = |count: usize, radius: &dyn Fn(usize) -> f64| -> Vec<[f64; 2]> {
        let angle = |i: usize| TAU * i as f64 / count as f64;
        (0..count).map(|i| [radius(i) * angle(i).cos(), radius(i) * angle(i).sin()]).collect()
    };
    match CLASSES[class] {
        "ellipse" => {
            let narrow = rng.random_range(0.5..1.0);
            around(40, &|_| 1.0).into_iter().map(|[x, y]| [x, narrow * y]).collect()
        }
        "polygon" => around(rng.random_range(3..=6), &|_| 1.0),
        "star" => {
            let (points, dent) = (rng.random_range(5..=7), rng.random_range(0.4..0.6));
            around(2 * points, &|i| if i % 2 == 0 { 1.1 } else { dent })
        }
        "bar" => {
            let half = rng.random_range(0.14..0.26);
            vec![[-1.2, -half], [1.2, -half], [1.2, half], [-1.2, half]]
        }
        _ => {
            // An arc of about 250 degrees, there and back at two radii.
            let (inner, reach) = (rng.random_range(0.45..0.62), rng.random_range(0.62..0.75) * TAU);
            let angle = |i: usize| reach * (i as f64 / 20.0 - 0.5);
            let arc = |i: usize, r: f64| [r * angle(i).cos(), r * angle(i).sin()];
            (0..=20).map(|i| arc(i, 1.05)).chain((0..=20).rev().map(|i| arc(i, inner))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coco;

    #[test]
    fn the_same_seed_makes_the_same_pictures_however_many() {
        let all = make(0, 6, 64, 3).unwrap();
        let some = make(4, 2, 64, 3).unwrap();
        assert_eq!(all.pictures[4..], some.pictures);
        assert_ne!(all.pictures, make(0, 6, 64, 4).unwrap().pictures);
    }

    #[test]
    fn every_class_occurs_whole_and_covered() {
        let truth = make(0, 60, SIDE, 1).unwrap().truth;
        for class in 1..=CLASSES.len() as u64 {
            let of_class = || truth.annotations.iter().filter(|a| a.category_id == class);
            assert!(of_class().any(|a| matches!(a.segmentation, Segmentation::Polygons(_))));
            assert!(of_class().any(|a| matches!(a.segmentation, Segmentation::Mask(_))));
        }
        assert!(truth.annotations.iter().all(|a| a.area >= LEAST_VISIBLE as f64));
    }

    #[test]
    fn the_folder_is_coco_ground_truth() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("shapes");
        write(&root, 3, 2, 0).unwrap();
        let (train, test) = (coco::read(&root.join(TRAIN_FILE)).unwrap(), coco::read(&root.join(TEST_FILE)).unwrap());
        assert_eq!((train.images.len(), test.images.len()), (3, 2));
        assert_eq!(train, make(0, 3, SIDE, 0).unwrap().truth);
        let path = root.join(PICTURES).join(&test.images[1].file_name);
        assert_eq!(Picture::read(&path).unwrap(), make(4, 1, SIDE, 0).unwrap().pictures[0]);
        assert!(matches!(write(&root, 1, 1, 0), Err(DataError::Exists(_))));
        assert!(make(0, 0, SIDE, 0).is_err() && make(0, 1, 8, 0).is_err());
    }
}
