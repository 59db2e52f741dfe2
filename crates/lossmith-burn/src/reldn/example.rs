//! An image as the model is shown it, and the rows of a batch on the device.

use std::path::PathBuf;

use burn::prelude::*;
use lossmith::graph::{Corners, SceneGraph, enclosing};
use lossmith_data::graph_features::{ImageFeatures, pair_row};
use lossmith_data::graph_json::ImageGraph;
use lossmith_data::picture::Picture;
use lossmith_data::picture_file::pixels_of;
use rayon::prelude::*;

use super::model::{Config, Look, Shown};
use super::{ReldnError, geometry};

/// Where a picture comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is here.
    Here(Picture),
    /// It is read when it is needed.
    File(PathBuf),
}

/// What the visual module sees of an image.
#[derive(Clone, Debug)]
pub enum Sight {
    /// Nothing.
    None,
    /// Feature vectors of boxes and of pairs.
    Features(ImageFeatures),
    /// The picture.
    Picture(Source),
}

/// One image.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its name.
    pub name: String,
    /// Boxes, classes, and what is true of them.
    pub graph: SceneGraph,
    /// Width and height in pixels.
    pub size: [f64; 2],
    /// What the visual module sees.
    pub sight: Sight,
}

impl Example {
    /// An annotated image. Where its size is not known the extent of its boxes stands in.
    pub fn new(image: &ImageGraph, sight: Sight) -> Self {
        let extent = |axis: usize| image.graph.boxes.iter().map(|b| b[axis] + 1.0).fold(1.0, f64::max);
        let size = image.size.map_or_else(|| [extent(2), extent(3)], |s| s.map(|v| f64::from(v.max(1))));
        Self { name: image.image.clone(), graph: image.graph.clone(), size, sight }
    }

    /// All ordered pairs of boxes, none of a box with itself.
    pub fn pairs(&self) -> Vec<[u32; 2]> {
        let n = self.graph.boxes.len() as u32;
        (0..n).flat_map(|s| (0..n).filter(move |&o| o != s).map(move |o| [s, o])).collect()
    }

    fn corners(&self, [s, o]: [u32; 2]) -> [Corners; 2] {
        [self.graph.boxes[s as usize], self.graph.boxes[o as usize]]
    }
}

/// A picture as the backbone reads it.
pub struct Seen {
    /// `[1,3,h,w]`, about -1 to 1.
    pub pixels: Tensor<4>,
    /// Takes boxes of the graph to these pixels.
    pub scale: f64,
}

impl Seen {
    /// Reads the picture, its longer side brought to `side` pixels.
    fn new(example: &Example, source: &Source, side: usize, device: &Device) -> Result<Self, ReldnError> {
        let fault = |message: String| ReldnError::Image { image: example.name.clone(), message };
        let read;
        let picture = match source {
            Source::Here(picture) => picture,
            Source::File(path) => {
                let pixels = pixels_of(&[(path, example.size.map(|v| v as usize))]);
                read = Picture::read_as(path, pixels[0]).map_err(|e| fault(e.to_string()))?;
                &read
            }
        };
        let [width, height] = example.size;
        if picture.width as f64 != width || picture.height as f64 != height {
            // Boxes are pixels of the annotated size.
            let ratio = (picture.width as f64 * height) / (picture.height as f64 * width);
            if !(0.98..1.02).contains(&ratio) {
                return Err(fault(format!(
                    "the picture has {} x {} pixels, the annotation says {width} x {height}",
                    picture.width, picture.height
                )));
            }
        }
        let scale = side as f64 / width.max(height);
        let fit = |v: f64| ((v * scale).round() as usize).max(8);
        let picture = picture.resized(fit(width), fit(height));
        let (w, h) = (picture.width, picture.height);
        let mut planes = vec![0.0f32; 3 * w * h];
        for (at, pixel) in picture.pixels.chunks_exact(3).enumerate() {
            (0..3).for_each(|c| planes[c * w * h + at] = f32::from(pixel[c]) / 127.5 - 1.0);
        }
        Ok(Self { pixels: Tensor::from_data(TensorData::new(planes, [1, 3, h, w]), device), scale })
    }
}

/// Brings the pairs of some images to the device, image by image.
///
/// # Errors
/// A picture that cannot be read, or an image without what the visual module sees.
pub fn show(batch: &[(&Example, &[[u32; 2]])], config: &Config, device: &Device) -> Result<Shown, ReldnError> {
    let rows: Vec<(&Example, [u32; 2])> =
        batch.iter().flat_map(|(example, pairs)| pairs.iter().map(move |p| (*example, *p))).collect();
    let classes = rows.iter().map(|(e, p)| {
        let [s, o] = p.map(|i| e.graph.labels[i as usize] as usize);
        (s * config.classes + o) as i32
    });
    let classes: Vec<i32> = classes.collect();
    let spatial = config.spatial.map(|_| {
        let numbers: Vec<f32> = rows
            .par_iter()
            .with_min_len(256)
            .flat_map_iter(|(e, p)| {
                let [s, o] = e.corners(*p);
                geometry::pair(s, o, e.size)
            })
            .collect();
        Tensor::from_data(TensorData::new(numbers, [rows.len(), geometry::WIDTH]), device)
    });
    let look = match config.visual {
        None => None,
        Some(visual) => Some(match visual.image {
            None => features(&rows, visual.width, device)?,
            Some(image) => pictures(batch, image.side, device)?,
        }),
    };
    Ok(Shown { classes, spatial, look })
}

fn features(rows: &[(&Example, [u32; 2])], width: usize, device: &Device) -> Result<Look, ReldnError> {
    let mut parts: [Vec<f32>; 3] = std::array::from_fn(|_| Vec::with_capacity(rows.len() * width));
    for (example, [s, o]) in rows {
        let Sight::Features(of) = &example.sight else { return Err(blind(example, "feature vectors")) };
        let (s, o, n) = (*s as usize, *o as usize, example.graph.boxes.len());
        if of.boxes.dim() != (n, width) {
            let message = format!(
                "feature vectors of shape {:?}, expected {n} boxes with the {width} numbers that the model was trained on",
                of.boxes.shape()
            );
            return Err(ReldnError::Image { image: example.name.clone(), message });
        }
        parts[0].extend(of.boxes.row(s));
        if s == o {
            parts[1].extend(of.boxes.row(s));
        } else {
            parts[1].extend(of.unions.row(pair_row(n, s, o)));
        }
        parts[2].extend(of.boxes.row(o));
    }
    let [subject, union, object] =
        parts.map(|numbers| Tensor::from_data(TensorData::new(numbers, [rows.len(), width]), device));
    Ok(Look::Vectors { subject, union, object })
}

fn pictures(batch: &[(&Example, &[[u32; 2]])], side: usize, device: &Device) -> Result<Look, ReldnError> {
    let mut images = Vec::with_capacity(batch.len());
    for (example, pairs) in batch.iter().filter(|(_, pairs)| !pairs.is_empty()) {
        let Sight::Picture(source) = &example.sight else { return Err(blind(example, "picture")) };
        let seen = Seen::new(example, source, side, device)?;
        let unions = pairs.iter().map(|&p| {
            let [s, o] = example.corners(p);
            enclosing(s, o)
        });
        let boxes: Vec<Corners> = example.graph.boxes.iter().copied().chain(unions).collect();
        images.push((seen, boxes, pairs.to_vec()));
    }
    Ok(Look::Pictures(images))
}

fn blind(example: &Example, what: &str) -> ReldnError {
    let message = format!("it has no {what}, which the model's visual module sees");
    ReldnError::Image { image: example.name.clone(), message }
}
