//! Pictures and objects as the network learns them: every picture stretched to the network's size, every object by the
//! outline of its largest part.

use burn::tensor::{Device, Tensor, TensorData};
use lossmith::polar::targets::{Object, Shape};
use lossmith::polar::{Bounds, Polygon, contour};
use lossmith_data::coco::{Annotation, Coco, Image, Segmentation};
use lossmith_data::picture::Picture;
use rayon::prelude::*;

/// Mean and standard deviation of ImageNet's red, green and blue, in bytes: what torchvision's networks expect.
const NORMAL: [(f32, f32); 3] = [(123.675, 58.395), (116.28, 57.12), (103.53, 57.375)];

/// One picture of the network's size and its objects.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of the network's size.
    pub picture: Picture,
    /// In pixels of `picture`; classes from 1 in the order of the ground truth's categories.
    pub objects: Vec<Object>,
}

/// What a network learns from ground truth and its pictures, in the same order. Crowds and objects of less than a pixel are
/// left out.
///
/// # Panics
/// If there are not as many pictures as images.
pub fn samples(truth: &Coco, pictures: &[Picture], width: usize, height: usize) -> Vec<Sample> {
    assert_eq!(truth.images.len(), pictures.len(), "one picture for each image");
    truth
        .images
        .par_iter()
        .zip(pictures)
        .map(|(image, picture)| Sample {
            picture: picture.resized(width, height),
            objects: objects(truth, image, width, height),
        })
        .collect()
}

fn objects(truth: &Coco, image: &Image, width: usize, height: usize) -> Vec<Object> {
    let factors = (width as f64 / f64::from(image.width), height as f64 / f64::from(image.height));
    let of_image = truth.annotations.iter().filter(|a| a.image_id == image.id && a.iscrowd == 0);
    of_image.filter_map(|annotation| object(truth, annotation, image, factors)).collect()
}

fn object(truth: &Coco, annotation: &Annotation, image: &Image, (x, y): (f64, f64)) -> Option<Object> {
    const LEAST_AREA: f64 = 1.0;
    let class = truth.categories.iter().position(|c| c.id == annotation.category_id)? as i64 + 1;
    let outline = largest_part(annotation, image)?.scaled(x, y);
    if outline.area() < LEAST_AREA {
        return None;
    }
    let [left, top, width, height] = annotation.bbox;
    let bounds = Bounds { left: left * x, top: top * y, right: (left + width) * x, bottom: (top + height) * y };
    Some(Object { class, bounds, shape: Shape::Outline(outline) })
}

/// The outline of an object's largest part.
pub(super) fn largest_part(annotation: &Annotation, image: &Image) -> Option<Polygon> {
    match &annotation.segmentation {
        Segmentation::Polygons(parts) => {
            let parts = parts.iter().filter_map(|part| Polygon::from_flat(part).ok());
            parts.max_by(|a, b| a.area().total_cmp(&b.area()))
        }
        Segmentation::Mask(rle) => {
            let (width, height) = (image.width as usize, image.height as usize);
            let mut mask = vec![false; width * height];
            let (mut at, mut inside) = (0, false);
            for count in rle.runs().ok()? {
                for pixel in at..at + count as usize {
                    mask[pixel % height * width + pixel / height] = inside;
                }
                (at, inside) = (at + count as usize, !inside);
            }
            contour::largest(&mask, width, height, true).map(|c| c.outline)
        }
    }
}

impl Sample {
    /// Turned left to right.
    #[must_use]
    pub fn flipped(&self) -> Self {
        let mut picture = self.picture.clone();
        for row in picture.pixels.chunks_exact_mut(3 * picture.width) {
            let (pixels, _) = row.as_chunks_mut::<3>();
            pixels.reverse();
        }
        let width = picture.width as f64;
        let objects = self.objects.iter().map(|object| Object {
            class: object.class,
            bounds: Bounds { left: width - object.bounds.right, right: width - object.bounds.left, ..object.bounds },
            shape: match &object.shape {
                Shape::Outline(outline) => Shape::Outline(outline.flipped(width)),
                // A pixel's middle moves to the other side: column c becomes width - 1 - c.
                Shape::Pixels(pixels) => {
                    Shape::Pixels(pixels.iter().map(|[x, y]| [picture.width as i64 - 1 - x, *y]).collect())
                }
            },
        });
        Self { objects: objects.collect(), picture }
    }
}

/// Pictures of one size as the network's input, `[N,3,H,W]`, normalised.
///
/// # Panics
/// If the pictures differ in size.
pub fn batch(pictures: &[&Picture], device: &Device) -> Tensor<4> {
    let (width, height) = pictures.first().map_or((0, 0), |p| (p.width, p.height));
    let mut numbers = vec![0.0f32; pictures.len() * 3 * width * height];
    for (picture, out) in pictures.iter().zip(numbers.chunks_exact_mut((3 * width * height).max(1))) {
        assert_eq!((picture.width, picture.height), (width, height), "pictures of one size");
        for (channel, (plane, (mean, sd))) in out.chunks_exact_mut(width * height).zip(NORMAL).enumerate() {
            for (number, byte) in plane.iter_mut().zip(picture.pixels.iter().skip(channel).step_by(3)) {
                *number = (f32::from(*byte) - mean) / sd;
            }
        }
    }
    Tensor::from_data(TensorData::new(numbers, [pictures.len(), 3, height, width]), device)
}

#[cfg(test)]
mod tests {
    use lossmith_data::make::shapes;

    use super::*;

    #[test]
    fn covered_and_whole_figures_become_outlines_of_their_area() {
        let made = shapes::make(0, 30, 128, 5).unwrap();
        let samples = samples(&made.truth, &made.pictures, 256, 128);
        let all: usize = samples.iter().map(|s| s.objects.len()).sum();
        assert_eq!(all, made.truth.annotations.len());
        for (sample, image) in samples.iter().zip(&made.truth.images) {
            let annotations = made.truth.annotations.iter().filter(|a| a.image_id == image.id);
            for (object, annotation) in sample.objects.iter().zip(annotations) {
                let Shape::Outline(outline) = &object.shape else { panic!("outlines are exact") };
                // Stretched to twice the width; parts cut off by a covering figure are lost.
                assert!(outline.area() <= 2.2 * annotation.area + 20.0, "{} {}", outline.area(), annotation.area);
            }
        }
    }

    #[test]
    fn turned_twice_is_as_before() {
        let made = shapes::make(0, 1, 64, 5).unwrap();
        let sample = &samples(&made.truth, &made.pictures, 64, 64)[0];
        let twice = sample.flipped().flipped();
        assert_eq!(twice.picture, sample.picture);
        assert_ne!(sample.flipped().picture, sample.picture);
        for (a, b) in twice.objects.iter().zip(&sample.objects) {
            assert!((a.bounds.left - b.bounds.left).abs() < 1e-9);
        }
    }
}
