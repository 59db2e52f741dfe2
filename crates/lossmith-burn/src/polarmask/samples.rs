//! Pictures and objects as the network learns them: every picture stretched to the network's size, every object by the
//! outline of its largest part.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use lossmith::polar::targets::{Object, Shape};
use lossmith::polar::{Bounds, Point, Polygon, contour};
use lossmith_data::DataError;
use lossmith_data::coco::{Annotation, Coco, Id, Image, Segmentation};
use lossmith_data::instance_set::{Part, Source};
use lossmith_data::picture::Picture;
use rayon::prelude::*;

/// Mean and standard deviation of ImageNet's red, green and blue, in bytes: what torchvision's networks expect.
pub(super) const NORMAL: [(f32, f32); 3] = [(123.675, 58.395), (116.28, 57.12), (103.53, 57.375)];

/// One picture and its objects, as the network learns them.
#[derive(Clone, Debug)]
pub struct Sample {
    /// In memory it is of the network's size, in a file of any.
    source: Source,
    width: usize,
    height: usize,
    /// In pixels of the network's input; classes from 1 in the order of the ground truth's categories.
    objects: Vec<Object>,
}

/// What a network learns from ground truth and its pictures, in the same order. Crowds are left out, and so are objects of less
/// than a pixel, outlines without an area (as that of a bow tie, which crosses itself) and what lies outside of its picture.
/// Pictures stay in memory unless they are too many.
///
/// # Errors
/// A picture that cannot be read, or is not of the size that the ground truth says.
pub fn samples(part: &Part, width: usize, height: usize) -> Result<Vec<Sample>, DataError> {
    const KEPT: usize = 1 << 30;
    let kept = part.pictures.len().saturating_mul(3 * width * height) <= KEPT;
    let mut of_image: HashMap<&Id, Vec<&Annotation>> = HashMap::new();
    for annotation in part.truth.annotations.iter().filter(|a| a.iscrowd == 0) {
        of_image.entry(&annotation.image_id).or_default().push(annotation);
    }
    let objects_of = |image: &Image| {
        let factors = (width as f64 / f64::from(image.width), height as f64 / f64::from(image.height));
        let annotations = of_image.get(&image.id).map_or(&[][..], Vec::as_slice);
        annotations.iter().filter_map(|annotation| object(&part.truth, annotation, image, factors)).collect()
    };
    let sample = |(image, source): (&Image, &Source)| {
        let sized = |picture: Picture| check_size(&picture, image, source).map(|()| picture.resized(width, height));
        let source = if kept { Source::Here(sized(source.load()?)?) } else { source.clone() };
        Ok(Sample { source, width, height, objects: objects_of(image) })
    };
    part.truth.images.par_iter().zip(&part.pictures).map(sample).collect()
}

fn check_size(picture: &Picture, image: &Image, source: &Source) -> Result<(), DataError> {
    let (width, height) = (image.width as usize, image.height as usize);
    if (picture.width, picture.height) == (width, height) {
        return Ok(());
    }
    let found = format!("{} x {} pixels, but its ground truth says {width} x {height}", picture.width, picture.height);
    Err(match source {
        Source::File(path) | Source::Stored(path) => DataError::content(path, found),
        Source::Here(_) => DataError::Argument(format!("picture {}: {found}", image.file_name)),
    })
}

fn object(truth: &Coco, annotation: &Annotation, image: &Image, (x, y): (f64, f64)) -> Option<Object> {
    const LEAST_AREA: f64 = 1.0;
    let class = truth.categories.iter().position(|c| c.id == annotation.category_id)? as i64 + 1;
    let outline = largest_part(annotation, image)?.scaled(x, y);
    let of_outline = outline.bounds();
    let inside = of_outline.right > 0.0
        && of_outline.bottom > 0.0
        && of_outline.left < f64::from(image.width) * x
        && of_outline.top < f64::from(image.height) * y;
    if outline.area() < LEAST_AREA || !inside {
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

/// How a picture is turned before it is learned: first along its diagonal, then left to right, then upside down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Rows become columns; for square pictures.
    pub diagonal: bool,
    /// Left becomes right.
    pub across: bool,
    /// Top becomes bottom.
    pub down: bool,
}

impl Sample {
    /// The objects, not turned.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The picture of the network's size and its objects, turned.
    ///
    /// # Errors
    /// A file that can no longer be read.
    pub fn view(&self, turn: Turn) -> Result<(Picture, Vec<Object>), DataError> {
        let picture = self.source.load()?.resized(self.width, self.height);
        let objects = self.objects.iter().map(|object| turn.object(object, self.width, self.height)).collect();
        Ok((turn.picture(picture), objects))
    }
}

impl Turn {
    fn picture(self, picture: Picture) -> Picture {
        if self == Self::default() {
            return picture;
        }
        let (width, height) = (picture.width, picture.height);
        let mut pixels = Vec::with_capacity(picture.pixels.len());
        for y in 0..height {
            for x in 0..width {
                // Each step undone, the last one first.
                let y = if self.down { height - 1 - y } else { y };
                let x = if self.across { width - 1 - x } else { x };
                let (x, y) = if self.diagonal { (y, x) } else { (x, y) };
                pixels.extend_from_slice(&picture.pixels[3 * (y * width + x)..][..3]);
            }
        }
        Picture { pixels, ..picture }
    }

    fn object(self, object: &Object, width: usize, height: usize) -> Object {
        let (far_x, far_y) = (width as f64, height as f64);
        let place = |[x, y]: Point| -> Point {
            let [x, y] = if self.diagonal { [y, x] } else { [x, y] };
            [if self.across { far_x - x } else { x }, if self.down { far_y - y } else { y }]
        };
        let shape = match &object.shape {
            Shape::Outline(outline) => Shape::Outline(outline.mapped(place)),
            Shape::Pixels(pixels) => Shape::Pixels(pixels.iter().map(|pixel| middle(*pixel, place)).collect()),
        };
        let Bounds { left, top, right, bottom } = object.bounds;
        let ([x0, y0], [x1, y1]) = (place([left, top]), place([right, bottom]));
        let bounds = Bounds { left: x0.min(x1), top: y0.min(y1), right: x0.max(x1), bottom: y0.max(y1) };
        Object { class: object.class, bounds, shape }
    }
}

/// A pixel goes where its middle goes.
fn middle(pixel: [i64; 2], place: impl Fn(Point) -> Point) -> [i64; 2] {
    place(pixel.map(|v| v as f64 + 0.5)).map(|v| v.floor() as i64)
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

    fn some(count: usize, side: usize) -> Part {
        shapes::make(0, count, side, 5).unwrap().into()
    }

    #[test]
    fn covered_and_whole_figures_become_outlines_of_their_area() {
        let part = some(30, 128);
        let samples = samples(&part, 256, 128).unwrap();
        let all: usize = samples.iter().map(|s| s.objects.len()).sum();
        assert_eq!(all, part.truth.annotations.len());
        for (sample, image) in samples.iter().zip(&part.truth.images) {
            let annotations = part.truth.annotations.iter().filter(|a| a.image_id == image.id);
            for (object, annotation) in sample.objects.iter().zip(annotations) {
                let Shape::Outline(outline) = &object.shape else { panic!("outlines are exact") };
                // Stretched to twice the width; parts cut off by a covering figure are lost.
                assert!(outline.area() <= 2.2 * annotation.area + 20.0, "{} {}", outline.area(), annotation.area);
            }
        }
    }

    #[test]
    fn objects_turn_with_their_picture() {
        // One white pixel, and an object around it.
        let mut picture = Picture { width: 8, height: 8, pixels: vec![0; 3 * 64] };
        picture.pixels[3 * (8 + 5)..][..3].fill(255);
        let outline = Polygon::from_flat(&[5.0, 1.0, 6.0, 1.0, 6.0, 2.0, 5.0, 2.0]).unwrap();
        let bounds = outline.bounds();
        for which in 0..8 {
            let turn = Turn { diagonal: which & 1 > 0, across: which & 2 > 0, down: which & 4 > 0 };
            let white = turn.picture(picture.clone()).pixels.iter().position(|v| *v == 255).unwrap() / 3;
            let (x, y) = ((white % 8) as f64, (white / 8) as f64);
            let whole = Object { class: 1, bounds, shape: Shape::Outline(outline.clone()) };
            let turned = turn.object(&whole, 8, 8);
            assert_eq!(turned.bounds, Bounds { left: x, top: y, right: x + 1.0, bottom: y + 1.0 }, "{turn:?}");
            let Shape::Outline(outline) = turned.shape else { panic!("an outline stays one") };
            assert_eq!(outline.bounds(), turned.bounds);
            let pixel = Object { class: 1, bounds, shape: Shape::Pixels(vec![[5, 1]]) };
            assert_eq!(turn.object(&pixel, 8, 8).shape, Shape::Pixels(vec![[x as i64, y as i64]]));
        }
    }

    #[test]
    fn a_picture_of_another_size_is_named() {
        let mut part = some(2, 64);
        part.truth.images[1].width = 63;
        let message = samples(&part, 64, 64).unwrap_err().to_string();
        assert_eq!(message, "picture 000001.png: 64 x 64 pixels, but its ground truth says 63 x 64");
    }
}
